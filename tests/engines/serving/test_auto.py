"""The engine that `auto` takes: the conformance suite, and connections that go from one hand to the other."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from echowire.engines.serving import auto as engine_module
from echowire.engines.serving.auto import Auto, ByHand, Joined
from echowire.engines.serving.base import Engine, Job, Report
from echowire.engines.serving.choose import choose
from echowire.engines.serving.in_kernel import KernelConnection, prove
from echowire.engines.serving.policy import LoadPolicy
from echowire.kernel.connections.listen import close_all, open_listeners
from echowire.model import Closed, Endpoint
from echowire.testing import (
    PATIENCE_S,
    DatagramConformance,
    Peer,
    Running,
    StreamConformance,
    echo_to_the_end,
    exchange,
    running_thread,
)


@pytest.fixture(autouse=True, scope="module")
def the_kernel_can() -> None:
    if reason := prove():
        pytest.skip(reason)


class _Auto:
    def make_engine(self, job: Job, report: Report) -> Engine:
        return Auto(job, report)


class TestAuto(_Auto, StreamConformance, DatagramConformance):
    pass


class TestAutoIpv6(_Auto, StreamConformance, DatagramConformance):
    url = "tcp://[::1]:0"
    datagram_url = "udp://[::1]:0"


class _InTurn(LoadPolicy):
    """Changes its mind at every look."""

    def look(self, now: float, seconds: float, active: int, moved: int) -> float:
        self.hands = self.hands.other
        return 0.002


class _Counting(Auto):
    taken_over = 0

    def take_over(self, connection: KernelConnection) -> None:
        type(self).taken_over += 1
        super().take_over(connection)


class _AutoInTurn:
    def make_engine(self, job: Job, report: Report) -> Engine:
        engine = _Counting(job, report)
        engine._policy = _InTurn()
        return engine


class TestAutoInTurn(_AutoInTurn, StreamConformance):
    """Every connection goes from one hand to the other five hundred times a second."""


suite = TestAuto()


def joined(at_work: Running) -> list[Joined]:
    return [connection for connection in tuple(engine_of(at_work).connections) if isinstance(connection, Joined)]


def by_hand(at_work: Running) -> list[ByHand]:
    return [connection for connection in tuple(engine_of(at_work).connections) if isinstance(connection, ByHand)]


def engine_of(at_work: Running) -> Auto:
    assert isinstance(at_work.engine, Auto)
    return at_work.engine


def connected(suite: StreamConformance, at_work: Running, number: int, until: ExitStack) -> list[Peer]:
    """So many clients, which close with `until`."""
    peers = [suite.connect(at_work) for _ in range(number)]
    for peer in peers:
        until.callback(peer.close)
    return peers


@contextmanager
def echoing(peers: list[Peer], size: int = 64) -> Iterator[None]:
    """Each of `peers` sends a message, has it back, and sends the next, beside the block."""
    stop = threading.Event()

    def echo(peer: Peer) -> Callable[[], None]:
        def run() -> None:
            message = random.Random(size).randbytes(size)
            while not stop.is_set():
                assert exchange(peer, message) == message

        return run

    with ExitStack() as running:
        for peer in peers:
            running.enter_context(running_thread(echo(peer)))
        running.callback(stop.set)
        yield


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    until, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not condition():
        assert time.monotonic() < until, "it never came to be"
        pause.wait(0.002)


def test_it_is_what_auto_takes_and_says_why() -> None:
    listeners = open_listeners([[Endpoint("tcp", "127.0.0.1", 0)]])
    try:
        assert choose("auto", Job(listeners)) == (Auto, "kernel or readiness, as the load says")
    finally:
        close_all(listeners)


def test_one_who_echoes_is_the_kernel_s_and_many_are_the_process_s() -> None:
    with suite.serving() as at_work, ExitStack() as until:
        peers = connected(suite, at_work, 6, until)
        wait_for(lambda: len(by_hand(at_work)) == 6)
        with echoing(peers[:1]):
            wait_for(lambda: len(joined(at_work)) == 1)
        with echoing(peers):
            wait_for(lambda: not joined(at_work) and len(by_hand(at_work)) == 6)
        with echoing(peers[2:3]):
            wait_for(lambda: len(joined(at_work)) == 1)


def test_who_has_joined_and_says_nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "QUIET_LOOKS", 3)
    with suite.serving() as at_work, suite.connect(at_work) as peer:
        with echoing([peer]):
            wait_for(lambda: len(joined(at_work)) == 1)
        wait_for(lambda: len(by_hand(at_work)) == 1)
        assert exchange(peer, b"still there") == b"still there"


def test_long_messages_are_the_process_s_and_stay_there() -> None:
    with suite.serving() as at_work, suite.connect(at_work) as peer:
        with echoing([peer]):
            wait_for(lambda: len(joined(at_work)) == 1)
        with echoing([peer], size=1 << 20):
            wait_for(lambda: [connection.stays_until > 0 for connection in by_hand(at_work)] == [True])
        assert echo_to_the_end(peer, b"the rest") == b"the rest"


def test_a_look_costs_the_same_however_many_are_connected() -> None:
    with suite.serving() as at_work, ExitStack() as until:
        peer, *idle = connected(suite, at_work, 301, until)
        with echoing([peer]):
            wait_for(lambda: len(joined(at_work)) == 1)
            assert len(engine_of(at_work)._received) == 1
        assert exchange(idle[7], b"idle no more") == b"idle no more"


@pytest.mark.parametrize("clients", [1, 8])
def test_bytes_are_right_while_hands_change(monkeypatch: pytest.MonkeyPatch, clients: int) -> None:
    """Messages of all sizes, while every connection changes hands with each look."""
    monkeypatch.setattr(engine_module, "STAY_S", 0.0)
    suite, before = TestAutoInTurn(), _Counting.taken_over

    def talk(peer: Peer, seed: int) -> Callable[[], None]:
        def run() -> None:
            sizes = random.Random(seed)
            data = sizes.randbytes(1_000_003)
            for _ in range(2400 // clients):
                message = data[: sizes.choice((1, 17, 900, 40_000, 300_000))]
                assert exchange(peer, message) == message
            assert echo_to_the_end(peer, data) == data

        return run

    with suite.serving() as at_work, ExitStack() as threads:
        for seed, peer in enumerate(connected(suite, at_work, clients, threads)):
            threads.enter_context(running_thread(talk(peer, seed)))
        closed = at_work.wait_for(Closed, count=clients)
        carried = [
            (event.received_bytes == event.sent_bytes, event.ok) for event in closed if isinstance(event, Closed)
        ]
        assert carried == [(True, True)] * clients
    assert _Counting.taken_over - before > 50
