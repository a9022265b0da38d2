"""Confidence intervals of means: the percentile bootstrap over prompts.

The prompts are resampled with replacement `RESAMPLES` times. The interval reaches from the 2.5th to
the 97.5th percentile of the means of the resamples. All columns of a prompt are resampled together,
so the interval of a column of differences is that of a paired difference.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 2000
"""Number of resamples."""

LEVEL = 0.95
"""Confidence level of the intervals."""

MAX_DRAWN = 2_000_000
"""Maximum number of rows that are drawn at once, which bounds the memory."""

DECIMALS = 12
"""Decimals of the bounds. Rounding keeps the error of floating-point sums from excluding 0."""


class Interval(Struct, frozen=True):
    """A mean with its confidence interval.

    Attributes:
        n: Number of values.
        mean: Mean of the values.
        low: Lower bound, or None for a single value.
        high: Upper bound, or None for a single value.
    """

    n: int
    mean: float
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        """True if the whole interval lies on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def intervals(columns: NDArray[np.float64], seed: int = 0) -> list[Interval]:
    """Return the interval of each column's mean.

    Args:
        columns: A row for each prompt, at least one. No value is NaN.
        seed: Seed of the resampling.
    """
    rows = len(columns)
    means = columns.mean(axis=0)
    return _intervals(rows, means, _resampled_means(columns, seed), is_single=rows == 1)


def differences_to_rest(
    groups: Sequence[NDArray[np.float64]], seed: int = 0
) -> list[list[Interval]]:
    """Return, per group and column, the mean of the group minus that of all other groups.

    All prompts are resampled together, because the other groups form one sample. Resampled one by
    one, many small groups would seem to have no variance. Resamples without a prompt of the group,
    or without any other prompt, are skipped.

    Args:
        groups: At least two groups, each with a row for each of its prompts.
        seed: Seed of the resampling.
    """
    import numpy as np

    pool, (sums, counts) = np.concatenate(groups), _resampled_sums(groups, seed)
    differences = []
    for index, group in enumerate(groups):
        rest_size = len(pool) - len(group)
        difference = group.mean(axis=0) - (pool.sum(axis=0) - group.sum(axis=0)) / rest_size
        group_counts = counts[:, [index]]
        rest_counts = counts.sum(axis=1, keepdims=True) - group_counts
        usable = ((group_counts > 0) & (rest_counts > 0))[:, 0]
        group_sums = sums[usable, index]
        rest_sums = sums[usable].sum(axis=1) - group_sums
        resampled = group_sums / group_counts[usable] - rest_sums / rest_counts[usable]
        is_single = min(len(group), rest_size) == 1
        differences.append(_intervals(len(group), difference, resampled, is_single))
    return differences


def _resampled_sums(
    groups: Sequence[NDArray[np.float64]], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums and the sizes of the groups in each resample of all prompts.

    Returns:
        Sums with the shape (resamples, groups, columns), and sizes with (resamples, groups).
    """
    import numpy as np

    pool, starts = np.concatenate(groups), np.cumsum([0, *map(len, groups[:-1])])
    sums, counts = [], []
    for indices in _resamples(len(pool), seed):
        # One bincount for all resamples: each resample has its own range of bins.
        bins = indices + len(pool) * np.arange(len(indices))[:, None]
        times = np.bincount(bins.ravel(), minlength=indices.size).reshape(indices.shape)
        counts.append(np.add.reduceat(times, starts, axis=1))
        sums.append(
            np.stack([np.add.reduceat(times * column, starts, axis=1) for column in pool.T], axis=2)
        )
    return np.concatenate(sums), np.concatenate(counts)


def _intervals(
    rows: int, means: NDArray[np.float64], resampled: NDArray[np.float64], is_single: bool
) -> list[Interval]:
    import numpy as np

    levels = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    lows, highs = np.quantile(resampled, levels, axis=0).round(DECIMALS)
    if is_single:
        return [Interval(rows, float(mean), None, None) for mean in means]
    return [
        Interval(rows, float(mean), float(low), float(high))
        for mean, low, high in zip(means, lows, highs, strict=True)
    ]


def _resampled_means(columns: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return the means of the columns, a row for each resample."""
    import numpy as np

    return np.concatenate(
        [columns[indices].mean(axis=1) for indices in _resamples(len(columns), seed)]
    )


def _resamples(rows: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield batches of resamples, each resample a row of indices."""
    import numpy as np

    random = np.random.Generator(np.random.PCG64(seed))
    batch = max(1, min(RESAMPLES, MAX_DRAWN // rows))
    for start in range(0, RESAMPLES, batch):
        yield random.integers(0, rows, size=(min(batch, RESAMPLES - start), rows))
