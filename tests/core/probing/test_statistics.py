"""From answers to figures: counts that add up, jitter as RFC 3550 has it, directions, conditions, exit status."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from echowire.core.figures.criteria import ConditionError
from echowire.core.probing.answers import Answer, Word, word_of_errno, word_of_icmp
from echowire.core.probing.criteria import holds_for_any, parse_ping_condition
from echowire.core.probing.path import Hop, Path, judged_hops
from echowire.core.probing.statistics import ANSWERERS_MAX, Jitter, OneWay, PingReport, TargetStatistics


def answer(sequence: int, word: Word = "reply", rtt_ns: int | None = 1_000_000, **more: Any) -> Answer:
    return Answer(0, sequence, word, 0, rtt_ns if word in ("reply", "refused") else None, "kernel", **more)


def target_of(*answers: Answer, sent: int | None = None) -> TargetStatistics:
    target = TargetStatistics("host", "192.0.2.1")
    for each in answers:
        target.take(each)
    target.sent = len({each.sequence for each in answers}) if sent is None else sent
    return target


def report_of(*targets: TargetStatistics, conditions: dict[str, bool | None] | None = None) -> PingReport:
    return PingReport(targets, {}, {}, 0, 1.0, "count", 0, conditions or {})


def test_every_probe_is_in_one_count() -> None:
    target = target_of(
        answer(1),
        answer(2, "no reply"),
        answer(3, corrupted=True),
        answer(4, "unreachable", what="host", by="10.0.0.1"),
        answer(5),
        answer(5, duplicate=True),
        answer(2, late=True),
        answer(6, "refused", by="192.0.2.1"),
        sent=8,
    )
    assert (target.sent, target.received, target.lost, target.corrupted, target.unanswered) == (8, 3, 2, 1, 2)
    assert (target.duplicated, target.late) == (1, 1)
    assert target.loss == 0.5
    assert target.answers["unreachable", "host", "10.0.0.1"] == 1
    assert json.dumps(target.document(), allow_nan=False)


def test_what_was_not_measured_is_null() -> None:
    document = target_of(answer(1, "no reply")).document()
    assert document["rtt_us"] == dict.fromkeys(document["rtt_us"])
    assert (document["jitter_us"], document["forward"], document["lost_forward"]) == (None, None, None)
    assert target_of(sent=0).loss is None


def test_jitter() -> None:
    """RFC 3550 section 6.4.1: J += (|D| - J) / 16."""
    jitter = Jitter()
    assert (jitter.rfc3550_ns, jitter.mean_ns) == (None, None)
    expected, times = 0.0, [100, 132, 100, 180]
    for before, after in pairwise(times):
        expected += (abs(after - before) - expected) / 16
    for time in times:
        jitter.add(time)
    assert jitter.rfc3550_ns == pytest.approx(expected)
    assert jitter.mean_ns == (32 + 32 + 80) / 3


def test_a_delay_that_cannot_be_is_not_told() -> None:
    way = OneWay()
    way.add(500, 100)
    way.add(-50, 100)
    assert way.synchronised
    assert (way.delays.min_ns, way.error_ns) == (0, 100)
    way.add(-101, 100)
    document = way.document()
    assert document is not None
    assert not document["synchronised"]
    assert document["delay_us"]["min"] is None
    assert document["jitter_us"] is not None


def test_directions_are_of_the_last_that_came_back() -> None:
    target = target_of(
        answer(1, reflector_received=1, reflector_sent=1),
        answer(2, "no reply"),
        answer(3, "no reply"),
        answer(5, reflector_received=4, reflector_sent=4),
        answer(4, reflector_received=3, reflector_sent=3, reordered=True),
    )
    # Five had been sent: one never came, and of the four answers two were there by then.
    assert (target.lost_forward, target.lost_backward) == (1, 2)


def test_answers_are_bounded() -> None:
    target = target_of(*(answer(at, "unreachable", what="host", by=f"fd00::{at:x}") for at in range(1, 1000)))
    assert len(target.answers) <= ANSWERERS_MAX + 1
    assert sum(target.answers.values()) == 999


@pytest.mark.parametrize(
    ("targets", "conditions", "status"),
    [
        ([target_of(answer(1))], {}, 0),
        ([target_of(answer(1), answer(2, "no reply"))], {}, 0),
        ([target_of(answer(1, "refused"))], {}, 0),
        ([target_of(answer(1)), target_of(answer(1, "no reply"))], {}, 1),
        ([target_of(answer(1, "unreachable", by="10.0.0.1"))], {}, 1),
        ([target_of(answer(1, "no route", by="local"))], {}, 2),
        ([target_of(answer(1)), TargetStatistics("nosuch", "", "unknown")], {}, 2),
        ([target_of(answer(1))], {"loss>1%": True}, 1),
        ([target_of(answer(1))], {"loss>1%": False}, 0),
        ([target_of(answer(1))], {"forward>1ms": None}, 1),
    ],
)
def test_exit_status(targets: list[TargetStatistics], conditions: dict[str, bool | None], status: int) -> None:
    assert report_of(*targets, conditions=conditions).exit_status == status


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("loss>1%", True),
        ("loss>=0.5", True),
        ("loss>50%", False),
        ("p99>50ms", False),
        ("p99 > 50ms or loss > 1%", True),
        ("max==1ms", True),
        ("duplicated>0", False),
        ("forward>1ms", None),
        ("stddev<1us", True),
    ],
)
def test_conditions(text: str, holds: bool | None) -> None:
    condition = parse_ping_condition(text)
    assert condition.holds(target_of(answer(1), answer(2, "no reply"))) is holds
    assert holds_for_any(condition, [target_of(answer(1), answer(2, "no reply"))]) is holds


def test_a_condition_of_any_target() -> None:
    condition = parse_ping_condition("loss>1%")
    assert holds_for_any(condition, [target_of(answer(1)), target_of(answer(1, "no reply"))]) is True
    assert holds_for_any(condition, [target_of(answer(1)), target_of(sent=0)]) is None


@pytest.mark.parametrize("text", ["", "rate>5", "uncorrected_p50>1ms", "p101>1ms", "loss>", "loss>1% and p50>1ms"])
def test_no_condition(text: str) -> None:
    with pytest.raises(ConditionError):
        parse_ping_condition(text)


def test_words() -> None:
    assert word_of_icmp(4, 3, 13) == ("filtered", "")
    assert word_of_icmp(4, 3, 1) == ("unreachable", "host")
    assert word_of_icmp(6, 1, 4) == ("unreachable", "port")
    assert word_of_icmp(4, 12, 0) == ("unreachable", "ICMP 12/0")
    assert word_of_errno(9999) is None


def hop_of(number: int, received: int, lost: int) -> Hop:
    hop = Hop(number)
    for at in range(received):
        hop.take(answer(at, "ttl exceeded", by=f"10.0.0.{number}", hops=number))
    for at in range(lost):
        hop.take(answer(received + at, "no reply", hops=number))
    return hop


def test_whose_loss_it_is() -> None:
    hops = [hop_of(1, 10, 0), hop_of(2, 4, 6), hop_of(3, 0, 10), hop_of(4, 8, 2), hop_of(5, 8, 2), hop_of(6, 0, 10)]
    judged = [found for _, found in judged_hops(hops)]
    assert [found.path_loss for found in judged] == [0, 0.2, 0.2, 0.2, 0.2, 1.0]
    assert [found.rate_limited for found in judged] == [False] * 6
    assert [found.silent for found in judged] == [False, False, True, False, False, False]
    judged = [found for _, found in judged_hops([hop_of(1, 3, 7), hop_of(2, 10, 0)])]
    assert [(found.path_loss, found.rate_limited) for found in judged] == [(0, True), (0, False)]


def test_a_path_ends_where_it_is_answered() -> None:
    ends: list[int] = []
    path = Path("192.0.2.1", ends.append)
    path.take(answer(1, "ttl exceeded", by="10.0.0.1", hops=1))
    path.take(answer(1, "reply", by="192.0.2.1", hops=5))
    path.take(answer(1, "reply", by="192.0.2.1", hops=3))
    path.take(answer(1, "no reply", hops=2))
    path.take(answer(1, "reply", by="192.0.2.1", hops=4))
    assert (path.end, path.reached, ends) == (3, True, [5, 3])
    assert [hop.number for hop in path.hops] == [1, 2, 3]
