"""The real output of every verb as JSON, in success and in failure, held against the schemas of docs/reference/json."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import echowire
from tests import processes
from tests.cli.test_read_exports import PAGE, Talk, answer, conversations, request
from tests.commands import run_command
from tests.core.packets.tcp.traffic import ipv4, packet, traffic, write_pcap
from tests.json_schemas import check_document, check_lines
from tests.peers import needs_root
from tests.plain_servers import answering, echo, free_port, reset, serving, serving_unix
from tests.processes import COMMAND, PATIENCE_S

NO_HOST = "nosuch.invalid"
"""A name that no resolver knows (RFC 6761 section 6.4)."""

NOT_OURS = "192.0.2.1"
"""An address that no host has (RFC 5737)."""


def document(name: str, *words: object, status: int = 0, given: bytes = b"") -> Any:
    """The document `name` that the command prints, held against its schema."""
    done = run_command(*words, stdin=given)
    assert done.status == status, done.err
    return check_document(done.out, name)


def lines(name: str, *words: object, status: int = 0, given: bytes = b"") -> list[Any]:
    """The lines that the command prints, held against those of the document `name`."""
    done = run_command(*words, stdin=given)
    assert done.status == status, done.err
    return check_lines(done.out, name)


def events(found: Sequence[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in found]


@pytest.fixture
def port() -> Iterator[int]:
    with serving(echo) as number:
        yield number


@pytest.fixture
def udp_port() -> Iterator[int]:
    with answering(lambda data: [data]) as number:
        yield number


# bench


def test_bench(port: int) -> None:
    assert document("bench", "bench", port, "-n", 50, "-c", 2, "--json")["error"] is None
    assert events(lines("bench", "bench", port, "-n", 50, "--jsonl"))[-2:] == ["interval", "summary"]


def test_bench_of_other_loads(port: int, udp_port: int, tmp_path: Path) -> None:
    many = ("-t", "0.1s", "-i", "50ms", "--json")
    document("bench", "bench", port, *many, "--rate", "2k/s", "--poisson", "--fail-if", "p99>1m")
    document("bench", "bench", port, *many, "--bidir", "--rate", "10M", "-O", "50ms")
    document("bench", "bench", port, *many, "--send")
    document("bench", "bench", "-u", f"127.0.0.1:{udp_port}", "-n", 20, "-W", "300ms", "--dscp", "ef", "--json")
    document("bench", "bench", "-u", udp_port, *many, "--bidir", "-W", "300ms")
    with serving_unix(echo, tmp_path / "s") as path:
        document("bench", "bench", "-U", path, "-n", 20, "--json")


def test_bench_beside_an_earlier_run(port: int, tmp_path: Path) -> None:
    before = run_command("bench", port, "-n", 20, "--json")
    (tmp_path / "a.json").write_text(before.out)
    again = document("bench", "bench", port, "-n", 30, "--json", "--against", tmp_path / "a.json")
    assert again["comparison"]["figures"]


def test_bench_that_fails(port: int) -> None:
    refused, no_host, no_tls = [f"127.0.0.1:{free_port()}"], [f"{NO_HOST}:9"], ["--tls", f"127.0.0.1:{port}"]
    for words, status in ((refused, 1), (no_host, 2), (no_tls, 1)):
        assert document("bench", "bench", *words, "-n", 5, "--json", status=status)["ok"] is False
        assert events(lines("bench", "bench", *words, "-n", 5, "--jsonl", status=status)) == ["failed"]
    with serving(reset) as other:
        assert document("bench", "bench", other, "-n", 5, "--json", status=1)["failures"]
    with answering(lambda data: []) as silent:
        asked = ("-u", f"127.0.0.1:{silent}", "-n", 3, "-W", "50ms")
        assert document("bench", "bench", *asked, "--json", status=1)["no_reply"] is True
        assert events(lines("bench", "bench", *asked, "--jsonl", status=1))[-1] == "summary"


# call


def test_call(port: int, udp_port: int, tmp_path: Path) -> None:
    document("call", "call", port, "-c", 3, "-s", "1K", "--verify", "--json")
    assert document("call", "call", port, "-m", "Hello", "--json")["exchanges"][0]["received_hex"] == b"Hello".hex()
    assert events(lines("call", "call", port, "-c", 2, "--jsonl")) == ["connected", "exchange", "exchange", "summary"]
    document("call", "call", "-u", f"127.0.0.1:{udp_port}", "-c", 2, "--verify", "-4", "--json")
    with serving_unix(echo, tmp_path / "s") as path:
        document("call", "call", "-U", path, "-m", "Hello", "--json")


def test_call_as_a_relay(port: int, udp_port: int) -> None:
    for verify in ([], ["--verify"]):
        assert document("call", "call", port, *verify, "--json", given=b"Hello")["summary"]["ended"] == "peer closed"
        assert events(lines("call", "call", port, *verify, "--jsonl", given=b"Hello")) == ["connected", "summary"]
    udp = ("-u", f"127.0.0.1:{udp_port}", "--verify", "-W", "100ms")
    assert document("call", "call", *udp, "--json", given=b"Hello")["summary"]["tally"]["intact"] == 1


def test_a_scan(port: int) -> None:
    closed = free_port()
    assert document("call", "call", "-z", "127.0.0.1", port, "--json")["scanned"][0]["open"] is True
    assert document("call", "call", "-z", "127.0.0.1", closed, "--json", status=1)["scanned"][0]["open"] is False
    assert events(lines("call", "call", "-z", "127.0.0.1", f"{port}-{port}", "--jsonl")) == ["scanned"]


def test_call_that_fails() -> None:
    for where, status in ((f"127.0.0.1:{free_port()}", 1), (f"{NO_HOST}:9", 2)):
        assert document("call", "call", where, "-m", "x", "--json", status=status)["error"]
        (failed,) = lines("call", "call", where, "-m", "x", "--jsonl", status=status)
        assert (failed["event"], failed["schema"], failed["version"]) == ("failed", "echowire.call", 1)
    with answering(lambda data: []) as silent:
        words = ("-u", f"127.0.0.1:{silent}", "-m", "x", "-W", "50ms")
        assert document("call", "call", *words, "--json", status=1)["exchanges"][0]["verdict"] == "lost"
        assert events(lines("call", "call", *words, "--jsonl", status=1))[-2:] == ["summary", "failed"]
    with serving(lambda sock: sock.sendall(sock.recv(5).swapcase())) as wrong:
        compared = ("127.0.0.1", wrong, "--verify", "-m", "Hello")
        assert document("call", "call", *compared, "--json", status=1)["summary"]["corrupted"] == 1


# serve


def test_serve_as_lines() -> None:
    with processes.serving("127.0.0.1:0", "--max-connections", "1", "--workers", "2") as server:
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as peer:
            server.wait_for("accepted")
            while not server.of_kind("refused"):
                socket.create_connection(("127.0.0.1", server.port), PATIENCE_S).close()  # either worker may get it
                while server.next_event()["event"] not in ("refused", "closed"):
                    pass
            peer.sendall(b"Hello")
            assert peer.recv(5) == b"Hello"
        server.stop()
    check_lines([json.dumps(event) for event in server.events], "serve")
    assert {"listening", "accepted", "refused", "closed", "stopped"} <= set(events(server.events))


def test_serve_as_lines_of_what_passes() -> None:
    with processes.serving("127.0.0.1:0", "--show", "hex") as server:
        for scheme in ("tcp", "udp"):
            with echowire.call(f"{scheme}://127.0.0.1:{server.port}") as peer:
                assert peer.echo(b"Hello") == b"Hello"
        server.wait_for("passed", 4)
        server.stop()
    check_lines([json.dumps(event) for event in server.events], "serve")
    assert {event["connection"] for event in server.of_kind("passed")} == {1, None}


@pytest.mark.parametrize("words", [[], ["--service", "stamp"], ["--engine", "threads", "-t"]])
def test_serve_as_one_document(words: list[str]) -> None:
    command = [*COMMAND, "serve", "127.0.0.1:0", "--json", "-v", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None and process.stderr.readline().startswith("engine ")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert check_document(out, "serve")["summary"]["failed"] == 0
    assert process.returncode == 0


# ping


def test_ping(udp_port: int, port: int) -> None:
    fast = ("-c", 2, "-i", "10ms", "127.0.0.1")
    document("ping", "ping", "-u", "-P", udp_port, *fast, "--fail-if", "loss>1%", "--json")
    document("ping", "ping", "-T", "-P", port, *fast, "--json")
    assert events(lines("ping", "ping", "-u", "-P", udp_port, *fast, "--jsonl")) == ["answer", "answer", "summary"]


def test_ping_by_icmp_and_stamp(needs_root: None) -> None:
    with processes.serving("127.0.0.1:0", "--service", "stamp", sockets=1) as server:
        found = document("ping", "ping", "--stamp", "-P", server.port, "-c", 2, "-i", "10ms", "127.0.0.1", "--json")
        assert found["targets"][0]["forward"] is not None
        lines("ping", "ping", "--stamp", "-P", server.port, "-c", 2, "-i", "10ms", "127.0.0.1", "--jsonl")
    document("ping", "ping", "-c", 2, "-i", "10ms", "127.0.0.1", "::1", "--json")
    lines("ping", "ping", "-c", 2, "-i", "10ms", "127.0.0.1", "--jsonl")


def test_ping_that_fails(udp_port: int) -> None:
    nobody = ("-u", "-P", free_port(), "-c", 1, "-W", "100ms", "127.0.0.1")
    assert document("ping", "ping", *nobody, "--json", status=1)["targets"][0]["answers"][0]["word"] == "unreachable"
    (first, _) = lines("ping", "ping", *nobody, "--jsonl", status=1)
    assert (first["what"], first["by"]) == ("port", "127.0.0.1")
    with answering(lambda data: []) as silent:
        (first, _) = lines("ping", "ping", "-u", "-P", silent, "-c", 1, "-W", "50ms", "127.0.0.1", "--jsonl", status=1)
        assert (first["word"], first["what"], first["by"], first["rtt_us"]) == ("no reply", None, None, None)
    unknown = ("-u", "-P", udp_port, "-c", 1, "127.0.0.1", NO_HOST)
    assert document("ping", "ping", *unknown, "--json", status=2)["targets"][1]["problem"]
    assert lines("ping", "ping", *unknown, "--jsonl", status=2)[0]["word"] == "name unknown"


@pytest.mark.parametrize(
    ("name", "words"), [("ping", ["-c", "1"]), ("path", ["--path"]), ("path_mtu", ["--mtu"])], ids=lambda one: str(one)
)
def test_ping_that_cannot_begin(name: str, words: list[str], udp_port: int) -> None:
    """From an address that is not this host's nothing can be sent."""
    asked = [*words, "-u", "-P", udp_port, "-I", NOT_OURS, "127.0.0.1"]
    failure = document(name, "ping", *asked, "--json", status=2)
    assert (failure["schema"], failure["version"], failure["ok"]) == (f"echowire.{name}", 1, False)
    (failed,) = lines(name, "ping", *asked, "--jsonl", status=2)
    assert failed == {"event": "failed", **failure}


