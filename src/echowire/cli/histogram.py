"""Times drawn as rows of bars: what `bench` and `ping` show below their figures."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Protocol

from echowire import format_duration

BAR_WIDTH = 40
ROWS = 14
"""Rows of the histogram at most."""

EIGHTHS = " ▏▎▍▌▋▊▉█"


class Times(Protocol):
    """Times in nanoseconds that can be counted by ranges."""

    count: int
    min_ns: int | None
    max_ns: int | None

    def percentile(self, percent: float) -> float | None:
        """The value that `percent` of all are at or below."""

    def count_between(self, low_ns: float, high_ns: float) -> int:
        """How many lie from `low_ns` up to and without `high_ns`."""


def histogram_lines(times: Times, *, plain: bool) -> list[str]:
    """Rows of equal width on a logarithmic scale, from the least to the 99.99th percentile; [] for fewer than two."""
    least, most, largest = times.min_ns, times.percentile(99.99), times.max_ns
    if least is None or most is None or largest is None or times.count < 2:
        return []
    least = max(least, 1)
    rows = max(1, min(ROWS, math.ceil(math.log(max(most / least, 1.0001), 1.05))))
    step = (max(most, least + 1) / least) ** (1 / rows)
    edges = [0.0, *(least * step**row for row in range(1, rows)), math.inf]
    counts = [times.count_between(low, high) for low, high in pairwise(edges)]
    lines = [""]
    for row, count in enumerate(counts):
        start = format_duration((least if row == 0 else edges[row]) / 1e9)
        lines.append(f"  from {start:>8}  {_bar(count / max(counts), plain=plain)} {count / times.count:6.2%}")
    return [*lines, f"    to {format_duration(largest / 1e9):>8}"]


def _bar(share: float, *, plain: bool) -> str:
    if plain:
        return ("#" * round(share * BAR_WIDTH)).ljust(BAR_WIDTH)
    whole, part = divmod(round(share * BAR_WIDTH * 8), 8)
    return (EIGHTHS[8] * whole + (EIGHTHS[part] if part else "")).ljust(BAR_WIDTH)
