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

    Each group is drawn on its own.
    """
    drawn = [_means(group, seed + number) for number, group in enumerate(groups)]
    means = [group.mean(axis=0) for group in groups]
    sizes = [len(group) for group in groups]
    rows = sum(sizes)
    all_drawn = sum(size * each for size, each in zip(sizes, drawn, strict=True))
    all_means = sum(size * each for size, each in zip(sizes, means, strict=True))
    return [
        _intervals(size, mean - (all_means - size * mean) / (rows - size), each - (all_drawn - size * each) / (rows - size),
                   alone=min(size, rows - size) == 1)
        for size, mean, each in zip(sizes, means, drawn, strict=True)
    ]  # fmt: skip


def _intervals(rows: int, means: NDArray[np.float64], drawn: NDArray[np.float64], alone: bool) -> list[Interval]:
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
