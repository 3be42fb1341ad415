"""Each program of `examples/`, run as people run it: `python` and its name."""

from __future__ import annotations

import ast
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import echowire
from tests.captures import write_capture
from tests.netns import chain, namespaces

PROJECT = Path(__file__).parents[1]
EXAMPLES = PROJECT / "examples"
PATIENCE_S = 60.0
"""How long a program is waited for; in full only by a test that fails."""
LINES_MAX = 40
"""Of code and docstring that one of them has; the demo, which `make demo` shows, may be longer."""

PUBLIC = {"echowire.aio"}
"""Modules that people import, beside the package itself."""

ALL = sorted(path.name for path in EXAMPLES.glob("*.py"))


def command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / name), *arguments]


def run(name: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(name, *arguments), input=text, capture_output=True, text=True, timeout=PATIENCE_S, cwd=PROJECT
    )


@contextmanager
def running(name: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A program that goes on until Ctrl-C, and the first line that it prints."""
    process = subprocess.Popen(command(name, *arguments), stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    with process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            if process.poll() is None:
                process.kill()


def interrupted(process: subprocess.Popen[str]) -> str:
    """What a program still prints when it is ended by Ctrl-C, as it should be."""
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    return rest


def exchange(port: int, message: bytes) -> bytes:
    """What a plain socket is answered, to the end."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def port_of(line: str) -> int:
    found = re.search(r":(\d+)/tcp$", line.strip())
    assert found, line
    return int(found[1])


@pytest.fixture
def needs_icmp() -> None:
    """Skips where this user may send no ICMP echo (icmp(7), ping_group_range)."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()
    except OSError:
        if os.geteuid():
            pytest.skip("this user is in no group of net.ipv4.ping_group_range")


def test_each_example_has_a_test() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in ALL if f'"{name}"' not in tested] == []


@pytest.mark.parametrize("name", ALL)
def test_an_example_is_short_and_knows_public_names_only(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert name == "demo.py" or len(text.splitlines()) <= LINES_MAX
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert [module for module in modules if module and module.startswith("echowire.") and module not in PUBLIC] == []
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "echowire"
    }
    assert used and used <= {*echowire.__all__, *(module.removeprefix("echowire.") for module in PUBLIC)}


def test_the_demo_echoes_all() -> None:
    done = run("demo.py")
    assert done.returncode == 0
    assert done.stdout.endswith("Every byte came back.\n")


def test_the_echo_server_serves_until_ctrl_c() -> None:
    message = bytes(range(256)) * 1000
    with running("echo_server.py", "tcp://127.0.0.1:0") as (process, line):
        assert exchange(port_of(line), message) == message
        assert interrupted(process) == "1 connections: 256000 bytes received, 256000 sent\n"


def test_the_echo_server_says_who_has_its_port(echo_server: echowire.Server) -> None:
    done = run("echo_server.py", echo_server.endpoint.url)
    assert done.returncode == 2
    assert "address already in use" in done.stderr and f"pid {os.getpid()}" in done.stderr


def test_the_echo_client_prints_what_comes_back(echo_server: echowire.Server) -> None:
    long = "a line of a megabyte " * 50_000
    done = run("echo_client.py", echo_server.endpoint.url, text=f"hello\n{long}\n")
    assert (done.returncode, done.stdout) == (0, f"hello\n{long}\n")


def test_the_echo_client_says_why_it_is_refused() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # it does not listen
        done = run("echo_client.py", f"127.0.0.1:{sock.getsockname()[1]}", text="hello\n")
    assert done.returncode == 1
    assert "ECONNREFUSED" in done.stderr and "start the server" in done.stderr


def test_the_line_server_answers_each_line() -> None:
    with running("line_server.py", "tcp://127.0.0.1:0") as (process, line):
        assert exchange(port_of(line), b"one two three\nfour\n\nfive six") == b"three two one\nfour\n\nsix five\n"
        with socket.create_connection(("127.0.0.1", port_of(line)), PATIENCE_S) as endless:
            endless.sendall(b"x" * 4096)
            assert endless.recv(65_536) == b"x" * 4096 + b"\n"  # it is cut, and not waited for
        interrupted(process)


def test_all_callers_hear_what_one_says() -> None:
    with running("many_callers.py", "tcp://127.0.0.1:0") as (process, line):
        at = ("127.0.0.1", port_of(line))
        with socket.create_connection(at, PATIENCE_S) as one, socket.create_connection(at, PATIENCE_S) as other:
            other.sendall(b"I am here\n")
            assert one.recv(100) == b"I am here\n"
            one.sendall(b"so am I\n")
            assert other.recv(100) == b"so am I\n"
        interrupted(process)


@pytest.mark.parametrize(("condition", "status"), [("p99>10s", 0), ("p99>1ns", 1)])
def test_the_latency_check_fails_where_its_condition_holds(
    echo_server: echowire.Server, condition: str, status: int
) -> None:
    done = run("latency_check.py", echo_server.endpoint.url, condition)
    assert done.returncode == status, done.stderr
    assert re.match(r"\d+ round trips: p50 \S+ \S+, p99 \S+ \S+ \(", done.stdout)
    assert (f"failed: {condition}" in done.stdout) == bool(status)


def test_who_listens_is_told_with_what_can_be_reached() -> None:
    with socket.socket() as everywhere, socket.socket() as here:
        for sock, address in ((everywhere, "0.0.0.0"), (here, "127.0.0.1")):
            sock.bind((address, 0))
            sock.listen()
        done = run("who_listens.py")
        ports = [sock.getsockname()[1] for sock in (everywhere, here)]
    lines = {int(row[1]): row for line in done.stdout.splitlines() if (row := line.split())[1:] and row[1].isdigit()}
    me = Path("/proc/self/comm").read_text().strip()
    assert lines[ports[0]] == ["exposed", str(ports[0]), "0.0.0.0", me]
    assert lines[ports[1]] == ["loopback", str(ports[1]), "127.0.0.1", me]


def test_the_ends_of_connections_are_told(echo_server: echowire.Server) -> None:
    port = echo_server.endpoint.port
    with running("connection_ends.py", f"dport = :{port}") as (process, line):
        assert line.startswith("Watching ")
        assert exchange(port, b"x" * 1000) == b"x" * 1000
        assert process.stdout is not None
        end = process.stdout.readline()
        interrupted(process)
    # The kernel counts the end of a stream that came as one more byte.
    assert re.match(rf"127\.0\.0\.1:\d+ → 127\.0\.0\.1:{port}  sent 1000, received 100[01], sent again \d+", end)


def test_a_capture_is_counted_by_host(tmp_path: Path) -> None:
    file = write_capture(tmp_path / "some.pcap")
    frame = echowire.read(file).frame("ip.src", "frame.len")
    done = run("count_by_host.py", str(file))
    assert done.returncode == 0, done.stderr
    counted = {row[0]: int(row[1]) for line in done.stdout.splitlines() if (row := line.split())}
    sources = [source for source in frame["ip.src"].to_list() if source]
    assert sources and counted == {source: sources.count(source) for source in sources}
    wrong = run("count_by_host.py", str(file), "tcp.prot == 80")
    assert (wrong.returncode, "did you mean tcp.port?" in wrong.stderr) == (2, True)


@pytest.mark.usefixtures("needs_root")
def test_a_conversation_is_recorded_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "kept.pcapng"
    done = run("capture_a_test.py", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("0 resets; the client sent [3, 3, 5] bytes\n")
    assert len(echowire.read(file)) == int(done.stdout.split()[0])


@pytest.mark.usefixtures("needs_icmp")
def test_hosts_are_pinged_at_once() -> None:
    done = run("ping_hosts.py", "127.0.0.1", "-", text="127.0.0.2\nno-such-host.invalid\n")
    assert done.returncode == 1
    first, *rest = done.stdout.splitlines()
    assert first.startswith("DOWN  no-such-host.invalid  resolve ")
    assert [line.split()[:2] for line in rest] == [["up", "127.0.0.1"], ["up", "127.0.0.2"]]


def test_a_path_is_found_with_its_size() -> None:
    with chain(4) as hosts:
        with hosts[0].inside():
            done = run("find_path.py", "10.77.2.2")
    assert done.returncode == 0, done.stderr
    *hops, size = done.stdout.splitlines()
    assert [hop.split()[1] for hop in hops] == ["10.77.0.2", "10.77.1.2", "10.77.2.2"]
    assert size.startswith("packets of 1500 bytes come through: as local says")


def test_a_path_that_there_is_not_is_told_in_one_line() -> None:
    with namespaces(1) as (host,), host.inside():
        done = run("find_path.py", "192.0.2.1")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_two_servers_are_compared() -> None:
    done = run("compare_servers.py")
    assert done.returncode == 0, done.stdout + done.stderr
    *rows, first, second = done.stdout.splitlines()
    assert {"echoes_per_s", "latency_us.p50", "latency_us.p99"} <= {row.split()[0] for row in rows}
    assert first.startswith("tcp://127.0.0.1:") and second.startswith("tcp://127.0.0.1:")


def test_the_fixtures_are_found_by_pytest() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "test_my_client.py")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
