"""The decisions of the probing engine, without sockets: whose answer it is, which clock is believed, what is due."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.probing.answers import Answer
from echowire.engines.probing import flight as flight_module
from echowire.engines.probing.flight import Flight, Probe, Target
from echowire.engines.probing.schedule import HOPS_APART_NS, HopRounds, Rounds, SizeSearch

TARGETS = [Target(at, f"t{at}", 4, f"10.0.0.{at}", (f"10.0.0.{at}", 0)) for at in range(3)]
SECOND = 1_000_000_000


class Run:
    """A flight, and the answers that it reported."""

    def __init__(self, wait_ns: int = SECOND) -> None:
        self.answers: list[Answer] = []
        self.flight = Flight(len(TARGETS), wait_ns, self.answers.append)
        self.number = 0

    def send(self, target: int = 0, sequence: int = 1) -> Probe:
        self.number += 1
        probe = Probe(self.number, TARGETS[target], sequence, 56)
        self.flight.begin(probe)
        return probe

    @property
    def last(self) -> Answer:
        return self.answers[-1]


def test_a_reply_then_another() -> None:
    run = Run()
    probe = run.send()
    run.flight.settle(probe.number, "reply", by="10.0.0.0")
    assert (run.last.word, run.last.duplicate, run.flight.in_flight) == ("reply", False, 0)
    run.flight.settle(probe.number, "reply")
    assert run.last.duplicate
    assert run.flight.sent == [1, 0, 0]


def test_a_ghost_is_counted_and_reported_to_nobody() -> None:
    run = Run()
    run.flight.settle(99, "reply")
    assert (run.answers, run.flight.ghosts) == ([], 1)


def test_late_is_once_and_then_duplicate() -> None:
    run = Run()
    probe = run.send()
    assert run.flight.expire(probe.sent_ns + SECOND - 1) == []
    assert run.flight.expire(probe.sent_ns + SECOND) == [probe]
    assert run.last.word == "no reply"
    run.flight.settle(probe.number, "reply")
    assert (run.last.late, run.last.duplicate) == (True, False)
    run.flight.settle(probe.number, "reply")
    assert (run.last.late, run.last.duplicate) == (False, True)
    assert run.flight.in_flight == 0


def test_reordering_is_each_targets_own() -> None:
    run = Run()
    probes = [run.send(0, 1), run.send(1, 1), run.send(0, 2), run.send(1, 2)]
    for at in (2, 1, 0, 3):
        run.flight.settle(probes[at].number, "reply")
    assert [answer.reordered for answer in run.answers] == [False, False, True, False]


def test_sixteen_bits_name_the_latest_of_that_target() -> None:
    run = Run()
    for _ in range(70_000):
        run.send(0)
    latest = run.number
    assert run.flight.number_of(latest & 0xFFFF, "10.0.0.0") == latest
    assert run.flight.number_of((latest - 5) & 0xFFFF, "10.0.0.0") == latest - 5
    assert run.flight.number_of((latest + 1) & 0xFFFF, "10.0.0.0") == latest + 1 - 65_536
    assert run.flight.number_of(latest & 0xFFFF, "10.0.0.1") is None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_module, "REMEMBERED", 10)
    run = Run()
    for _ in range(100):
        run.send()
    assert sum(number in run.flight for number in range(101)) == 10
    run.flight.settle(1, "reply")
    assert run.flight.ghosts == 1
    # Those that were forgotten are given up all the same.
    assert len(run.flight.expire(time.monotonic_ns() + SECOND)) == 100
    assert run.flight.in_flight == 0


@pytest.mark.parametrize(
    ("left", "received", "stamped", "clock", "rtt"),
    [
        (0, 500, True, "kernel", 500),
        (0, 500, False, "kernel receive", 500),
        (0, None, True, "monotonic", None),
        (0, -500, True, "monotonic", None),  # the clock was set back meanwhile
        (0, 3600 * SECOND, True, "monotonic", None),  # or forth
    ],
)
def test_which_clock_is_believed(left: int, received: int | None, stamped: bool, clock: str, rtt: int | None) -> None:
    run = Run()
    probe = run.send()
    begin = probe.left_ns
    if stamped:
        run.flight.stamp(probe.number, begin + left)
    else:
        probe.left_ns = begin + left
    while time.monotonic_ns() - probe.sent_ns < 1000:
        pass
    run.flight.settle(probe.number, "reply", received_ns=None if received is None else begin + received)
    assert run.last.clock == clock
    assert rtt is None or run.last.rtt_ns == rtt
    assert run.last.rtt_ns is not None
    assert 0 <= run.last.rtt_ns < SECOND


def test_rounds() -> None:
    rounds = Rounds(TARGETS, 56, 2, SECOND, 1_000_000, 0)
    due = []
    while not rounds.finished:
        at = rounds.due_ns()
        probe = rounds.take()
        due.append((at, probe.target.index, probe.sequence, probe.number))
    apart = rounds.apart_ns
    assert apart == 10_000_000
    assert due == [
        (0, 0, 1, 1),
        (apart, 1, 1, 2),
        (2 * apart, 2, 1, 3),
        (SECOND, 0, 2, 4),
        (SECOND + apart, 1, 2, 5),
        (SECOND + 2 * apart, 2, 2, 6),
    ]
    assert rounds.due_ns() is None


def test_a_rate_makes_rounds_longer() -> None:
    rounds = Rounds(TARGETS, 56, None, 1000, 100_000_000, 0)
    assert (rounds.apart_ns, rounds.round_ns) == (100_000_000, 300_000_000)
    assert not rounds.finished


def test_many_targets_are_asked_in_groups_and_at_the_same_rate() -> None:
    targets = [Target(at, f"t{at}", 4, f"10.0.1.{at}", (f"10.0.1.{at}", 0)) for at in range(100)]
    rounds = Rounds(targets, 56, 2, 0, 1_000_000, 0)
    due = []
    while (at := rounds.due_ns()) is not None:
        due.append(at)
        rounds.take()
    assert due == [number // 10 * 10_000_000 for number in range(200)]


def test_hops_end_where_the_target_answered() -> None:
    rounds = HopRounds(TARGETS[0], 56, 2, (1, 30), 2, SECOND, 0)
    for hops in (1, 2, 3, 4, 5):
        assert rounds.due_ns() == (hops - 1) * HOPS_APART_NS
        assert rounds.take().hops == hops
    rounds.reached = 3
    assert rounds.due_ns() == SECOND
    assert [(probe.hops, probe.flow, probe.sequence) for probe in (rounds.take() for _ in range(3))] == [
        (1, 1, 2),
        (2, 1, 2),
        (3, 1, 2),
    ]
    assert rounds.finished
    assert rounds.due_ns() is None


def search(passes: Callable[[int], Answer | str], tries: int = 3) -> SizeSearch:
    """A search on a path where `passes` says what becomes of a packet of a size."""
    found = SizeSearch(TARGETS[0], 28, 44, 65_535, tries)
    for _ in range(5000):
        if found.finished:
            return found
        assert found.due_ns() is not None
        probe = found.take()
        outcome = passes(probe.size + 28)
        if isinstance(outcome, str):
            outcome = Answer(0, probe.sequence, outcome, 0)  # type: ignore[arg-type]
        else:
            outcome = Answer(0, probe.sequence, outcome.word, 0, mtu=outcome.mtu)
        found.told(outcome)
    raise AssertionError("the search does not end")


@given(st.integers(44, 65_535))
def test_a_silent_path_is_measured_to_the_byte(mtu: int) -> None:
    found = search(lambda size: "reply" if size <= mtu else "no reply")
    assert found.largest == mtu
    assert found.smallest_lost == mtu + 1


@given(st.integers(44, 65_535), st.integers(0, 70_000))
def test_what_a_router_says_is_tried(mtu: int, claimed: int) -> None:
    """A router that tells the truth saves time; one that lies costs some, and no more."""
    found = search(lambda size: "reply" if size <= mtu else Answer(0, 0, "too big", 0, mtu=claimed))
    assert found.largest == mtu


@given(st.integers(600, 9000), st.integers(0, 1000))
def test_chance_loss_does_not_deceive(mtu: int, seed: int) -> None:
    draw = random.Random(seed)
    lost: dict[int, int] = {}

    def passes(size: int) -> str:
        lost[size] = lost.get(size, 0) + 1
        # No size is lost so often as to be given up; the smallest and the largest as likely as any.
        return "reply" if size <= mtu and (lost[size] > 2 or draw.random() > 0.3) else "no reply"

    assert search(passes).largest == mtu


def test_nobody_there_is_asked_twice() -> None:
    found = search(lambda size: "no reply")
    assert (found.largest, found.finished) == (None, True)
