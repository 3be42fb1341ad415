"""`echowire sockets` held against ss, value by value, on a host with every kind of socket in every state."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from echowire import OperationError, SocketInquiry, sockets
from echowire.cli.environment import Environment
from echowire.cli.main import run
from echowire.core.sockets.fields import STATES
from echowire.kernel.tables import processes
from tests.busy_host import BusyHost, busy_host
from tests.processes import unprivileged

TWO_WORDS = ("send", "pacing_rate", "delivery_rate", "version:", "cipher:", "rxconf:", "txconf:")
"""Names whose value is a word of its own."""

ECHOWIRE = (sys.executable, "-m", "echowire", "sockets")
KINDS = ("tcp", "udp", "raw", "unix", "packet", "netlink", "mptcp")


@pytest.fixture(scope="module")
def busy() -> Iterator[BusyHost]:
    if not shutil.which("ss"):
        pytest.skip("ss is not installed")
    with busy_host() as host:
        yield host


def read(text: str, ends: int, *, by_place: bool) -> dict[str, dict[str, str]]:
    """Each socket by its cookie, or by its place where ss has none: its columns by number, and its values by name."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        values = {str(at): word for at, word in enumerate(words[:ends])}
        rest = iter(words[ends:])
        for word in rest:
            if word in TWO_WORDS or word == "peers:":
                values[word] = next(rest)
                continue
            name, colon, value = word.partition(":")
            values[name if colon else word] = value
        key = " ".join(words[:ends]) if by_place else values["sk"]
        assert key not in found, line
        found[key] = values
    return found


def numbers(text: str) -> list[float]:
    """The numbers in a value."""
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]


def is_between(value: str | None, before: str | None, after: str | None, name: str) -> bool:
    """Whether a value that may change while it is looked at lies where it can."""
    if value in (before, after):
        return True
    if value is None or before is None or after is None:
        return name in COMES_AND_GOES
    if name.startswith("last"):
        # It grows with time, and begins anew when something is sent again, or answered, between the looks.
        return float(value) <= float(before) + LOOKING_MS
    if name == "timer":
        return value.split(",")[0] in (before.split(",")[0], after.split(",")[0])
    low, mine, high = numbers(before), numbers(value), numbers(after)
    if not len(low) == len(mine) == len(high):
        return False
    return all(min(one, other) <= here <= max(one, other) for one, here, other in zip(low, mine, high, strict=True))


LOOKING_MS = 5000
"""Within which two looks follow each other."""

COMES_AND_GOES = ("lastsnd", "lastrcv", "lastack", "timer", "rcvmss", "ato")
"""Values that ss leaves out while they are 0."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_that_ss_prints_is_the_same(busy: BusyHost, kind: str) -> None:
    ends = {"unix": 8, "packet": 6}.get(kind, 5)
    by_place = kind in ("unix", "raw", "netlink")
    netid = ("-A", kind)
    theirs = ("ss", "-HnaemioO", *netid)
    before = read(busy.host.run(*theirs), ends, by_place=by_place)
    found = read(busy.host.run(*ECHOWIRE, "-HnaemioO", "--no-marks", *netid), ends, by_place=by_place)
    after = read(busy.host.run(*theirs), ends, by_place=by_place)
    assert before and set(before) & set(after) <= set(found), "sockets that ss has"
    wrong = []
    for key in set(before) & set(after):
        for name, value in before[key].items():
            if name in ("sk=0", "cb=0"):
                continue  # what ss has of netlink sockets in place of a cookie
            mine, later = found[key].get(name), after[key].get(name)
            if not is_between(mine, value, later, name):
                wrong.append(f"{key} {name}: ss has {value!r}, then {later!r}; here {mine!r}")
    assert wrong == []


def test_rates_are_worded_as_ss_does(busy: BusyHost) -> None:
    def rates(*command: str) -> list[str]:
        return sorted(re.findall(r"send (\S+bps)", busy.host.run(*command, "-HtaiO", "sport = :4002")))

    assert rates("ss") == rates(*ECHOWIRE) != []


@pytest.mark.parametrize("many", [0, 1 << 60])
def test_who_holds_a_socket_is_worded_as_ss_does(busy: BusyHost, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the one pass of the kernel, where it may be made, and by /proc."""

    def holders(text: str) -> dict[str, set[str]]:
        """By the socket's number, its cookie: what stands between ss's inner parentheses."""
        cookies = (re.findall(r" sk:(\w+)", line)[0] for line in text.splitlines())
        return dict(zip(cookies, (set(re.findall(r'\(("[^)]*)\)', line)) for line in text.splitlines()), strict=True))

    monkeypatch.setattr(processes, "MANY_DESCRIPTORS", many)
    out, err = io.BytesIO(), io.StringIO()
    with busy.host.inside():
        assert run(["sockets", "-Htuanpe", "--no-marks"], Environment(io.BytesIO(), out, err, {})) == 0, err.getvalue()
    ours = holders(re.sub(r",user=[^()]*", "", out.getvalue().decode()))
    theirs = holders(busy.host.run("ss", "-Htuanpe"))
    assert {cookie: ours[cookie] for cookie in theirs} == theirs and any(theirs.values())


