"""`echowire serve` for learning and debugging: `--raw`, `--show`, where it is reached, ports, zones, backlogs."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

import echowire
from tests.commands import run_command
from tests.netns import link, namespaces
from tests.peers import needs, needs_root
from tests.plain_servers import free_port
from tests.processes import COMMAND, PATIENCE_S, run, serving
from tests.terminals import terminal


class Printing:
    """`echowire serve`, as a person sees it: its lines on standard output."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().removesuffix("\n")

    def lines(self, count: int) -> list[str]:
        return [self.line() for _ in range(count)]


@contextmanager
def printing(*arguments: object, prefix: tuple[str, ...] = ()) -> Iterator[Printing]:
    command = [*prefix, *COMMAND, "serve", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Printing(process)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE_S)


# Where it listens


def test_a_port_alone_is_one_of_this_host() -> None:
    port = free_port()
    with printing(port) as server:
        assert server.line() == f"Server listening on 127.0.0.1:{port}"
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
            sock.sendall(b"Hello")
            assert sock.recv(5, socket.MSG_WAITALL) == b"Hello"


def test_two_ports_alone_are_two() -> None:
    with serving("0", "0", sockets=4) as server:
        assert [url.rpartition(":")[0] for url in server.urls] == ["tcp://127.0.0.1", "udp://127.0.0.1"] * 2


def test_every_interface_is_told_by_its_port_and_then_where_it_is_reached() -> None:
    port = free_port()
    with printing(f":{port}") as server:
        assert server.line() == f"Echo server listening on: {port}"
        lines = [server.line()]
        while lines[-1] != f"  reached at [::1]:{port}" and lines[-1] != f"  reached at 127.0.0.1:{port}":
            lines.append(server.line())
        hosts = [line.removeprefix("  reached at ") for line in lines]
        for host in hosts:
            with echowire.call(f"tcp://{host}", timeout=PATIENCE_S) as peer:
                assert peer.echo(b"x") == b"x", host


@needs_root
def test_every_interface_of_a_host_with_two_addresses() -> None:
    with namespaces(2) as (host, other):
        link(host, other, ["10.9.0.1/24", "fd00:9::1/64"], ["10.9.0.2/24", "fd00:9::2/64"])
        inside = ("ip", "netns", "exec", host.name)
        with printing(":9051", prefix=inside) as server:
            first, *reached = server.lines(6)
            assert first == "Echo server listening on: 9051"
            link_local = reached.pop(2)
            assert re.fullmatch(r"  reached at \[fe80::[0-9a-f:]+%veth0\]:9051", link_local)
            assert reached == [
                "  reached at 10.9.0.1:9051",
                "  reached at [fd00:9::1]:9051",
                "  reached at 127.0.0.1:9051",
                "  reached at [::1]:9051",
            ]
        with printing("-4", "-t", "0.0.0.0:9051", "--service", "daytime", prefix=inside) as server:
            assert server.lines(3) == [
                "Daytime server listening on: 9051 (tcp)",
                "  reached at 10.9.0.1:9051",
                "  reached at 127.0.0.1:9051",
            ]


@needs_root
def test_a_link_local_address_with_its_zone() -> None:
    with namespaces(2) as (host, other):
        link(host, other, "fe80::1/64", "fe80::2/64")
        with printing("[fe80::1%veth0]:9052", prefix=("ip", "netns", "exec", host.name)) as server:
            assert server.line() == "Server listening on [fe80::1%veth0]:9052"
            said = other.run(*COMMAND, "call", "[fe80::1%veth0]:9052", "-m", "Hello")
            assert said == "Hello\n"
            assert other.run(*COMMAND, "call", "-u", "[fe80::1%veth0]:9052", "-m", "Hello") == "Hello\n"


def backlogs(port: int) -> list[int]:
    """What ss says of who listens there."""
    rows = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    return [int(row.split()[2]) for row in rows.splitlines()]


@needs("ss")
@pytest.mark.parametrize("backlog", [0, 3, 200])
def test_a_backlog_is_the_kernels(backlog: int) -> None:
    with serving("--backlog", str(backlog), "tcp://127.0.0.1:0", sockets=1) as server:
        assert backlogs(server.port) == [backlog]


@needs("ss")
def test_a_backlog_of_workers_is_each_ones() -> None:
    with serving("--backlog", "7", "--workers", "2", "tcp://127.0.0.1:0", sockets=1) as server:
        assert backlogs(server.port) == [7, 7]


# What passes


