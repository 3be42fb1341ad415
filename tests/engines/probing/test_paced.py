"""Probes that follow their answers: when the next is due, and that silence does not end them."""

from __future__ import annotations

import time

from echowire.core.probing.answers import Answer
from echowire.engines.probing.flight import Target
from echowire.engines.probing.paced import PacedRounds

TARGETS = [Target(index, f"t{index}", 4, f"192.0.2.{index}", (f"192.0.2.{index}", 0)) for index in range(2)]
IDLE_NS = 10**12
"""So long that nothing is due for want of an answer."""


def due(rounds: PacedRounds) -> bool:
    at = rounds.due_ns()
    return at is not None and at <= time.monotonic_ns()


def answer(**more: object) -> Answer:
    return Answer(0, 1, "reply", 0, **more)  # type: ignore[arg-type]


def test_the_next_is_due_when_one_was_answered() -> None:
    rounds = PacedRounds(TARGETS[:1], 56, 3, 1, 0, IDLE_NS)
    assert due(rounds)
    rounds.take()
    assert not due(rounds)
    rounds.told(answer(duplicate=True))  # nothing new
    assert not due(rounds)
    rounds.told(answer())
    assert due(rounds)
    assert [rounds.take().sequence for _ in range(2)] == [2, 3]
    assert rounds.finished and rounds.due_ns() is None


def test_so_many_are_sent_ahead_to_each() -> None:
    rounds = PacedRounds(TARGETS, 56, None, 3, 0, IDLE_NS)
    taken = 0
    while due(rounds):
        rounds.take()
        taken += 1
    assert taken == 6


def test_silence_is_asked_again_after_a_while() -> None:
    rounds = PacedRounds(TARGETS[:1], 56, None, 1, 0, 5_000_000)
    for _ in range(3):
        before = rounds.take()
        at = rounds.due_ns()
        assert at is not None and 0 < at - time.monotonic_ns() <= 5_000_000
        assert before.target is TARGETS[0]


def test_no_faster_than_apart() -> None:
    rounds = PacedRounds(TARGETS[:1], 56, None, 9, 7_000_000, IDLE_NS)
    rounds.take()
    at = rounds.due_ns()
    assert at is not None and 0 < at - time.monotonic_ns() <= 7_000_000


def test_without_targets_there_is_nothing() -> None:
    assert PacedRounds([], 56, None, 1, 0, IDLE_NS).finished