def test_every_state_is_there(busy: BusyHost) -> None:
    found = {line.split()[0] for line in busy.host.run(*ECHOWIRE, "-Htan").splitlines()}
    assert found == set(STATES[1:12])


def test_what_is_bound_and_does_not_listen_is_listed_with_who_holds_it(busy: BusyHost) -> None:
    (line,) = busy.host.run(*ECHOWIRE, "-Htlnp", "sport = 3903").splitlines()
    assert line.startswith("UNCONN") and f"pid={os.getpid()}," in line
    assert "3903" not in busy.host.run("ss", "-Htan"), "a newer ss has it too: say so in FAILURES"


FILTERS = (
    "state established",
    "state connected exclude established",
    "state listening src 10.9.0.1",
    "dport = :4008 or sport = :4001",
    "sport >= :4000 and sport < :4004",
    "not ( src 10.9.0.0/24 or src [fd09::/16] )",
    "dst 10.9.0.2:4010",
    "src 10.9.0.1 and dport != :4012 and ! dport > 4013",
    "dst 10.9.0.0/16 and ( sport = 4002 or dport = 4011 or not dport le 4012 )",
    "src [::ffff:10.9.0.1]",
    "dev = lo",
    "fwmark = 0x2a",
    "fwmark = 0x2/0x3",
    "state all dport eq 4015",
    "autobound",
)


@pytest.mark.parametrize("text", FILTERS)
def test_filters_choose_what_ss_chooses(busy: BusyHost, text: str) -> None:
    theirs = busy.host.run("ss", "-Htuane", *text.split())
    ours = busy.host.run(*ECHOWIRE, "-Htuane", text)

    def keys(lines: str) -> set[str]:
        return set(re.findall(r" sk:(\w+)", lines))

    bound = busy.host.run(*ECHOWIRE, "-Htane", "sport = 3903")
    assert keys(ours) - keys(bound) == keys(theirs) - keys(bound)


@pytest.mark.parametrize("text", [text for text in FILTERS if "autobound" not in text and "state" not in text])
def test_what_the_kernel_chooses_is_what_the_columns_choose(busy: BusyHost, text: str) -> None:
    with busy.host.inside():
        by_kernel = sockets(text, kinds=["tcp", "udp"])
        by_columns = sockets(kinds=["tcp", "udp"]).filter(text)
    assert sorted(by_kernel.column("cookie")) == sorted(by_columns.column("cookie"))
    assert len(by_kernel) > 0 or "::ffff" in text


def test_columns_are_compared(busy: BusyHost) -> None:
    with busy.host.inside():
        table = sockets(kinds=["tcp"], with_processes=True)
        rows = table.to_dicts()
        for text, holds in (
            ("rtt > 10us and segs_in >= 2", lambda row: row["tcpi_rtt"] > 10 and row["tcpi_segs_in"] >= 2),
            ("unacked > 0", lambda row: row["tcpi_unacked"] > 0),
            ("congestion = reno", lambda row: row["congestion"] == "reno"),
            ("state = close_wait or state = LAST-ACK", lambda row: row["state"] in ("CLOSE-WAIT", "LAST-ACK")),
            ("drops >= 1 and not state = ESTAB", lambda row: row["skmem_drops"] >= 1 and row["state"] != "ESTAB"),
            (f"pid = {os.getpid()}", lambda row: any(one["pid"] == os.getpid() for one in row["processes"] or ())),
            ("comm = 'py*'", lambda row: any(one["name"].startswith("py") for one in row["processes"] or ())),
            ("user != root", lambda row: row["user"] not in (None, "root")),
        ):
            expected = [
                row["cookie"] for row in rows if None not in (row["tcpi_rtt"], row["skmem_drops"]) and holds(row)
            ]
            if text.startswith(("state", "pid", "comm", "user")):
                expected = [row["cookie"] for row in rows if holds(row)]
            assert table.filter(text).column("cookie") == expected, text


