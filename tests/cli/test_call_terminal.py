"""`echowire call` with somebody at a real terminal: what is typed goes as lines, what comes is shown at once."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import pytest

from echowire.testing import receive_exactly
from tests.plain_servers import answering, echo, free_port, serving
from tests.processes import PATIENCE_S
from tests.terminals import Terminal, terminal


@pytest.fixture
def port() -> Iterator[int]:
    with serving(echo) as number:
        yield number


class Other:
    """The other end, moved by the test: a server of one connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_S)
        self.port = self._listener.getsockname()[1]
        self.sock: socket.socket | None = None

    def accept(self) -> socket.socket:
        self.sock, _ = self._listener.accept()
        self.sock.settimeout(PATIENCE_S)
        return self.sock

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        assert self.sock is not None
        return receive_exactly(self.sock, size)

    def close(self) -> None:
        self._listener.close()
        if self.sock is not None:
            self.sock.close()


@contextmanager
def talking(*arguments: object) -> Iterator[tuple[Terminal, Other]]:
    """Somebody at a terminal, connected to the other end."""
    other = Other()
    try:
        with terminal("call", *arguments, "127.0.0.1", other.port) as person:
            other.accept()
            person.expect("Connected to")
            person.expect("\r\n")
            yield person, other
    finally:
        other.close()


def test_a_greeting_is_shown_before_anything_is_typed() -> None:
    with talking() as (person, other):
        assert other.sock is not None
        other.sock.sendall(b"220 mail.example.org ready\r\n")
        person.expect("220 mail.example.org ready\r")
        assert "Enter a message" not in person.seen


def test_a_line_goes_with_its_end_and_both_ways_are_open_at_once() -> None:
    with talking() as (person, other):
        assert other.sock is not None
        person.type("HELO me\n")
        assert other.read(8) == b"HELO me\n"
        other.sock.sendall(b"250 hello\n")
        person.expect("250 hello\r\n")
        other.sock.sendall(b"and one more\n")  # which nobody asked for
        person.expect("and one more\r\n")
        person.type("naïve ☃\n")
        assert other.read(11) == "naïve ☃\n".encode()


def test_what_comes_while_a_line_is_typed_stands_before_the_rest_of_it() -> None:
    with talking() as (person, other):
        assert other.sock is not None
        person.type("half a ")
        person.expect("half a ")
        other.sock.sendall(b"news\n")
        person.expect("\r\nnews\r\nhalf a ")
        person.type("line\n")
        assert other.read(12) == b"half a line\n"


def test_the_peer_that_closes_ends_it_and_its_last_words_are_shown() -> None:
    with talking() as (person, other):
        person.type("one\n")
        assert other.read(4) == b"one\n"
        assert other.sock is not None
        other.sock.sendall(b"bye")
        other.sock.close()
        assert person.end() == 0
        assert "bye" in person.seen
        assert "Sent 4 bytes, received 3 bytes; ended: peer closed" in person.seen


def test_ctrl_d_half_closes_and_what_comes_then_is_shown() -> None:
    with talking() as (person, other):
        person.type("all of it\n")
        person.type("\x04")
        assert other.sock is not None
        assert other.read(100) == b"all of it\n"  # and then the end
        other.sock.sendall(b"the answer\n")
        other.sock.close()
        assert person.end() == 0
        assert "the answer\r\n" in person.seen


def test_ctrl_d_in_a_line_sends_what_there_is() -> None:
    with talking() as (person, other):
        person.type("login: ")
        person.expect("login: ")
        person.type("\x04")
        assert other.read(7) == b"login: "


