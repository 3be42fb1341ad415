"""The kernel's stamps on real sockets: they lie within what this program saw, and are each their own datagram's."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from echowire.kernel.connections import icmp_errors, timestamps


def pair(family: int) -> tuple[socket.socket, tuple[Any, ...]]:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    sock.setblocking(False)
    return sock, sock.getsockname()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_both_stamps_lie_within_what_was_seen(family: int) -> None:
    sock, address = pair(family)
    with sock:
        assert timestamps.enable_both(sock)
        timestamps.wait_ready()
        for number in range(20):
            before = time.time_ns()
            sock.sendto(b"x", address)
            entry = timestamps.read_queue(sock)
            _, control, _, _ = sock.recvmsg(100, timestamps.RECEIVE_SPACE)
            after = time.time_ns()
            received = timestamps.received_ns(control)
            assert entry is not None
            assert entry.stamp_ns is not None
            assert received is not None
            assert entry.stamp_of == number
            assert before <= entry.stamp_ns <= received <= after
            assert timestamps.read_queue(sock) is None


def test_numbers_begin_anew_when_asked_again() -> None:
    sock, address = pair(socket.AF_INET)
    with sock:
        for _ in range(2):
            assert timestamps.enable_both(sock)
            for number in range(3):
                sock.sendto(b"x", address)
                entry = timestamps.read_queue(sock)
                assert entry is not None
                assert entry.stamp_of == number


def test_receive_stamps_alone() -> None:
    sock, address = pair(socket.AF_INET)
    with sock:
        assert timestamps.enable_receive(sock)
        timestamps.wait_ready()
        before = time.time_ns()
        sock.sendto(b"x", address)
        stamp = timestamps.received_ns(sock.recvmsg(10, timestamps.RECEIVE_SPACE)[1])
        assert stamp is not None
        assert before <= stamp <= time.time_ns()
        assert timestamps.read_queue(sock) is None


def test_an_error_has_what_it_is_about_and_when_it_came() -> None:
    sock, _ = pair(socket.AF_INET)
    with sock:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            gone = other.getsockname()
        icmp_errors.enable(sock)
        timestamps.enable_both(sock)
        timestamps.wait_ready()
        before = time.time_ns()
        sock.sendto(b"who is there?", gone)
        entries = []
        while (entry := timestamps.read_queue(sock)) is not None:
            entries.append(entry)
        (error,) = (entry for entry in entries if entry.report)
        assert error.report is not None
        assert (error.report.type, error.report.code, error.report.offender) == (3, 3, "127.0.0.1")
        assert (error.data, error.address, error.stamp_of) == (b"who is there?", "127.0.0.1", None)
        assert error.stamp_ns is None or before <= error.stamp_ns <= time.time_ns()


def test_nothing_is_not_a_stamp() -> None:
    assert timestamps.received_ns([]) is None
    assert timestamps.received_ns([(socket.SOL_SOCKET, timestamps.SO_TIMESTAMPING, b"short")]) is None
    assert timestamps.received_ns([(socket.SOL_SOCKET, timestamps.SO_TIMESTAMPING, bytes(48))]) is None
