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
    told = distribution(numbers)
    assert (told.min, told.max) == (values[0], values[-1])
    assert told.mean == pytest.approx(statistics.mean(values))
    assert told.median == pytest.approx(statistics.median(values))
    wanted = np.quantile(values, [0.05, 0.1, 0.9, 0.95])
    assert [told.p5, told.p10, told.p90, told.p95] == pytest.approx(wanted)


def test_the_distribution_of_nothing_is_zero() -> None:
    assert distribution({}) == Distribution()
