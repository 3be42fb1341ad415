"""The histogram against the values themselves, sorted: exact counts, a bounded relative error, sums that merge."""

from __future__ import annotations

import itertools
import json
import math
from array import array

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from echowire.core.figures.histogram import BUCKETS, LARGEST, Histogram, bounds_of, bucket_of

TIMES = st.integers(min_value=0, max_value=LARGEST)
PERCENTS = (0, 1, 50, 90, 99, 99.9, 99.99, 100)


def of(*values: int) -> Histogram:
    made = Histogram()
    made.record(values)
    return made


def exact_percentile(values: list[int], percent: float) -> int:
    """Nearest rank, in whole numbers alone."""
    rank = max(1, -(-round(percent * 100) * len(values) // 10_000))
    return sorted(values)[rank - 1]


@given(TIMES)
@example(0)
@example(2047)
@example(2048)
@example(LARGEST)
def test_a_value_is_within_its_bucket_and_the_bucket_is_narrow(value: int) -> None:
    low, high = bounds_of(bucket_of(value))
    assert low <= value <= high
    assert high - low <= value / 1024


def test_buckets_follow_each_other_without_gap() -> None:
    ends = [bounds_of(bucket) for bucket in range(BUCKETS)]
    assert ends[0][0] == 0
    assert ends[-1][1] == LARGEST
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(ends))
    assert [bucket_of(low) for low, _ in ends] == list(range(BUCKETS))


@given(st.lists(TIMES, min_size=1, max_size=300))
def test_percentiles_are_the_sorted_values_within_the_promised_error(values: list[int]) -> None:
    made = of(*values)
    assert (made.count, made.sum_ns, made.min_ns, made.max_ns) == (len(values), sum(values), min(values), max(values))
    for percent in PERCENTS:
        found, exact = made.percentile(percent), exact_percentile(values, percent)
        assert found is not None
        assert abs(found - exact) <= exact / 2048 + 0.5
    assert made.percentile(0) == min(values)
    assert made.percentile(100) == max(values)


@given(st.lists(st.lists(TIMES, max_size=50), max_size=5))
def test_merged_is_the_same_as_counted_together(parts: list[list[int]]) -> None:
    merged = Histogram()
    for part in parts:
        merged.add(of(*part))
    assert merged == of(*[value for part in parts for value in part])


@given(st.lists(TIMES, max_size=50))
def test_json_and_back(values: list[int]) -> None:
    made = of(*values)
    document = json.loads(json.dumps(made.document(), allow_nan=False))
    assert Histogram.from_document(document) == made
    assert sum(count for _, count in document["buckets"]) == len(values)


def test_an_empty_one_knows_nothing() -> None:
    empty = Histogram()
    assert empty.percentile(50) is None
    assert empty.mean_ns is None
    assert empty.min_ns is None
    empty.record([])
    empty.record_seconds([])
    assert empty == Histogram()


def test_the_rank_is_not_moved_by_binary_fractions() -> None:
    made = of(*range(1, 1001))
    assert made.percentile(99.9) == 999
    assert made.percentile(50) == 500


def test_seconds_are_taken_from_an_array_too() -> None:
    made = Histogram()
    made.record_seconds(array("d", [1e-6, 0.5, -1e-9]))
    assert (made.min_ns, made.max_ns, made.sum_ns) == (0, 500_000_000, 500_001_000)


def test_what_is_beyond_the_range_is_counted_in_the_last_bucket() -> None:
    made = of(LARGEST * 5)
    assert made.max_ns == LARGEST * 5
    assert made.document()["buckets"] == [[bounds_of(BUCKETS - 1)[0], 1]]


def test_counting_between() -> None:
    made = of(1, 5, 10, 1000)
    assert made.count_between(5, 1000) == 2
    assert made.count_between(0, math.inf) == 4
    assert Histogram().count_between(0, 10) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"unit": "us"},
        {"precision_bits": 8},
        {"count": 7},
        {"buckets": [[2049, 1]]},
        {"buckets": [[1, -1]]},
        {"buckets": 3},
    ],
)
def test_another_document_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        Histogram.from_document({**of(1, 2).document(), **change})