def test_a_path_and_its_mtu(udp_port: int) -> None:
    path = ("--path", "-u", "-P", udp_port, "-c", 1, "-i", "10ms")
    assert document("path", "ping", *path, "127.0.0.1", "--json")["reached"] is True
    assert events(lines("path", "ping", *path, "127.0.0.1", "--jsonl"))[-1] == "summary"
    mtu = ("--mtu", "-u", "-P", udp_port)
    assert document("path_mtu", "ping", *mtu, "127.0.0.1", "--json")["mtu"] == 65_535
    assert events(lines("path_mtu", "ping", *mtu, "127.0.0.1", "--jsonl"))[-1] == "summary"


@pytest.mark.parametrize(("name", "word"), [("path", "--path"), ("path_mtu", "--mtu")])
def test_a_path_to_nowhere(name: str, word: str) -> None:
    failure = document(name, "ping", word, NO_HOST, "--json", status=2)
    assert (failure["schema"], failure["version"]) == (f"echowire.{name}", 1)
    assert NO_HOST in failure["error"]
    assert events(lines(name, "ping", word, NO_HOST, "--jsonl", status=2)) == ["failed"]


def test_a_path_on_which_nobody_answers() -> None:
    with answering(lambda data: []) as silent:
        path = ("--path", "-u", "-P", silent, "-c", 1, "-W", "50ms", "--hops", 2, "127.0.0.1")
        assert document("path", "ping", *path, "--json", status=1)["reached"] is False
        mtu = ("--mtu", "-u", "-P", silent, "-W", "50ms", "127.0.0.1")
        assert document("path_mtu", "ping", *mtu, "--json", status=1)["mtu"] is None


