"""The figures that conditions on a ping may be about, such as `loss>1% or p99>50ms`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from echowire.core.figures.criteria import (
    Condition,
    Figure,
    Figures,
    Reader,
    nanoseconds,
    parse_condition,
    parse_count,
    parse_share,
)
from echowire.core.probing.statistics import COUNTS, TargetStatistics

Read = Callable[[TargetStatistics], float | None]


def _time(read: Read, means: str) -> Figure:
    return Figure(read, nanoseconds, means)


def _one_way(direction: str) -> Read:
    def read(target: TargetStatistics) -> float | None:
        way = target.forward if direction == "forward" else target.backward
        return way.delays.percentile(50) if way.synchronised else None

    return read


def _count(name: str) -> Figure:
    return Figure(lambda target: getattr(target, name), parse_count, f"probes {name}")


def _percentile(percent: float, prefix: str) -> Reader | None:
    return None if prefix else lambda target: target.round_trips.percentile(percent)


OF_PING = Figures(
    {
        "min": _time(lambda target: target.round_trips.min_ns, "the least round trip"),
        "mean": _time(lambda target: target.round_trips.mean_ns, "the mean round trip"),
        "avg": _time(lambda target: target.round_trips.mean_ns, "the mean, by ping's name"),
        "max": _time(lambda target: target.round_trips.max_ns, "the largest round trip"),
        "stddev": _time(lambda target: target.round_trips.deviation_ns, "the standard deviation"),
        "mdev": _time(lambda target: target.round_trips.deviation_ns, "the same, by ping's name"),
        "jitter": _time(lambda target: target.jitter.rfc3550_ns, "RFC 3550's jitter"),
        "difference": _time(lambda target: target.jitter.mean_ns, "the mean difference of neighbours"),
        "forward": _time(_one_way("forward"), "the median delay there, where clocks are synchronised"),
        "backward": _time(_one_way("backward"), "the median delay back"),
        "loss": Figure(lambda target: target.loss, parse_share, "the share of probes lost"),
        "lost_forward": Figure(lambda target: target.lost_forward, parse_count, "probes lost on the way there"),
        "lost_backward": Figure(lambda target: target.lost_backward, parse_count, "probes lost on the way back"),
        **{name: _count(name) for name in COUNTS},
    },
    _percentile,
)
"""Every figure of a target but the percentiles, which are any of `p0` to `p100` of the round trips."""


def parse_ping_condition(text: str) -> Condition:
    """Read `text`. Raises `ConditionError`."""
    return parse_condition(text, OF_PING)


def holds_for_any(condition: Condition, targets: Iterable[TargetStatistics]) -> bool | None:
    """True if it holds for one target, False if for none, None if that cannot be known."""
    answers = {condition.holds(target) for target in targets}
    return True if True in answers else None if None in answers else False