def test_what_passes_as_hex() -> None:
    port = free_port()
    with printing("--show", "hex", "-t", port) as server:
        server.line()
        with echowire.call(("127.0.0.1", port)) as peer:
            assert peer.echo(bytes(range(20))) == bytes(range(20))
            at = f"127.0.0.1:{peer.local.port}"
        lines = server.lines(6)
    assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d{{6}} {at} > 20 bytes", lines[0])
    rows = [
        "  00000000  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  ................",
        "  00000010  10 11 12 13                                      ....",
    ]
    assert lines[1:3] == lines[4:6] == rows
    assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d{{6}} {at} < 20 bytes", lines[3])


@pytest.mark.parametrize("engine", ["readiness", "threads"])
@pytest.mark.parametrize("scheme", ["tcp", "tls", "udp", "unix", "unixgram", "unixseqpacket"])
def test_what_passes_is_what_was_said_whatever_serves(scheme: str, engine: str, tmp_path: Path) -> None:
    issued = trustme.CA()
    both = tmp_path / "both.pem"
    issued.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(both))
    issued.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    at = f"{scheme}://localhost:0" if "unix" not in scheme else f"{scheme}:{tmp_path}/s"
    events: list[echowire.Event] = []
    tls = (both, both) if scheme == "tls" else None
    with echowire.serve(at, show=True, engine=engine, tls=tls, on_event=events.append) as server:
        with echowire.call(server.endpoint, tls_authorities=tmp_path / "ca.pem", tls_name="localhost") as peer:
            for size in (1, 1000, 30_000):
                assert peer.echo(b"x" * size) == b"x" * size
    passed = [event for event in events if isinstance(event, echowire.Passed)]
    for direction in ("received", "sent"):
        assert b"".join(event.data for event in passed if event.direction == direction) == b"x" * 31_001
    assert all((event.connection is None) == (scheme in ("udp", "unixgram")) for event in passed)
    if scheme in ("udp", "unixgram", "unixseqpacket"):
        assert [len(event.data) for event in passed if event.direction == "sent"] == [1, 1000, 30_000]


def test_what_passes_through_workers_as_json() -> None:
    with serving("--show", "text", "--workers", "2", "tcp://127.0.0.1:0", sockets=1) as server:
        with echowire.call(server.urls[0]) as peer:
            assert peer.echo(b"Hello") == b"Hello"
        sent = server.wait_for("passed", 2)
    assert (sent["direction"], sent["data_hex"], sent["connection"]) == ("sent", b"Hello".hex(), 1)


def test_a_burst_of_datagrams_is_shown_one_by_one() -> None:
    events: list[echowire.Event] = []
    with echowire.serve("udp://127.0.0.1:0", show=True, on_event=events.append) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(("127.0.0.1", server.endpoint.port))
            for _ in range(3):
                sock.send(b"abc")
            sock.send(b"")
            assert sorted(sock.recv(100) for _ in range(4)) == [b"", b"abc", b"abc", b"abc"]
    passed = [(event.direction, event.data) for event in events if isinstance(event, echowire.Passed)]
    assert sorted(passed) == sorted(
        [(way, data) for way in ("received", "sent") for data in (b"abc", b"abc", b"abc", b"")]
    )


def test_the_kernels_own_echo_is_not_taken_where_it_is_to_be_shown() -> None:
    with echowire.serve("127.0.0.1:0", show=True) as server:
        assert server.engine == "readiness"
    done = run("serve", "--show", "text", "--engine", "kernel", "127.0.0.1:0")
    assert done.returncode == 2 and b"what passes is to be shown" in done.stderr


# Raw, at a terminal


def test_raw_at_a_terminal() -> None:
    port = free_port()
    with terminal("serve", "--raw", port) as person:
        person.expect(f"Listening on 127.0.0.1:{port}/tcp\r\n")
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
            person.expect(f"Connection from 127.0.0.1:{sock.getsockname()[1]}\r\n")
            sock.sendall(b"\x1b[31mhello\n")
            person.expect("\\x1b[31mhello\r\n")
            person.type("x" * 5000 + "\n")
            assert sock.recv(5001, socket.MSG_WAITALL) == b"x" * 5000 + b"\n"
            person.type("\x04")
            assert sock.recv(1) == b""
            sock.sendall(b"still here\n")
            person.expect("still here\r\n")
        person.expect("ended: peer closed")
        assert person.end() == 0


def test_raw_again_and_again_until_ctrl_c() -> None:
    port = free_port()
    with terminal("serve", "--raw", "-k", port) as person:
        person.expect("Listening on")
        for word in (b"one", b"two"):
            with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
                person.expect("Connection from")
                person.type("\x04")  # which ends what is sent on this one alone
                assert sock.recv(1) == b""
                sock.sendall(word + b"\n")
                person.expect(word.decode() + "\r\n")
            person.expect("ended: peer closed")
        person.type("\x03")
        assert person.end() == 130