# sockets


@contextmanager
def some_sockets(directory: Path) -> Iterator[tuple[int, int, Path]]:
    """Sockets of several kinds: the ports of a TCP and a UDP socket, the path of a Unix one. Other runs have theirs."""
    with (
        serving(echo) as port,
        socket.create_connection(("127.0.0.1", port)),
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        six.bind(("::1", 0))
        unix.bind(str(directory / "listening"))
        unix.listen()
        yield port, six.getsockname()[1], directory / "listening"


def test_sockets(tmp_path: Path) -> None:
    with some_sockets(tmp_path) as (port, udp, path):
        mine = f"sport = :{port} or dport = :{port} or sport = :{udp}"
        found = document("sockets", "sockets", "-tua", "--json", mine)
        assert {row["netid"] for row in found["sockets"]} == {"tcp", "udp"}
        assert found["hidden_processes"] is None, "none were looked for"
        lines("sockets", "sockets", "-tua", "--jsonl", mine)
        (unix,) = document("sockets", "sockets", "-xa", "--json", f"src {path}")["sockets"]
        assert (unix["netid"], unix["state"]) == ("u_str", "LISTEN")
        chosen = document("sockets", "sockets", "-ap", "--json", f"sport = :{port}")
        assert chosen["sockets"][0]["processes"] and chosen["hidden_processes"] is not None
    for one in (found, chosen):
        assert one["time_ns"] > 1_700_000_000_000_000_000, "the document says when it was"


def test_sockets_of_which_there_are_none() -> None:
    none = document("sockets", "sockets", "-t", "--json", f"sport = :{free_port()}")
    assert none["sockets"] == [] and none["time_ns"] > 0


@pytest.mark.parametrize("family", ["link", "netlink"])
def test_sockets_that_only_linux_has(family: str, needs_root: None) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW):
        assert document("sockets", "sockets", "-a", "-f", family, "--json")["sockets"]


