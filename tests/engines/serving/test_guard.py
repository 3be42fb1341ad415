"""Which datagrams are answered: a clock moved by hand, and addresses that never were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from echowire.core.services import ANSWERING_PORTS
from echowire.engines.serving import guard as module
from echowire.engines.serving.guard import DatagramGuard
from echowire.kernel.connections.listen import Listener, open_listeners
from echowire.model import Endpoint, Limits
from echowire.testing import ManualClock


@pytest.fixture
def listener() -> Iterator[Listener]:
    [opened] = open_listeners([[Endpoint("udp", "", 0)]])
    yield opened
    opened.close()


def test_on_loopback_nothing_is_asked() -> None:
    [local] = open_listeners([[Endpoint("udp", "127.0.0.1", 0)]])
    assert not DatagramGuard(local, Limits()).needed
    local.close()


def test_loopback_peers_are_never_refused(listener: Listener) -> None:
    guard = DatagramGuard(listener, Limits(datagrams_per_s=1))
    assert guard.needed
    for _ in range(100):
        assert guard.allow(("127.0.0.1", 7), 5, 0.0).answered == 5
        assert guard.allow(("::1", 19, 0, 0), 5, 0.0).answered == 5
        assert guard.allow(("::ffff:127.0.0.1", 19, 0, 0), 5, 0.0).answered == 5


def test_a_source_that_would_answer_is_refused_and_said_once(listener: Listener) -> None:
    guard = DatagramGuard(listener, Limits())
    for number, port in enumerate((*ANSWERING_PORTS, 0, listener.endpoint.port)):
        host = f"192.0.2.{number}"
        first = guard.allow((host, port), 1, 0.0)
        assert first.answered == 0 and f"source port {port}" in first.reason and not first.told
        assert guard.allow((host, port), 1, 0.0) == (0, first.reason, True)
    assert guard.allow(("192.0.2.251", 40_000), 1, 0.0) == (1, "", False)


def test_the_rate_holds_and_comes_back(listener: Listener) -> None:
    clock = ManualClock(100.0)
    guard = DatagramGuard(listener, Limits(datagrams_per_s=10))

    def answered() -> int:
        return sum(guard.allow(("192.0.2.1", 40_000), 1, clock()).answered for _ in range(50))

    assert answered() == 10
    clock.advance(0.5)
    assert answered() == 5
    clock.advance(3600)
    assert answered() == 10
    # Other peers are other peers.
    assert guard.allow(("192.0.2.2", 40_000), 1, clock()).answered == 1
    # Of a burst, as many as are left.
    assert guard.allow(("192.0.2.3", 40_000), 64, clock()).answered == 10
    assert guard.allow(("192.0.2.3", 40_000), 64, clock()).answered == 0


def test_no_limit_is_no_limit(listener: Listener) -> None:
    guard = DatagramGuard(listener, replace(Limits(), datagrams_per_s=None))
    assert all(guard.allow(("192.0.2.1", 40_000), 64, 0.0).answered == 64 for _ in range(10_000))


def test_a_flood_of_forged_addresses_does_not_grow_it(listener: Listener) -> None:
    guard = DatagramGuard(listener, Limits())
    for number in range(module.PEERS_REMEMBERED + 1000):
        guard.allow((f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 40_000), 1, 0.0)
    assert len(guard._peers) == module.PEERS_REMEMBERED


def test_bytes_are_counted_too(listener: Listener) -> None:
    guard = DatagramGuard(listener, replace(Limits(), datagrams_per_s=None, datagram_bytes_per_s=1000))
    peer = ("192.0.2.1", 40_000)
    # One answer may be larger than what is left: what is owed is waited for.
    assert guard.allow(peer, 1, 0.0).answered == 1
    guard.charge(peer, 3000)
    assert guard.allow(peer, 1, 1.5) == (0, "more than 1000 bytes of answers a second", False)
    assert guard.allow(peer, 1, 2.0) == (0, "more than 1000 bytes of answers a second", True)
    assert guard.allow(peer, 1, 2.1).answered == 1
    # What was not used is no more than a second's worth.
    assert guard.allow(peer, 1, 3600.0).answered == 1
    guard.charge(peer, 1000)
    assert guard.allow(peer, 1, 3600.0).answered == 0
    guard.charge(("192.0.2.9", 1), 1000)  # of whom nothing is known, nothing is


def test_a_larger_answer_is_told_of_once(listener: Listener) -> None:
    guard = DatagramGuard(listener, Limits())
    assert [guard.tell(("192.0.2.1", 40_000), 0.0) for _ in range(3)] == [False, True, True]
    assert guard.allow(("192.0.2.1", 40_000), 1, 0.0).answered == 1
