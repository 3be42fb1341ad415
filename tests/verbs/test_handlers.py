"""What becomes of what a handler raises, or is not: in a program, with workers, on the command line, in pytest."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
import textwrap
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

import echowire
from echowire import Closed, HandlerError, UsageError
from tests.processes import PATIENCE_S, serving

BROKEN = """
import socket

def broken(sock: socket.socket) -> None:
    sock.recv(100)
    raise ValueError("no such order \\x1b[2J")

async def asynchronous(sock):
    pass
"""


def broken(sock: socket.socket) -> None:
    sock.recv(100)
    raise ValueError("no such order")


def ask(server: echowire.Server) -> None:
    """A connection that the handler serves to its end."""
    with echowire.call(server.endpoint) as peer:
        peer.send(b"order")
        assert peer.recv() == b""


def test_leaving_the_block_raises_what_the_handler_raised() -> None:
    with pytest.raises(HandlerError, match="the handler raised ValueError: no such order") as raised:
        with echowire.serve("127.0.0.1:0", handler=broken) as server:
            ask(server)
    cause = raised.value.__cause__
    assert isinstance(cause, ValueError) and cause.__traceback__ is not None
    assert [frame.name for frame in traceback.extract_tb(cause.__traceback__)][-1] == "broken"


def test_of_many_one_is_raised_and_the_others_are_counted() -> None:
    number = iter(range(100))

    def each(sock: socket.socket) -> None:
        sock.recv(100)
        raise ValueError(f"number {next(number) % 2}")

    server = echowire.serve("127.0.0.1:0", handler=each)
    for _ in range(20):
        ask(server)
    server.stop(1.0)
    with pytest.raises(HandlerError, match="number 0") as raised:
        server.wait()
    (note,) = raised.value.__notes__
    assert note.splitlines() == [
        "It was one of 20 connections in which a handler raised.",
        "the handler raised ValueError: number 1",
    ]
    assert server.wait(0)  # it is told once


def test_what_fails_in_the_block_goes_on_with_a_note() -> None:
    with pytest.raises(KeyError) as raised:
        with echowire.serve("127.0.0.1:0", handler=broken) as server:
            ask(server)
            raise KeyError("mine")
    assert "ValueError: no such order" in "".join(raised.value.__notes__) and "in broken" in raised.value.__notes__[0]


def test_whoever_hears_events_is_told_by_them() -> None:
    events: list[echowire.Event] = []
    with echowire.serve("127.0.0.1:0", handler=broken, on_event=events.append) as server:
        ask(server)
    (closed,) = [event for event in events if isinstance(event, Closed)]
    assert isinstance(closed.error, HandlerError) and isinstance(closed.error.__cause__, ValueError)
    assert (closed.ok, closed.reason) == (False, "the handler raised ValueError: no such order")
    assert (closed.received_bytes, closed.sent_bytes) == (None, None)
    assert json.loads(json.dumps(closed.document()))["received_bytes"] is None
    assert (server.summary.received_bytes, server.summary.sent_bytes, server.summary.failed) == (None, None, 1)


def test_a_test_s_own_failure_in_a_handler_is_one() -> None:
    def fails(sock: socket.socket) -> None:
        pytest.fail("not what was asked for")

    with pytest.raises(HandlerError, match="not what was asked for"):
        with echowire.serve("127.0.0.1:0", handler=fails) as server, echowire.call(server.endpoint) as peer:
            assert peer.recv() == b""


def test_an_error_of_another_connection_is_the_handler_s() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()

    def forwards(sock: socket.socket) -> None:
        echowire.call(nobody)

    with pytest.raises(HandlerError, match=r"OperationError: connect .*ECONNREFUSED"):
        with echowire.serve("127.0.0.1:0", handler=forwards) as server, echowire.call(server.endpoint) as peer:
            assert peer.recv() == b""


def test_a_peer_that_resets_is_no_error_of_the_handler() -> None:
    def reads(sock: socket.socket) -> None:
        while sock.recv(100):
            pass

    events: list[echowire.Event] = []
    with echowire.serve("127.0.0.1:0", handler=reads, on_event=events.append) as server:
        with socket.create_connection((server.endpoint.host, server.endpoint.port)) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    (closed,) = [event for event in events if isinstance(event, Closed)]
    assert (closed.error, closed.reason) == (None, "reset by the peer")


async def asynchronous(sock: socket.socket) -> None: ...


async def asynchronous_steps(sock: socket.socket) -> AsyncIterator[int]:
    yield 1


def steps(sock: socket.socket) -> Iterator[int]:
    yield 1


class Asynchronous:
    async def __call__(self, sock: socket.socket) -> None: ...

    async def method(self, sock: socket.socket) -> None: ...


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (asynchronous, "the handler is async"),
        (asynchronous_steps, "the handler is async"),
        (functools.partial(asynchronous), "the handler is async"),
        (Asynchronous(), "the handler is async"),
        (Asynchronous().method, "the handler is async"),
        (steps, "the handler is a generator"),
    ],
)
def test_a_handler_that_would_do_nothing_is_refused(handler: Callable[[socket.socket], object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        echowire.serve("127.0.0.1:0", handler=handler)


def test_a_handler_that_returns_what_nobody_awaits_is_told() -> None:
    with pytest.raises(HandlerError, match="it returned a coroutine and has done nothing"):
        with echowire.serve("127.0.0.1:0", handler=lambda sock: asynchronous(sock)) as server:
            with echowire.call(server.endpoint) as peer:
                assert peer.recv() == b""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A folder with the module `orders` and its handlers."""
    (tmp_path / "orders.py").write_text(BROKEN)
    return tmp_path


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_command_shows_where_with_debug(module: Path, workers: str) -> None:
    words = ("127.0.0.1:0", "--handler", "orders:broken", "--workers", workers)
    for options, lines in ((("--debug",), 1), ((), 0)):
        with serving(*words, *options, sockets=1, cwd=module, env={"PYTHONPATH": ""}) as server:
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as peer:
                peer.sendall(b"order")
                assert peer.recv(1) == b""
            closed = server.wait_for("closed")
            server.process.terminate()
            said = server.process.communicate(timeout=PATIENCE_S)[1]
            assert server.process.returncode == 0
        assert "traceback" not in closed and closed["received_bytes"] is None
        assert said.count("in broken") == lines and "the handler raised ValueError: no such order" in said
        assert "\x1b" not in said