def test_the_library_s_table_is_the_same_document() -> None:
    with serving(echo) as port:
        table = echowire.sockets(f"sport = :{port}", kinds=["tcp"])
    assert check_document(json.dumps(table.document()), "sockets")["sockets"]


@pytest.mark.parametrize("by", ["process", "state", "peer", "port", "cgroup", "user", "kind"])
def test_sockets_in_groups(by: str, tmp_path: Path) -> None:
    with some_sockets(tmp_path):
        words = ("sockets", "-a", "--by", by, "--group-limit", 20)
        found = document("sockets.groups", *words, "--json")
        lines("sockets.groups", *words, "--jsonl")
    if by == "kind":
        sums = {group["key"]: (group["bytes_sent"], group["unread"]) for group in found["found"]}
        assert sums["udp"][0] is None and sums["udp"][1] is not None, "UDP counts no bytes"
        assert sums["tcp"][0] is not None


def test_sockets_counted(tmp_path: Path) -> None:
    with some_sockets(tmp_path):
        assert document("sockets.summary", "sockets", "-s", "--json")["total"]
        lines("sockets.summary", "sockets", "-s", "--jsonl")


@pytest.mark.parametrize("table", ["memberships", "counters", "interfaces", "routes"])
def test_the_tables_beside_them(table: str) -> None:
    option = "--groups" if table == "memberships" else f"--{table}"
    assert document(f"sockets.{table}", "sockets", option, "-a", "--json")
    if table in ("counters", "interfaces"):
        words = ("sockets", option, "-a", "--watch", "10ms", "-c", 2, "--jsonl")
        assert [line["since_s"] > 0 for line in lines(f"sockets.{table}", *words)] == [True, True]


