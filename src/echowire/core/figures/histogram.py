"""A histogram of times with a fixed relative error, exact counts, and sums that lose nothing. Pure.

HdrHistogram's scheme: every power of two is divided into the same number of equal buckets, so that a bucket is
never wider than 1/1024 of the values in it, and microseconds and minutes fit into one small array. A hundred
thousand values are counted in a millisecond by numpy, outside the loop that measures; the libraries on PyPI that
keep this format take them one call at a time. Two histograms are merged by adding their arrays, so percentiles
over workers, intervals and runs are those of all their values together, not averages of percentiles.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PRECISION_BITS = 10
"""Each power of two has 2**10 buckets: what is read from one is at most 1/2048 off, a twentieth of a per cent."""

RANGE_BITS = 43
"""Values up to 2**43 ns, 2.4 hours, have buckets; what is longer is counted in the last, and `max` stays exact."""

BUCKETS = ((RANGE_BITS - PRECISION_BITS) << PRECISION_BITS) + (1 << PRECISION_BITS)
LARGEST = (1 << RANGE_BITS) - 1

Counts = NDArray[np.int64]


def bucket_of(value: int) -> int:
    """The index of the bucket that counts `value` nanoseconds."""
    value = min(max(value, 0), LARGEST)
    shift = max(value.bit_length() - PRECISION_BITS - 1, 0)
    return (shift << PRECISION_BITS) + (value >> shift)


def bounds_of(bucket: int) -> tuple[int, int]:
    """The least and the largest value, in nanoseconds, that `bucket` counts."""
    shift = max((bucket >> PRECISION_BITS) - 1, 0)
    low = (bucket - (shift << PRECISION_BITS)) << shift
    return low, low + (1 << shift) - 1


class Histogram:
    """Counts of times, in nanoseconds. `min_ns`, `max_ns` and `sum_ns` are exact, and None or 0 while empty."""

    __slots__ = ("_counts", "count", "max_ns", "min_ns", "sum_ns")

    def __init__(self) -> None:
        self._counts: Counts = np.zeros(BUCKETS, dtype=np.int64)
        self.count = 0
        self.sum_ns = 0
        self.min_ns: int | None = None
        self.max_ns: int | None = None

    def record_seconds(self, seconds: Sequence[float] | array[float]) -> None:
        """Count each of `seconds`; a negative one, which only a clock that steps can give, as 0."""
        if len(seconds):
            self.record(np.rint(np.asarray(seconds, dtype=np.float64) * 1e9).astype(np.int64))

    def record(self, values: Iterable[int] | Counts) -> None:
        """Count each of `values`, nanoseconds."""
        exact = np.maximum(np.asarray(values, dtype=np.int64), 0)
        if not exact.size:
            return
        held = np.minimum(exact, LARGEST)
        # frexp's exponent is the bit length: a double holds every value below 2**53 exactly.
        shifts = np.maximum(np.frexp(held.astype(np.float64))[1].astype(np.int64) - PRECISION_BITS - 1, 0)
        self._counts += np.bincount((shifts << PRECISION_BITS) + (held >> shifts), minlength=BUCKETS)
        self._note(exact.size, int(exact.sum()), int(exact.min()), int(exact.max()))

    def add(self, other: Histogram) -> None:
        """Count all that `other` has counted."""
        if other.min_ns is None or other.max_ns is None:
            return
        self._counts += other._counts
        self._note(other.count, other.sum_ns, other.min_ns, other.max_ns)

    @property
    def mean_ns(self) -> float | None:
        """The exact mean."""
        return self.sum_ns / self.count if self.count else None

    def percentile(self, percent: float) -> float | None:
        """The value, in nanoseconds, that `percent` of all are at or below (nearest rank); None while empty.

        The 0th is the least and the 100th the largest, both exact; others are the middle of their bucket, which is
        within 1/2048 of the true one.
        """
        if self.min_ns is None or self.max_ns is None:
            return None
        # 99.9 % of 1000 is the 999th, whatever binary fractions make of it.
        rank = math.ceil(round(percent / 100 * self.count, 6))
        if rank <= 0:
            return float(self.min_ns)
        if rank >= self.count:
            return float(self.max_ns)
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        low, high = bounds_of(bucket)
        return float(min(max((low + high) / 2, self.min_ns), self.max_ns))

    def count_between(self, low_ns: float, high_ns: float) -> int:
        """How many lie from `low_ns` up to and without `high_ns`, by the middle of their buckets."""
        used = np.flatnonzero(self._counts)
        middles = np.array([sum(bounds_of(int(bucket))) / 2 for bucket in used])
        return int(self._counts[used[(middles >= low_ns) & (middles < high_ns)]].sum()) if used.size else 0

    def document(self) -> dict[str, Any]:
        """The whole histogram: each bucket that counted something as its least value and its count."""
        used = np.flatnonzero(self._counts)
        return {
            "unit": "ns",
            "precision_bits": PRECISION_BITS,
            "count": self.count,
            "sum_ns": self.sum_ns,
            "min_ns": self.min_ns,
            "max_ns": self.max_ns,
            "buckets": [[bounds_of(int(bucket))[0], int(self._counts[bucket])] for bucket in used],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Histogram:
        """The histogram that `document` wrote. Raises `ValueError`, `KeyError` or `TypeError` on anything else."""
        made = cls()
        if document["precision_bits"] != PRECISION_BITS or document["unit"] != "ns":
            raise ValueError("a histogram of another precision or unit")
        for low, count in document["buckets"]:
            if count < 0 or bounds_of(bucket_of(low))[0] != low:
                raise ValueError(f"no bucket begins at {low} ns")
            made._counts[bucket_of(low)] += count
        made.count = int(made._counts.sum())
        made.sum_ns = int(document["sum_ns"])
        if made.count != document["count"]:
            raise ValueError("the buckets do not add up to the count")
        if made.count:
            made.min_ns, made.max_ns = int(document["min_ns"]), int(document["max_ns"])
        return made

    def __len__(self) -> int:
        return self.count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.document() == other.document()

    __hash__ = None  # type: ignore[assignment]

    def _note(self, count: int, total: int, least: int, largest: int) -> None:
        self.count += count
        self.sum_ns += total
        self.min_ns = least if self.min_ns is None else min(self.min_ns, least)
        self.max_ns = largest if self.max_ns is None else max(self.max_ns, largest)
