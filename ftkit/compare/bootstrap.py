"""Means with their uncertainty: the percentile bootstrap over prompts.

The prompts are drawn anew, as many as there are and with replacement, `RESAMPLES` times; the interval goes from the 2.5th to the
97.5th percentile of the means. What stands side by side is drawn together, so a difference of columns is a paired one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95
AT_ONCE = 2_000_000
"""Numbers that are drawn at once: bounds the memory."""


DIGITS = 12
"""Decimals that are kept: what lies beyond is noise of the addition, and must not lift a 0 to one side."""


class Interval(Struct, frozen=True):
    """A mean of `n` values and its interval; one value alone has none."""

    n: int
    mean: float
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def intervals(columns: NDArray[np.float64], seed: int = 0) -> list[Interval]:
    """The interval of each column's mean. `columns` has a row for each prompt, at least one, and no NaN."""
    rows = len(columns)
    return _intervals(rows, columns.mean(axis=0), _means(columns, seed), alone=rows == 1)


def apart(groups: Sequence[NDArray[np.float64]], seed: int = 0) -> list[list[Interval]]:
    """For each group of prompts, at least two, how its means differ from those of all others together, column by column.

    All prompts are drawn together, so that the others are the one group that they are: drawn group by group, many small ones would
    seem to have no spread. A resample without the group, or without any other, is passed over.
    """
    import numpy as np

    pool, (sums, counts) = np.concatenate(groups), _sums(groups, seed)
    found = []
    for number, group in enumerate(groups):
        rest = len(pool) - len(group)
        apart = group.mean(axis=0) - (pool.sum(axis=0) - group.sum(axis=0)) / rest
        one, many = counts[:, [number]], counts.sum(axis=1, keepdims=True) - counts[:, [number]]
        some = ((one > 0) & (many > 0))[:, 0]
        own, others = sums[some, number], sums[some].sum(axis=1) - sums[some, number]
        found.append(
            _intervals(
                len(group),
                apart,
                own / one[some] - others / many[some],
                alone=min(len(group), rest) == 1,
            )
        )
    return found


def _sums(
    groups: Sequence[NDArray[np.float64]], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The groups in each resample of all prompts: their sums (resamples x groups x columns) and sizes (resamples x groups)."""
    import numpy as np

    pool, starts = np.concatenate(groups), np.cumsum([0, *map(len, groups[:-1])])
    sums, counts = [], []
    for drawn in _draws(len(pool), seed):
        places = drawn + len(pool) * np.arange(len(drawn))[:, None]
        times = np.bincount(places.ravel(), minlength=drawn.size).reshape(drawn.shape)
        counts.append(np.add.reduceat(times, starts, axis=1))
        sums.append(
            np.stack([np.add.reduceat(times * column, starts, axis=1) for column in pool.T], axis=2)
        )
    return np.concatenate(sums), np.concatenate(counts)


def _intervals(
    rows: int, means: NDArray[np.float64], drawn: NDArray[np.float64], alone: bool
) -> list[Interval]:
    import numpy as np

    lows, highs = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).round(DIGITS)
    return [
        Interval(rows, float(mean), None if alone else float(low), None if alone else float(high))
        for mean, low, high in zip(means, lows, highs, strict=True)
    ]


def _means(columns: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """The means of the columns in each resample, a row for each."""
    import numpy as np

    return np.concatenate([columns[drawn].mean(axis=1) for drawn in _draws(len(columns), seed)])


def _draws(rows: int, seed: int) -> Iterator[Any]:
    """Which rows each resample takes, some resamples at once."""
    import numpy as np

    chance = np.random.Generator(np.random.PCG64(seed))
    some = max(1, min(RESAMPLES, AT_ONCE // rows))
    for start in range(0, RESAMPLES, some):
        yield chance.integers(0, rows, size=(min(some, RESAMPLES - start), rows))