def test_listeners_are_marked(busy: BusyHost) -> None:
    with busy.host.inside():
        marks = {
            f"{row['local_address']}:{row['local_port']}": {mark["mark"] for mark in row["marks"]}
            for row in sockets("state listening", kinds=["tcp"]).to_dicts()
        }
    assert marks["127.0.0.1:4003"] == {"loopback only", "IPv4 only"}
    assert marks["0.0.0.0:4002"] == {"IPv4 only"}
    assert marks[":::3900"] == {"IPv6 only"}
    assert marks[":::4005"] == set()
    assert marks["10.9.0.1:4001"] == set()
    assert marks["10.9.0.1:4006"] == {"full: 2 wait, 1 may"}


def test_a_listener_that_shares_its_port_with_a_full_one_is_marked(busy: BusyHost) -> None:
    """Row 43 of what goes wrong with sockets: one of several fills, and one connection in so many hangs."""
    with busy.host.inside(), ExitStack() as stack:
        shared = []
        for _ in range(2):
            shared.append(stack.enter_context(socket.socket()))
            shared[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            shared[-1].bind(("127.0.0.1", 3950))
            shared[-1].listen(0)
        marks: set[str] = set()
        for _ in range(20):  # until one is full and the other is not, or both are
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", 3950))
            found = sockets("state listening sport = 3950", kinds=["tcp"])
            marks = {mark["mark"] for row in found for mark in row["marks"]}
            if any(mark.startswith("full") for mark in marks):
                break
        assert "shares its port with a full one of 2" in marks


def test_a_namespace_is_looked_into_from_outside(busy: BusyHost) -> None:
    by_name = {row["inode"] for row in sockets("sport = 4001", namespace=busy.host.name)}
    assert by_name == {os.fstat(busy.sockets["LISTEN"].fileno()).st_ino}
    with busy.host.inside(), subprocess.Popen(["sleep", "60"]) as holder:
        try:
            assert {row["inode"] for row in sockets("sport = 4001", namespace=str(holder.pid))} == by_name
        finally:
            holder.kill()
    with pytest.raises(OperationError, match="ENOENT"):
        sockets(namespace="no-such-namespace")


def test_what_is_chosen_is_closed(busy: BusyHost) -> None:
    ours, theirs = busy.pair("to be closed")
    with ours, theirs:
        port = ours.getpeername()[1]
        listed = busy.host.run(*ECHOWIRE, "-HtnK", "--yes", f"dport = {port}")
        assert len(listed.splitlines()) == 1 and f"10.9.0.2:{port}" in listed
        with pytest.raises(ConnectionAbortedError):
            ours.recv(1)
    assert busy.host.run(*ECHOWIRE, "-Htan", f"dport = {port}") == ""


def test_nothing_is_closed_without_being_asked_for(busy: BusyHost) -> None:
    ours, theirs = busy.pair("to be kept")
    with ours, theirs:
        for arguments in (("-tK", f"dport = {ours.getpeername()[1]}"), ("-tK", "--yes")):
            with pytest.raises(RuntimeError, match="echowire: -K"):
                busy.host.run(*ECHOWIRE, *arguments)
        theirs.sendall(b"still there")
        assert ours.recv(11) == b"still there"


def test_summary_and_groups_count_what_is_listed(busy: BusyHost) -> None:
    with busy.host.inside():
        table = sockets(kinds=["tcp", "unix"])
        inquiry = SocketInquiry(kinds=["tcp", "unix"])
        summary, by_state = inquiry.summary(), SocketInquiry(kinds=["tcp", "unix"]).groups("state")
    states = Counter(table.column("state"))
    assert {group.key: group.count for group in by_state} == states
    assert summary.total == len(table) == sum(states.values())
    assert sum(summary.by_kind["tcp"].values()) == table.column("netid").count("tcp")


def test_json_has_the_same_columns_as_the_library(busy: BusyHost) -> None:
    document = json.loads(busy.host.run(*ECHOWIRE, "--json", "-ta", "sport = 4006"))
    assert document["schema"] == "echowire.sockets"
    with busy.host.inside():
        rows = sockets("sport = 4006", kinds=["tcp"]).to_dicts()
    assert [sorted(row) for row in document["sockets"]] == [sorted(row) for row in rows]
    listener = next(row for row in document["sockets"] if row["state"] == "LISTEN")
    assert (listener["accept_queue"], listener["accept_limit"], listener["unread"]) == (2, 1, None)
    assert listener["skmem_drops"] > 0, "its own drops"


def test_where_there_is_no_sock_diag_psutil_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "no netlink")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr("echowire.verbs.sockets.NetlinkSocket", refuse)
        port = listener.getsockname()[1]
        table = sockets(f"state listening sport = {port}", kinds=["tcp", "unix"], with_processes=True)
        (row,) = table.to_dicts()
    assert any("psutil" in note for note in table.notes) and any("unix" in note for note in table.notes)
    assert (row["state"], row["local_address"], row["unread"]) == ("LISTEN", "127.0.0.1", None)
    assert [one["pid"] for one in row["processes"]] == [os.getpid()]


