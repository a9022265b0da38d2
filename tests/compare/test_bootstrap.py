"""Bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.compare.bootstrap import RESAMPLES, Interval, differences_to_rest, intervals


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40), st.integers(0, 1000))
def test_the_interval_holds_the_mean_and_lies_among_the_values(
    values: list[float], seed: int
) -> None:
    (interval,) = intervals(np.array(values)[:, None], seed)
    slack = 1e-6
    assert interval.n == len(values)
    assert interval.mean == pytest.approx(np.mean(values), abs=slack)
    assert interval.low is not None
    assert interval.high is not None
    assert min(values) - slack <= interval.low <= np.median(_resampled(values, seed)) + slack
    assert np.median(_resampled(values, seed)) - slack <= interval.high <= max(values) + slack


def _resampled(values: list[float], seed: int) -> Any:
    chance = np.random.Generator(np.random.PCG64(seed))
    return np.array(values)[chance.integers(0, len(values), size=(RESAMPLES, len(values)))].mean(
        axis=1
    )


def test_the_interval_is_that_of_the_textbook() -> None:
    values = np.random.default_rng(5).normal(10, 2, 400)
    (interval,) = intervals(values[:, None])
    error = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - error, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + error, abs=0.03)


def test_the_same_seed_gives_the_same_interval_whatever_stands_beside_it() -> None:
    values = np.random.default_rng(1).random((300, 3))
    together = intervals(values, 7)
    for column, interval in enumerate(together):
        (alone,) = intervals(values[:, [column]], 7)
        assert (alone.mean, alone.low, alone.high) == pytest.approx(
            (interval.mean, interval.low, interval.high)
        )
    assert intervals(values, 8) != together


def test_a_paired_difference_is_surer_than_its_parts() -> None:
    chance = np.random.default_rng(3)
    hard = chance.normal(0, 10, 200)
    columns = np.column_stack([hard + 0.1, hard])
    columns = np.column_stack([columns, columns[:, 0] - columns[:, 1]])
    a, b, difference = intervals(columns)
    assert a.low < b.high  # type: ignore[operator]
    assert b.low < a.high  # type: ignore[operator]
    assert difference == Interval(200, pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1))
    assert difference.excludes_zero


def test_one_value_alone_has_no_interval() -> None:
    one, many = np.array([[3.0]]), np.array([[1.0], [2.0]])
    assert intervals(one) == [Interval(1, 3, None, None)]
    assert differences_to_rest([one, many]) == [
        [Interval(1, 1.5, None, None)],
        [Interval(2, -1.5, None, None)],
    ]
    assert not intervals(one)[0].excludes_zero


def _covered(draw: Callable[[Any], Interval], true: float, runs: int) -> float:
    results = [draw(np.random.default_rng(seed)) for seed in range(runs)]
    return (
        sum(
            result.low <= true <= result.high
            for result in results
            if result.low is not None and result.high is not None
        )
        / runs
    )


@pytest.mark.parametrize(
    ("kind", "draw", "true"),
    [
        ("normal", lambda chance: intervals(chance.normal(5, 3, (60, 1)), 1)[0], 5),
        (
            "share",
            lambda chance: intervals((chance.random((80, 1)) < 0.3).astype(float), 2)[0],
            0.3,
        ),
        ("skewed", lambda chance: intervals(chance.exponential(2, (100, 1)), 3)[0], 2),
        (
            "groups",
            lambda chance: differences_to_rest(
                [chance.normal(1, 1, (50, 1)), chance.normal(0, 2, (70, 1))], 4
            )[0][0],
            1,
        ),
        (
            "three groups",
            lambda chance: differences_to_rest(
                [chance.normal(mean, 2, (40, 1)) for mean in (3, 1, 2)], 5
            )[0][0],
            1.5,
        ),
        pytest.param(
            "a group against many of one",
            lambda chance: differences_to_rest(
                [chance.normal(1, 1, (n, 1)) for n in (90, *[1] * 40)], 6
            )[0][0],
            0,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "a group against many of two",
            lambda chance: differences_to_rest(
                [chance.normal(1, 1, (n, 1)) for n in (90, *[2] * 20)], 7
            )[0][0],
            0,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_interval_covers_the_truth_about_as_often_as_it_says(
    kind: str, draw: Callable[[Any], Interval], true: float
) -> None:
    assert 0.90 <= _covered(draw, true, 500) <= 0.99