def test_many_that_are_called() -> None:
    group = "239.255.71.3%lo"
    with echowire.serve(f"udp://{group}:0") as server:
        at = f"udp://{group}:{server.endpoint.port}"
        for words in (("call", at, "-c", 2), ("bench", at, "-n", 20), ("ping", "-u", at, "-c", 2)):
            found = document("group", *words, "-W", "300ms", "--json")
            assert (found["error"], found["loop"], found["interface"]) == (None, True, "lo")
            assert events(lines("group", *words, "-W", "300ms", "--jsonl"))[-2:] == ["answer", "summary"]
        other = f"udp://{group}:{server.endpoint.port % 65_000 + 1}"
        found = document("group", "call", other, "-c", 1, "-W", "50ms", "--json", status=1)
    assert [finding["cause"] for finding in found["findings"]] == ["no-socket"]
    assert "nobody answered within" in found["error"]


def test_sockets_that_are_watched(port: int) -> None:
    words = ("--watch", "20ms", "--count", "2", "-tua", "--jsonl", f"sport = :{port} or dport = :{port}")
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(b"Hello")
        assert {"same"} <= set(events(lines("sockets", "sockets", *words)))
    with subprocess.Popen(
        [*COMMAND, "sockets", "--watch", "20ms", "-ta", "--jsonl", f"sport = :{port}"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline()]
        with socket.create_connection(("127.0.0.1", port)) as peer:
            told.append(process.stdout.readline())
            peer.sendall(b"Hello")
            told.append(process.stdout.readline())
        while '"closed"' not in told[-1]:
            told.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    assert {"same", "opened", "closed"} <= set(events(check_lines(told, "sockets")))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_events_of_sockets(kind: socket.SocketKind, port: int) -> None:
    """Each socket is closed once, and every end has the same properties."""
    where = ("127.0.0.1", port)
    command = [*COMMAND, "sockets", "--events", "-tu", "--jsonl", f"dport = :{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told: list[str] = []
        thread = threading.Thread(target=lambda: told.extend(process.stdout or ()))
        thread.start()
        pause, ports = threading.Event(), set[int]()
        while sum('"closed"' in line for line in told) < 2 or not any('"opened"' in line for line in told):
            with socket.socket(socket.AF_INET, kind) as peer:
                peer.connect(where)
                ports.add(peer.getsockname()[1])
                pause.wait(1.2)  # it is looked once a second, where the kernel's tracer may not be asked
        pause.wait(1.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        thread.join()
    found = check_lines(told, "sockets")
    closed = [line["local_port"] for line in found if line["event"] == "closed"]
    assert len(closed) == len(set(closed)) and set(closed) <= ports


# read


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    steps = traffic(7, 3, 0.3)
    write_pcap(tmp_path / "a.pcap", [packet(step) for step in steps], [step.time_us for step in steps])
    return tmp_path / "a.pcap"


NAMES = (
    *(f"{what},{kind}" for what in ("conv", "endpoints") for kind in ("eth", "ip", "ipv6", "tcp", "udp", "sctp")),
    "conv,tcp,tcp.port == 80",
    "io,stat,0,tcp,SUM(tcp.len)tcp.len,MIN(udp.length)udp.length,AVG(udp.length)udp.length",
    "io,stat,0",
    *(f"follow,{kind},raw,{stream}" for kind in ("tcp", "udp") for stream in (0, 999)),
    *("expert", "expert,warn,tcp", "flow,any", "flow,tcp", "flow,icmp,network"),
    *(f"{name},{stream}" for name in ("verdict", "ladder", "sequence", "rtt") for stream in (0, 1, 999)),
)


def test_each_report(capture: Path) -> None:
    names = (*NAMES, "io,stat,0.01,tcp,COUNT(tcp.len)tcp.len")
    words = [word for name in names for word in ("-z", name)]
    found = document("reports", "read", capture, "-q", "--json", *words)["reports"]
    by_name = dict(zip(names, found, strict=True))
    figures = by_name[NAMES[13]]["intervals"][0]["columns"]
    assert [column.get("value", "counted") for column in figures[2:]] == [None, None], "no UDP, so no least and no mean"
    assert by_name["follow,tcp,raw,999"]["peers"] == []
    assert {step["source_port"] for step in by_name["flow,any"]["packets"]} - {None}


def test_each_report_of_real_captures() -> None:
    """Of small ones: the validator is written in Python."""
    folder = Path(os.environ.get("ECHOWIRE_CAPTURES", "/nonexistent")) / "dev"
    files = [path for path in sorted(folder.glob("*/*")) if path.is_file() and path.stat().st_size < 20_000]
    if not files:
        pytest.skip("ECHOWIRE_CAPTURES names no captures")
    for path in files[:: len(files) // 40 + 1]:
        done = run_command("read", path, "-q", "--json", *(word for name in NAMES for word in ("-z", name)))
        assert done.status in (0, 1) or not done.out, path
        if done.out:
            check_document(done.out, "reports")


def test_a_report_of_a_cut_file(capture: Path) -> None:
    capture.write_bytes(capture.read_bytes()[:-3])
    document("reports", "read", capture, "-q", "--json", "-z", "conv,tcp", status=1)


def test_a_packet_without_ports_has_none(tmp_path: Path) -> None:
    write_pcap(tmp_path / "a.pcap", [ipv4(1, b"\x08\x00\xf7\xff\x00\x00\x00\x00")])
    (flow,) = document("reports", "read", tmp_path / "a.pcap", "-q", "--json", "-z", "flow,any")["reports"]
    assert [(step["source_port"], step["destination_port"]) for step in flow["packets"]] == [(None, None)]


def test_what_is_exported(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    write_pcap(path, conversations())
    assert document("objects", "read", path, "--export-objects", f"http,{tmp_path / 'o'}", "--json")["objects"]
    streams = document("streams", "read", path, "--export-streams", tmp_path / "s", "--json")["streams"]
    assert streams[0]["client"]["size"]


def test_what_is_exported_and_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    talk = Talk().say(0, request("/x")).say(1, answer(PAGE))
    talk.packets.pop(4)
    write_pcap(path, talk.close().packets)
    for name, words in (("objects", ("--export-objects", f"http,{tmp_path / 'o'}")),
                        ("streams", ("--export-streams", tmp_path / "s"))):  # fmt: skip
        assert document(name, "read", path, *words, "--json", status=1)["incomplete"] == 1


# fields and capture


def test_fields() -> None:
    assert len(document("fields", "fields", "--json")["fields"]) > 1000
    assert document("fields", "fields", "no such field", "--json")["fields"] == []


def test_interfaces() -> None:
    found = document("interfaces", "capture", "-D", "--json")["interfaces"]
    assert (found[-1]["name"], found[-1]["state"], found[-1]["mac"]) == ("any", None, None)


@needs_root
@pytest.mark.parametrize("words", [[], ["-e", "frame.number", "-e", "udp.payload"], ["--no-processes"]])
def test_packets_as_they_come(words: list[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink, socket.socket(type=socket.SOCK_DGRAM) as peer:
        sink.bind(("127.0.0.1", 0))
        command = [*COMMAND, "capture", "-i", "lo", "--jsonl", "-c", "3", f"udp port {sink.getsockname()[1]}", *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None and process.stderr.readline().startswith(b"Capturing on lo")
            for _ in range(3):
                peer.sendto(b"Hello", sink.getsockname())
            out, _ = process.communicate(timeout=PATIENCE_S)
    found = [line for line in check_lines(out, "capture") if line["event"] != "drops"]
    assert events(found) == ["packet"] * 3 + ["summary"]
    assert (found[-1]["of_known_processes"] is None) == ("--no-processes" in words)


# Failures of which no document tells: one line on standard error, and nothing on standard output.


@pytest.mark.parametrize(
    "words",
    [
        ["sockets", "--json", "rtt", ">", "fast"],
        ["sockets", "--jsonl", "--by", "process", "rtt", ">", "fast"],
        ["sockets", "-s", "--json", "rtt", ">", "fast"],
        ["read", "/nonexistent.pcap", "-q", "-z", "conv,tcp", "--json"],
        ["read", "/nonexistent.pcap", "-q", "-z", "nothing", "--json"],
        ["read", "/nonexistent.pcap", "--export-objects", "http,/nonexistent/o", "--json"],
        ["serve", f"{NOT_OURS}:0", "--json"],
        ["serve", f"{NOT_OURS}:0", "--jsonl"],
        ["capture", "-i", "nosuch0", "--jsonl", "--no-processes"],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_a_failure_without_a_document(words: list[str]) -> None:
    done = processes.run(*words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"echowire: ")
