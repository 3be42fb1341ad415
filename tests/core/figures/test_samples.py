"""Times kept one by one and as a histogram: the same figures, exact where they are said to be."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.figures.samples import KEPT, Samples


def of(values: list[int]) -> Samples:
    samples = Samples()
    for value in values:
        samples.add(value)
    return samples


def test_nothing() -> None:
    samples = Samples()
    assert (samples.count, samples.min_ns, samples.mean_ns, samples.deviation_ns) == (0, None, None, None)
    assert samples.percentile(50) is None


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=50), st.floats(0, 100))
def test_a_few(values: list[int], percent: float) -> None:
    samples = of(values)
    assert samples.mean_ns == pytest.approx(statistics.fmean(values))
    assert samples.deviation_ns == pytest.approx(statistics.pstdev(values), abs=1e-3)
    rank = max(math.ceil(round(percent / 100 * len(values), 6)), 1)
    assert samples.percentile(percent) == sorted(values)[rank - 1]
    assert samples.count_between(values[0], math.inf) == sum(value >= values[0] for value in values)


def test_many() -> None:
    values = [number * 7919 % 1_000_003 for number in range(KEPT + 1000)]
    samples = of(values)
    assert samples.count == len(values)
    assert (samples.min_ns, samples.max_ns, samples.sum_ns) == (min(values), max(values), sum(values))
    assert samples.deviation_ns == pytest.approx(statistics.pstdev(values))
    assert samples.percentile(90) == pytest.approx(sorted(values)[math.ceil(0.9 * len(values)) - 1], rel=1 / 1024)
    assert samples.count_between(0, math.inf) == len(values)
