"""Token statistics of examples, as exact integers that add up in any grouping."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import TypeVar

from msgspec import Struct

Histogram = dict[int, int]
"""Number of occurrences of each value."""

Key = TypeVar("Key")


class Cut(Struct, frozen=True):
    """Trained tokens lost to a limit on the tokens of a sequence. `a + b` adds up."""

    examples: int = 0
    """Number of examples that lose trained tokens."""
    tokens: int = 0
    """Number of trained tokens lost."""

    def __add__(self, other: Cut) -> Cut:
        return Cut(self.examples + other.examples, self.tokens + other.tokens)


class TokenStats(Struct, frozen=True):
    """Token statistics of examples under one `CountingMethod`. `a + b` covers both sets."""

    examples: int = 0
    lengths: Histogram = {}
    """Tokens of each sequence."""
    trained: Histogram = {}
    """Trained tokens of each example."""
    messages: Histogram = {}
    """Messages of each example."""
    trained_cut: dict[int, Cut] = {}
    """Loss of `trained` at each limit. The loss of `lengths` follows from the histogram."""
    answers: int = 0
    """Tokens of the last trained message of each sequence, added up."""
    approximations: dict[str, int] = {}
    """Number of examples that need an approximation, by its key in `counting.APPROXIMATIONS`."""
    without_system: int = 0
    without_user: int = 0
    extra_keys: int = 0
    """Number of examples with keys that providers refuse. The keys are not counted."""

    def __add__(self, other: TokenStats) -> TokenStats:
        limits = {*self.trained_cut, *other.trained_cut}
        return TokenStats(
            examples=self.examples + other.examples,
            lengths=sum_by_key(self.lengths, other.lengths),
            trained=sum_by_key(self.trained, other.trained),
            messages=sum_by_key(self.messages, other.messages),
            trained_cut={
                limit: self.trained_cut.get(limit, Cut()) + other.trained_cut.get(limit, Cut())
                for limit in sorted(limits)
            },
            answers=self.answers + other.answers,
            approximations=sum_by_key(self.approximations, other.approximations),
            without_system=self.without_system + other.without_system,
            without_user=self.without_user + other.without_user,
            extra_keys=self.extra_keys + other.extra_keys,
        )


def sum_by_key(one: Mapping[Key, int], two: Mapping[Key, int]) -> dict[Key, int]:
    """Return the sum of the values of two mappings for each key."""
    return {key: one.get(key, 0) + two.get(key, 0) for key in (*one, *two)}


def total(histogram: Histogram, limit: int | None = None) -> int:
    """Return the sum of the values, each capped at `limit`."""
    return sum(
        (value if limit is None else min(value, limit)) * count
        for value, count in histogram.items()
    )


def above(histogram: Histogram, limit: int) -> int:
    """Return the number of values larger than `limit`."""
    return sum(count for value, count in histogram.items() if value > limit)


class Distribution(Struct, frozen=True):
    """Summary statistics. Quantiles are interpolated linearly, the default of `numpy.quantile`."""

    min: int = 0
    mean: float = 0
    median: float = 0
    p5: float = 0
    p10: float = 0
    p90: float = 0
    p95: float = 0
    max: int = 0


def distribution(histogram: Histogram) -> Distribution:
    """Return the distribution of the values, or all zeros for an empty histogram."""
    values = sorted(histogram)
    if not values:
        return Distribution()
    cumulative = list(accumulate(histogram[value] for value in values))

    def quantile(fraction: float) -> float:
        position = fraction * (cumulative[-1] - 1)
        low = values[bisect_right(cumulative, int(position))]
        high = values[bisect_right(cumulative, min(int(position) + 1, cumulative[-1] - 1))]
        return low + (high - low) * (position - int(position))

    quantiles = {f"p{percent}": quantile(percent / 100) for percent in (5, 10, 90, 95)}
    return Distribution(
        values[0],
        total(histogram) / cumulative[-1],
        quantile(0.5),
        **quantiles,
        max=values[-1],
    )
