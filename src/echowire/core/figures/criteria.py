"""Conditions on a measurement, such as `p99>5ms`, `loss >= 1%` or `rate < 10k`: parsed, and evaluated. Pure.

    condition  = comparison *( ("or" / "||") comparison )      ; of alternatives one is enough
    comparison = name operator value
    operator   = ">" / ">=" / "<" / "<=" / "==" / "!="

A figure that was not measured makes a condition unknown, and neither true nor false.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from echowire.core.figures.histogram import Histogram
from echowire.core.units import parse_duration, parse_rate
from echowire.errors import UsageError

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}

Reader: TypeAlias = Callable[[Any], float | None]
"""Reads a figure off what was measured: the report of `bench`, or a target's statistics of `ping`."""


class ConditionError(UsageError):
    """A condition that cannot be read; `position` is where in `text`. The message has a caret before that place."""

    def __init__(self, said: str, text: str, position: int) -> None:
        super().__init__(f"{said}, at the ^ in '{text[:position]}^{text[position:]}'")
        self.text, self.position = text, position


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a report by the name that conditions use, and how its values are written."""

    read: Reader
    parse: Callable[[str], float]
    means: str


def nanoseconds(text: str) -> float:
    """A duration, in nanoseconds. Raises `UsageError`."""
    # As latencies are: 400us is then the same 400,000 as is in the histogram, and can be asked for with ==.
    return round(parse_duration(text) * 1e9)


def _of_latency(read: Callable[[Histogram], float | None], *, uncorrected: bool = False) -> Reader:
    return lambda report: read(report.uncorrected if uncorrected else report.latency)


def parse_share(text: str) -> float:
    """`1%` or `0.01`. Raises `UsageError`."""
    digits, percent = text.removesuffix("%"), text.endswith("%")
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", digits):
        raise UsageError(f"'{text}' is not a share; write 1% or 0.01")
    return float(digits) / (100 if percent else 1)


def parse_count(text: str) -> float:
    """A whole number. Raises `UsageError`."""
    if not re.fullmatch(r"\d{1,18}", text):
        raise UsageError(f"'{text}' is not a count; write a whole number")
    return int(text)


def _count(name: str) -> Figure:
    return Figure(lambda report: getattr(report.outcomes, name), parse_count, f"{name} messages")


FIGURES: Mapping[str, Figure] = {
    "min": Figure(_of_latency(lambda h: h.min_ns), nanoseconds, "the least latency"),
    "mean": Figure(_of_latency(lambda h: h.mean_ns), nanoseconds, "the mean latency"),
    "max": Figure(_of_latency(lambda h: h.max_ns), nanoseconds, "the largest latency"),
    "lateness": Figure(lambda report: report.lateness.percentile(99), nanoseconds, "the sender's lateness at p99"),
    "jitter": Figure(
        lambda report: None if report.jitter_s is None else report.jitter_s * 1e9, nanoseconds, "RFC 3550's jitter"
    ),
    "rate": Figure(lambda report: report.echoes_per_s, parse_rate, "echoes a second"),
    "sent": Figure(lambda report: report.sent_bits_per_s, parse_rate, "bits sent a second"),
    "received": Figure(lambda report: report.received_bits_per_s, parse_rate, "bits received a second"),
    "loss": Figure(lambda report: report.loss, parse_share, "the share of datagrams lost"),
    "errors": Figure(lambda report: report.errors, parse_count, "failed connections and wrong or lost messages"),
    **{name: _count(name) for name in ("lost", "truncated", "duplicated", "reordered", "unanswered")},
    "corrupted": Figure(lambda report: report.corrupted, parse_count, "corrupted messages, or lines of a source"),
    "rate_kept": Figure(lambda report: report.rate_kept, parse_share, "the share of the rate asked for"),
    "client_cpu": Figure(lambda report: report.cpu.client, parse_share, "the busiest client's processor share"),
    "server_cpu": Figure(lambda report: report.cpu.server, parse_share, "the server's processor share"),
}
"""Every figure but the percentiles, which are any of `p0` to `p100`, and `uncorrected_p50` and so on."""


def _percentile(percent: float, prefix: str) -> Reader | None:
    return _of_latency(lambda h: h.percentile(percent), uncorrected=bool(prefix))


@dataclass(frozen=True, slots=True)
class Figures:
    """What conditions may be about: figures by name, and how a percentile is read, None where there is no such."""

    named: Mapping[str, Figure]
    percentile: Callable[[float, str], Reader | None]


OF_BENCH = Figures(FIGURES, _percentile)

_NAME = re.compile(r"\s*([A-Za-z_][\w.]*)")
_OPERATOR = re.compile(r"\s*(>=|<=|==|!=|>|<)")
_VALUE = re.compile(r"\s*(.+?)\s*(?=\|\||\bor\b|$)")
_OR = re.compile(r"\s*(\|\||or\b)")
_PERCENTILE = re.compile(r"(uncorrected_)?p(\d{1,3}(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure, and what it is compared with: nanoseconds, units a second, or as a plain number."""

    name: str
    figure: Figure
    operator: str
    value: float

    def holds(self, report: Any) -> bool | None:
        """Whether it holds; None where the figure is not known."""
        found = self.figure.read(report)
        return None if found is None else OPERATORS[self.operator](found, self.value)


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition."""

    text: str
    alternatives: tuple[Comparison, ...]

    def holds(self, report: Any) -> bool | None:
        """True if one alternative holds, False if none does, None if that cannot be known."""
        answers = [comparison.holds(report) for comparison in self.alternatives]
        return True if True in answers else None if None in answers else False

    def __str__(self) -> str:
        return self.text


def parse_condition(text: str, figures: Figures = OF_BENCH) -> Condition:
    """Read `text`, whose names are of `figures`. Raises `ConditionError`."""
    comparisons, at = [], 0
    while True:
        name_at, name, at = _expect(_NAME, text, at, "a figure is expected, such as p99, rate or loss")
        figure = _figure(name, text, name_at, figures)
        _, sign, at = _expect(_OPERATOR, text, at, "one of > >= < <= == != is expected")
        value_at, value, at = _expect(_VALUE, text, at, "a value is expected")
        try:
            comparisons.append(Comparison(name, figure, sign, figure.parse(value)))
        except UsageError as error:
            raise ConditionError(str(error), text, value_at) from error
        if not text[at:].strip():
            return Condition(text, tuple(comparisons))
        _, _, at = _expect(_OR, text, at, "'or' is expected")


def _figure(name: str, text: str, position: int, figures: Figures) -> Figure:
    if match := _PERCENTILE.fullmatch(name):
        percent = float(match[2])
        read = figures.percentile(percent, match[1] or "") if percent <= 100 else None
        if read is not None:
            return Figure(read, nanoseconds, f"the latency at p{percent:g}")
    if name not in figures.named:
        known = ", ".join(figures.named)
        raise ConditionError(f"there is no figure '{name}'; there are p50 to p100, {known}", text, position)
    return figures.named[name]


def _expect(pattern: re.Pattern[str], text: str, at: int, otherwise: str) -> tuple[int, str, int]:
    """What `pattern` finds at `at`: where, what, and the end of it."""
    if match := pattern.match(text, at):
        return match.start(1), match[1], match.end()
    rest = text[at:]
    raise ConditionError(otherwise, text, at + len(rest) - len(rest.lstrip()))
