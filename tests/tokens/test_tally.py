"""Sums and distributions over examples."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given

from ftkit.tokens.stats import Distribution, Histogram, distribution
from support.estimates import histograms


@given(histograms.filter(bool))
def test_a_distribution_is_that_of_numpy(numbers: Histogram) -> None:
    values = sorted(number for number, times in numbers.items() for _ in range(times))
    stats = distribution(numbers)
    assert (stats.min, stats.max) == (values[0], values[-1])
    assert stats.mean == pytest.approx(statistics.mean(values))
    assert stats.median == pytest.approx(statistics.median(values))
    expected = np.quantile(values, [0.05, 0.1, 0.9, 0.95])
    assert [stats.p5, stats.p10, stats.p90, stats.p95] == pytest.approx(expected)


def test_the_distribution_of_nothing_is_zero() -> None:
    assert distribution({}) == Distribution()