def test_ctrl_c_ends_it_with_what_was_said_and_the_terminal_is_as_it_was() -> None:
    other = Other()
    with terminal("call", "127.0.0.1", other.port) as person:
        before = person.mode
        other.accept()
        person.expect("Connected to")
        person.type("abc\n")
        assert other.read(4) == b"abc\n"
        assert other.sock is not None
        other.sock.sendall(b"def\n")
        person.expect("def\r\n")
        assert person.mode != before
        person.type("\x03")
        person.expect("Sent 4 bytes, received 4 bytes; ended: interrupted")
        assert person.process.wait(PATIENCE_S) == 0
        assert person.mode == before
    other.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(number: signal.Signals) -> None:
    other = Other()
    with terminal("call", "127.0.0.1", other.port) as person:
        before = person.mode
        other.accept()
        person.type("x\n")
        assert other.read(2) == b"x\n"
        person.process.send_signal(number)
        assert person.process.wait(PATIENCE_S) == 128 + number
        assert person.mode == before
    other.close()


def test_a_stop_and_a_continue_go_on() -> None:
    with talking() as (person, other):
        person.type("before\n")
        assert other.read(7) == b"before\n"
        person.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, person.process.pid, os.WSTOPPED | os.WNOWAIT)
        person.process.send_signal(signal.SIGCONT)
        person.type("after\n")
        assert other.read(6) == b"after\n"


@pytest.mark.parametrize("size", [4095, 4096, 5000, 20_000])
def test_a_long_line_is_whole(size: int) -> None:
    line = "".join(chr(97 + at % 26) for at in range(size))
    with talking() as (person, other):
        person.type(line + "\n")
        assert other.read(size + 1) == line.encode() + b"\n"


def test_several_lines_that_are_pasted_at_once() -> None:
    with talking() as (person, other):
        person.type("one\ntwo\nthree\n")
        assert other.read(14) == b"one\ntwo\nthree\n"


def test_keys_that_edit_the_line() -> None:
    with talking() as (person, other):
        person.type("Helo\x7flo\n")
        assert other.read(6) == b"Hello\n"
        person.type("never\x15ever so\x17well\n")
        assert other.read(10) == b"ever well\n"


def test_line_ends_of_the_internet() -> None:
    with talking("-C") as (person, other):
        person.type("QUIT\n")
        assert other.read(6) == b"QUIT\r\n"


def test_hex_is_typed_and_shown() -> None:
    with talking("--hex") as (person, other):
        person.type("4z\n")
        person.expect("'4z' is not hex")
        person.type("48 65\n")
        assert other.read(2) == b"He"
        assert other.sock is not None
        other.sock.sendall(b"\x00\xff")
        person.expect("00ff\r\n")


def test_nothing_that_comes_can_steer_the_terminal_nor_what_is_pasted() -> None:
    with talking() as (person, other):
        assert other.sock is not None
        other.sock.sendall(b"\x1b[31mred\x07\n")
        person.expect("\\x1b[31mred\\a\r\n")
        person.type("\x1b[2J\n")
        person.expect("^[[2J\r\n")
        assert other.read(5) == b"\x1b[2J\n"
        assert "\x1b" not in person.seen


def test_datagrams_are_a_line_each() -> None:
    came: SimpleQueue[bytes] = SimpleQueue()

    def answer(data: bytes) -> list[bytes]:
        came.put(data)
        return [data.upper()]

    with answering(answer) as port, terminal("call", "-u", "127.0.0.1", port) as person:
        person.expect("Sending to")
        person.type("one\ntwo\n")
        assert [came.get(timeout=PATIENCE_S) for _ in range(2)] == [b"one\n", b"two\n"]
        person.expect("ONE\r\n")
        person.expect("TWO\r\n")
        person.type("\x04")
        assert person.end() == 0


# The prompt


def test_the_prompt(port: int) -> None:
    with terminal("call", "--prompt", "127.0.0.1", port) as person:
        person.expect(f"Connected to 127.0.0.1:{port}/tcp from 127.0.0.1:")
        person.expect("Enter a message: ")
        person.type("Hello\n")
        person.expect("Echoed message: Hello\r\n")
        person.expect("Enter a message: ")
        person.type("\n")  # a line's end alone is sent, too
        person.expect("Echoed message: \r\n")
        person.expect("Enter a message: ")
        person.type("naïve ☃\n")
        person.expect("Echoed message: naïve ☃\r\n")
        person.type("\x04")
        assert person.end() == 0
        assert "Traceback" not in person.seen