def test_the_command_refuses_an_async_handler(module: Path) -> None:
    command = [sys.executable, "-m", "echowire", "serve", "127.0.0.1:0", "--handler", "orders:asynchronous"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=module, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "the handler is async" in done.stderr


def test_with_workers_the_block_raises_it_with_the_traceback(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(module)
    monkeypatch.setattr(sys, "path", [*sys.path, str(module)])
    with pytest.raises(HandlerError, match="ValueError: no such order") as raised:
        with echowire.serve("127.0.0.1:0", handler="orders:broken", workers=2) as server:
            ask(server)
    assert "in broken" in raised.value.__notes__[0]


TESTS = """
import echowire, pytest, socket

def broken(sock):
    sock.recv(100)
    raise ValueError("no such order")

def slow(sock):
    while sock.recv(100):
        pass
    raise ValueError("at the end")

def ask(server):
    with echowire.call(server.endpoint) as peer:
        peer.send(b"order")
        assert peer.recv() == b""

def test_passes_but_for_the_handler(serve):
    server = serve(handler=broken)
    ask(server)
    server.stop(1)
    while not server.summary.failed:
        pass

def test_fails_because_of_the_handler(serve):
    server = serve(handler=broken)
    ask(server)
    while server._heard._count == 0:
        pass
    assert False, "mine"

@pytest.fixture
def peer(serve):
    with echowire.call(serve(handler=slow).endpoint) as peer:
        yield peer

def test_ends_before_the_handler(peer):
    peer.send(b"order")

def test_is_well(echo_server):
    with echowire.call(echo_server.endpoint) as peer:
        assert peer.echo(b"well") == b"well"
"""


def test_in_pytest_the_test_fails_with_the_handler_s_traceback(tmp_path: Path) -> None:
    (tmp_path / "test_orders.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "test_orders.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=2 * PATIENCE_S)
    assert "2 failed, 2 passed, 1 error" in done.stdout, done.stdout
    for part in ("in broken\n", "ValueError: no such order", "AssertionError: mine", "ValueError: at the end"):
        assert part in done.stdout or part.replace("in broken\n", ": ValueError") in done.stdout, done.stdout


FORGETFUL = """
import echowire
server = echowire.serve("127.0.0.1:0", "unix:{path}"{options})
print(server.endpoint.port, flush=True)
{more}
"""


def run_program(tmp_path: Path, more: str = "", options: str = "") -> subprocess.CompletedProcess[str]:
    """A program that serves, to its end."""
    program = tmp_path / "forgetful.py"
    program.write_text(FORGETFUL.format(path=tmp_path / "s", more=textwrap.dedent(more), options=options))
    return subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=PATIENCE_S, cwd="/")


@pytest.mark.parametrize("options", ["", ", engine='threads'", ", workers=2"])
def test_a_program_that_forgets_its_server_ends_and_says_so_once(tmp_path: Path, options: str) -> None:
    done = run_program(tmp_path, options=options)
    port = int(done.stdout)
    assert done.returncode == 0
    head, *_ = done.stderr.splitlines()
    where = f"127.0.0.1:{port}/tcp, 127.0.0.1:{port}/udp, unix:{tmp_path / 's'}"
    said = f"RuntimeWarning: the server on {where} ends with the program, which neither stopped it nor waits for it"
    assert head == f"{tmp_path / 'forgetful.py'}:3: {said}"
    assert done.stderr.count("RuntimeWarning") == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("more", ["server.stop()", "server.stop(0.2)\nserver.wait()", "with server: pass"])
def test_a_program_that_looks_after_its_server_is_told_nothing(tmp_path: Path, more: str) -> None:
    done = run_program(tmp_path, more)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_child_that_was_forked_leaves_its_parent_s_server_alone(tmp_path: Path) -> None:
    done = run_program(
        tmp_path,
        """
        import os, sys
        child = os.fork()
        if not child:
            sys.exit()  # as a program ends
        assert os.waitpid(child, 0)[1] == 0
        with server, echowire.call(server.endpoint) as peer:
            assert peer.echo(b"alive") == b"alive"
        """,
    )
    assert (done.returncode, done.stderr) == (0, ""), os.linesep + done.stderr
