"""Times as they are measured: each one kept while they are few, a histogram once they are many. Pure.

A histogram of every target of a sweep would be a gigabyte, and numpy a tenth of a second before the first probe;
a list of every round trip of a month would not end either.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echowire.core.figures.histogram import Histogram

KEPT = 16_384
"""Values that are kept one by one, 128 KiB; percentiles of so few are exact. A histogram is twice that."""


class Samples:
    """Times in nanoseconds. Count, least, largest, mean and deviation are exact; percentiles are to 1/2048."""

    __slots__ = ("_histogram", "_kept", "_sorted", "_squares", "count", "max_ns", "min_ns", "sum_ns")

    def __init__(self) -> None:
        self._kept = array("q")
        self._sorted: list[int] | None = None
        self._histogram: Histogram | None = None
        self._squares = 0
        self.count = 0
        self.sum_ns = 0
        self.min_ns: int | None = None
        self.max_ns: int | None = None

    def add(self, value_ns: int) -> None:
        """Count one."""
        self.count += 1
        self.sum_ns += value_ns
        self._squares += value_ns * value_ns
        self.min_ns = value_ns if self.min_ns is None else min(self.min_ns, value_ns)
        self.max_ns = value_ns if self.max_ns is None else max(self.max_ns, value_ns)
        self._kept.append(value_ns)
        self._sorted = None
        if len(self._kept) > KEPT:
            self._fold()

    @property
    def mean_ns(self) -> float | None:
        """The exact mean."""
        return self.sum_ns / self.count if self.count else None

    @property
    def deviation_ns(self) -> float | None:
        """The standard deviation of all of them, ping's mdev."""
        if not self.count:
            return None
        # Whole numbers throughout: the difference of two large squares would lose its digits as floats.
        return math.sqrt(self.count * self._squares - self.sum_ns * self.sum_ns) / self.count

    def percentile(self, percent: float) -> float | None:
        """The value that `percent` of all are at or below (nearest rank); None while empty."""
        if self.min_ns is None or self.max_ns is None:
            return None
        if self._histogram is not None:
            self._fold()
            return self._histogram.percentile(percent)
        rank = math.ceil(round(percent / 100 * self.count, 6))
        return float(self._in_order()[min(max(rank, 1), self.count) - 1])

    def count_between(self, low_ns: float, high_ns: float) -> int:
        """How many lie from `low_ns` up to and without `high_ns`."""
        if self._histogram is not None:
            self._fold()
            return self._histogram.count_between(low_ns, high_ns)
        values = self._in_order()
        return bisect_left(values, high_ns) - bisect_left(values, low_ns)

    def _in_order(self) -> list[int]:
        if self._sorted is None:
            self._sorted = sorted(self._kept)
        return self._sorted

    def _fold(self) -> None:
        # Imported when it is needed: numpy takes longer than a few pings do.
        from echowire.core.figures.histogram import Histogram

        if self._histogram is None:
            self._histogram = Histogram()
        self._histogram.record(self._kept)
        self._kept = array("q")
        self._sorted = None