def test_ctrl_c_at_the_prompt(port: int) -> None:
    with terminal("call", "--prompt", port) as person:
        person.expect("Enter a message: ")
        person.type("\x03")
        assert person.end() == 0
        assert "Traceback" not in person.seen


def test_something_else_than_the_echo_is_shown_and_cannot_steer_the_terminal() -> None:
    def behave(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(b"\x1b[31m!")
        sock.recv(100)

    with serving(behave) as port, terminal("call", "--prompt", port) as person:
        person.expect("Enter a message: ")
        person.type("Hello!\n")
        person.expect("Received (corrupted at byte 0): \\x1b[31m!")
        person.expect("Enter a message: ")
        person.type("gone?\n")
        person.expect("echowire: recv ")
        person.expect("closed the connection")
        assert person.end() == 1


def test_the_prompt_over_udp_with_nobody_there() -> None:
    with terminal("call", "--prompt", "-u", "127.0.0.1", free_port()) as person:
        person.expect("Enter a message: ")
        person.type("Hello\n")
        person.expect("ECONNREFUSED 111")
        assert person.end() == 1


def test_hex_at_the_prompt(port: int) -> None:
    with terminal("call", "--prompt", "--hex", port) as person:
        person.expect("Enter a message: ")
        person.type("4z\n")
        person.expect("'4z' is not hex")
        person.expect("Enter a message: ")
        person.type("48 65\n")
        person.expect("Echoed message: 4865")
        person.type("\x04")
        assert person.end() == 0


def test_the_prompt_sends_the_end_of_a_line_so_that_a_server_of_lines_answers() -> None:
    def behave(sock: socket.socket) -> None:
        with sock.makefile("rw") as lines:
            for line in lines:
                lines.write(line)
                lines.flush()

    with serving(behave) as port, terminal("call", "--prompt", port) as person:
        person.expect("Enter a message: ")
        person.type("Hello\n")
        person.expect("Echoed message: Hello\r\n")


def test_what_comes_while_the_prompt_stands_is_shown_and_the_end_too() -> None:
    release = threading.Event()

    def behave(sock: socket.socket) -> None:
        sock.sendall(b"welcome\n")
        release.wait(PATIENCE_S)

    with serving(behave) as port, terminal("call", "--prompt", port) as person:
        person.expect("Received: welcome\r\nEnter a message: ")
        person.type("half")
        person.expect("half")
        release.set()
        person.expect("The peer has closed the connection.")
        assert person.end() == 0


def test_without_an_endpoint_there_is_a_prompt() -> None:
    """The transcript of the conventions, with `serve` as the echo, on its own port where that is free."""
    try:
        socket.create_server(("127.0.0.1", 12345)).close()
    except OSError:
        pytest.skip("port 12345 is taken on this host")
    with terminal("serve", "-t") as server:
        server.expect("Server listening on 127.0.0.1:12345")
        with terminal("call") as person:
            person.expect("Connected to 127.0.0.1:12345/tcp from 127.0.0.1:")
            person.expect("\r\nEnter a message: ")
            person.type("Hello\n")
            person.expect("Hello\r\nEchoed message: Hello\r\nEnter a message: ")
            person.type("\x04")
            assert person.end() == 0
        server.type("\x03")
        assert server.end() == 0


def test_the_prompt_with_lines_from_a_pipe() -> None:
    from tests.processes import run

    with serving(echo) as port:
        done = run("call", "--prompt", "127.0.0.1", str(port), stdin=b"one\ntwo")
    assert done.stdout == b"Echoed message: one\nEchoed message: two\n"
    assert done.returncode == 0