def test_raw_ends_a_connection_that_is_idle() -> None:
    with subprocess.Popen(
        [*COMMAND, "serve", "--raw", "--idle", "50ms", "127.0.0.1:0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        port = int(process.stderr.readline().split(":")[1].split("/")[0])
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
            assert sock.recv(1) == b""
        assert process.wait(PATIENCE_S) == 0


# What excludes itself


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("serve -4 -6", "give one of them"),
        ("serve -u -t", "-u is datagrams alone"),
        ("serve -U -4 /tmp/s", "no version of IP"),
        ("serve -U -p 9 /tmp/s", "no port"),
        ("serve -U -t /tmp/s", "-U is Unix sockets"),
        ("serve -u --tls-cert x.pem", "TLS is spoken over TCP"),
        ("serve --handler m:f --service echo", "each serve by themselves"),
        ("serve --handler m:f --exec cat", "each serve by themselves"),
        ("serve --exec cat --service daytime", "each serve by themselves"),
        ("serve --raw --exec cat", "give one of them"),
        ("serve --raw --show hex", "excludes"),
        ("serve --raw --workers 2", "excludes"),
        ("serve --raw tls://9", "plain bytes"),
        ("serve --raw 9 10", "one endpoint; 2 were given"),
        ("serve -q 1", "only --raw sends"),
        ("serve -C", "only --raw sends"),
        ("serve --exec cat -u", "datagrams have none"),
        ("serve --exec cat --show hex", "cannot see"),
        ("serve --exec cat --workers 2", "anyway"),
        ("serve --exec no-such-program-here", "there is no program"),
        ("serve --once -k", "give one of them"),
        ("serve --json --jsonl", "give one of them"),
        ("serve --json --show text", "at the end"),
        ("serve -p 9 127.0.0.1:10", "leave it out"),
        ("serve -p 9 10", "leave it out"),
        ("serve 9 9", "given twice"),
        ("serve 127.0.0.1:9 tcp://127.0.0.1:9", "given twice"),
        ("serve unix:/tmp/s unix:/tmp/s", "given twice"),
        ("serve -n localhost:9", "is a name"),
        ("serve 70000", "not a port"),
        ("call -4 -6 9", "give one of them"),
        ("call -U -4 /tmp/s", "no version of IP"),
        ("call -U -p 9 /tmp/s", "no source address"),
        ("call -z -m x 9", "-z sends nothing"),
        ("call -z -q 1 9", "-z only connects"),
        ("call -z -U /tmp/s", "for ports"),
        ("call -x p -u h 9", "connects over TCP"),
        ("call -x p --source 127.0.0.1 h 9", "its own address"),
        ("call -X connect h 9", "there is none"),
        ("call -X 7 -x p h 9", "-X is 5"),
        ("call --proxy-auth a:b h 9", "there is none"),
        ("call -n localhost 9", "is a name"),
        ("call -n -x localhost 127.0.0.1 9", "is a name"),
        ("call --prompt -m x 9", "--prompt asks"),
        ("call --prompt --json 9", "give one"),
        ("call -C -m x 9", "-C is for lines"),
        ("call -C --hex 9", "-C is for lines"),
        ("call --hex -s 9 9", "give one of them"),
        ("call -q 1 -m x 9", "-q is for input"),
        ("bench -4 -6", "give one of them"),
        ("bench -U -4 /tmp/s", "no version of IP"),
        ("bench -u -C cubic", "TCP's"),
        ("bench -u --no-nodelay", "TCP's"),
        ("bench -U -C cubic /tmp/s", "TCP's"),
        ("bench -U --dscp ef /tmp/s", "header of IP"),
        ("bench unixseqpacket:/tmp/s", "unixseqpacket"),
    ],
)
def test_what_excludes_itself_is_one_line_and_exit_2(words: str, said: str) -> None:
    ran = run_command(*words.split())
    assert (ran.status, ran.raw) == (2, b"")
    assert said in ran.err and ran.err.count("\n") == 1


def test_defaults_exclude_nothing() -> None:
    """The same options where they were not typed: a default is no contradiction."""
    ran = run_command("call", "-z", "127.0.0.1", free_port())
    assert ran.status == 1 and "ECONNREFUSED" in ran.err
    assert json.loads(run_command("call", "-z", "--json", "127.0.0.1", free_port()).raw)["scanned"]