def test_anybody_sees_all_but_the_processes_of_others(needs_root: None) -> None:
    def look() -> str:
        os.close(listener.fileno())  # which a child has too
        out, err = io.BytesIO(), io.StringIO()
        assert run(["sockets", "-Htlnpei"], Environment(io.BytesIO(), out, err, {})) == 0, err.getvalue()
        for refused, capability in ((["-tlK", "--yes"], "NET_ADMIN"), (["-N", "1"], "SYS_ADMIN")):
            said = io.StringIO()
            words = ["sockets", *refused, f"sport = {port}"]
            assert run(words, Environment(io.BytesIO(), io.BytesIO(), said, {})) == 2
            assert f"CAP_{capability}." in said.getvalue(), said.getvalue()
        watched, hidden = io.BytesIO(), io.StringIO()
        assert run(["sockets", "--watch", "-c1", "-tlp"], Environment(io.BytesIO(), watched, hidden, {})) == 0
        assert f"127.0.0.1:{port} *:* ?\n" in watched.getvalue().decode() and "may not see" in hidden.getvalue()
        table = sockets("state listening", kinds=["tcp"], with_processes=True)
        (row,) = [row for row in table.to_dicts() if row["local_port"] == port]
        return json.dumps(
            [out.getvalue().decode(), err.getvalue(), row["processes"], row["tcpi_snd_cwnd"], row["skmem_drops"]]
        )

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # Nobody may not read the modules, where they are root's: they are loaded before.
        for words in (["-Htlnpei"], ["--watch", "-c1", "-tlp"]):
            run(["sockets", *words], Environment(io.BytesIO(), io.BytesIO(), io.StringIO(), {}))
        said = unprivileged(look)
        assert said.startswith("["), said
        out, err, processes, cwnd, drops = json.loads(said)
    (line,) = [line for line in out.splitlines() if f"127.0.0.1:{port} " in line]
    assert "users:(?)" in line
    assert "may not see; root, or CAP_SYS_PTRACE, sees which" in err
    assert (processes, drops) == (None, 0) and cwnd > 0


def test_vsock_where_the_kernel_lists_it() -> None:
    """Held against ss. Needs vsock_diag, and for a connection vsock_loopback."""
    try:
        listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    except OSError as error:
        pytest.skip(f"no AF_VSOCK: {error}")
    with listener, ExitStack() as stack:
        listener.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
        listener.listen()
        port = listener.getsockname()[1]
        table = sockets(kinds=["vsock"], with_processes=True)
        if table.notes:
            assert table.notes == ("this kernel cannot list vsock sockets: it has no vsock_diag",)
            pytest.skip(table.notes[0])
        client = stack.enter_context(socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM))
        client.settimeout(1)
        with suppress(OSError):  # without vsock_loopback nobody is there
            client.connect((VMADDR_CID_LOCAL, port))
            stack.enter_context(listener.accept()[0])
        (row,) = [
            row for row in sockets("state listening", kinds=["vsock"], with_processes=True) if row.local_port == port
        ]
        assert (row.netid, row.local_address, row.peer_port) == ("v_str", None, None)
        assert row.processes is None or [one["pid"] for one in row.processes] == [os.getpid()]
        theirs = subprocess.run(["ss", "-Han", "--vsock"], capture_output=True, text=True, check=True).stdout
        ours = subprocess.run([*ECHOWIRE, "-Han", "--vsock"], capture_output=True, text=True, check=True).stdout
        assert sorted(line.split() for line in ours.splitlines()) == sorted(
            line.split() for line in theirs.splitlines()
        )


VMADDR_CID_LOCAL = 1
