"""What we give to others for their tests, and that our conformance suite can fail."""

from __future__ import annotations

import socket
from functools import partial

import pytest

from echowire.engines.serving.base import Engine, Job, Report
from echowire.engines.serving.connection import EchoConnection
from echowire.engines.serving.readiness import Readiness
from echowire.engines.serving.serving import MakeConnection
from echowire.kernel.connections.listen import Listener
from echowire.testing import ManualClock, StreamConformance, memory_connection


def test_a_handler_in_memory() -> None:
    def handler(sock: socket.socket) -> None:
        while data := sock.recv(100):
            sock.sendall(data.upper())

    with memory_connection(handler) as peer:
        peer.sendall(b"hello")
        assert peer.recv(100) == b"HELLO"


def test_what_the_handler_raises_is_raised() -> None:
    def handler(sock: socket.socket) -> None:
        raise ValueError(sock.recv(100).decode())

    with pytest.raises(ValueError, match="oops"), memory_connection(handler) as peer:
        peer.sendall(b"oops")
        assert peer.recv(1) == b""


def test_a_clock_moves_only_by_hand() -> None:
    clock = ManualClock(5.0)
    assert clock() == clock() == 5.0
    assert clock.advance(1.5) == clock() == 6.5


class _Faulty(StreamConformance):
    def __init__(self, kind: type[EchoConnection]) -> None:
        self._kind = kind

    def make_engine(self, job: Job, report: Report) -> Engine:
        kind = self._kind

        class Wrong(Readiness):
            def connection_maker(self, listener: Listener) -> MakeConnection:
                return partial(kind, self)

        return Wrong(job, report)


class _Sends(EchoConnection):
    """An echo whose sending is `wrongly`."""

    __slots__ = ()

    def begin(self) -> None:
        super().begin()
        recv_into, _, _ = self.host.echoes[self.fd]
        self.host.echoes[self.fd] = (recv_into, self.wrongly, self)

    def wrongly(self, data: memoryview) -> int:
        raise NotImplementedError


def test_the_suite_finds_a_wrong_byte() -> None:
    class Flips(_Sends):
        __slots__ = ()

        def wrongly(self, data: memoryview) -> int:
            wrong = bytearray(data)
            wrong[0] ^= 1
            return self.sock.send(wrong)

    suite = _Faulty(Flips)
    for test in (suite.test_byte_by_byte, suite.test_whole_messages_of_every_size_come_back):
        with pytest.raises(AssertionError):
            test()


def test_the_suite_finds_one_that_reads_without_end() -> None:
    class Hoards(_Sends):
        __slots__ = ()

        def wrongly(self, data: memoryview) -> int:
            return len(data)

    with pytest.raises(AssertionError, match="takes in without end"):
        _Faulty(Hoards).test_a_peer_that_does_not_read_is_not_read_from()
