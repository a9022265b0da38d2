"""What the examples of a file cost in tokens, as sums that add up: exact integers, whatever the shards."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import TypeVar

from msgspec import Struct

Histogram = dict[int, int]
"""How often each number occurs."""

Key = TypeVar("Key")


class Cut(Struct, frozen=True):
    """What a limit on the tokens of a sequence takes away from the trained ones: how many, and from how many examples."""

    examples: int = 0
    tokens: int = 0

    def __add__(self, other: Cut) -> Cut:
        return Cut(self.examples + other.examples, self.tokens + other.tokens)


class TokenStats(Struct, frozen=True):
    """The tokens of some examples in one encoding, with images counted one way; `a + b` is that of both.

    - `lengths` are the tokens of the sequences, `trained` those of each example that are learned, `messages` its messages.
    - `trained_cut` is what is lost of `trained` at each limit; what is lost of `lengths` can be told from these.
    - `answers` sums the tokens of the last trained message of each sequence.
    - `kinds` are the numbers of examples that need an approximation, by its name in `counting.APPROXIMATIONS`.
    """

    examples: int = 0
    lengths: Histogram = {}
    trained: Histogram = {}
    messages: Histogram = {}
    trained_cut: dict[int, Cut] = {}
    answers: int = 0
    kinds: dict[str, int] = {}
    without_system: int = 0
    without_user: int = 0

    def __add__(self, other: TokenStats) -> TokenStats:
        limits = {*self.trained_cut, *other.trained_cut}
        return TokenStats(
            examples=self.examples + other.examples,
            lengths=added(self.lengths, other.lengths),
            trained=added(self.trained, other.trained),
            messages=added(self.messages, other.messages),
            trained_cut={
                at: self.trained_cut.get(at, Cut()) + other.trained_cut.get(at, Cut())
                for at in sorted(limits)
            },
            answers=self.answers + other.answers,
            kinds=added(self.kinds, other.kinds),
            without_system=self.without_system + other.without_system,
            without_user=self.without_user + other.without_user,
        )


def added(one: Mapping[Key, int], two: Mapping[Key, int]) -> dict[Key, int]:
    """The sums of the numbers in two mappings, by their keys."""
    return {key: one.get(key, 0) + two.get(key, 0) for key in (*one, *two)}


def total(numbers: Histogram, most: int | None = None) -> int:
    """The sum of the numbers, each at most `most`."""
    return sum(
        (number if most is None else min(number, most)) * times for number, times in numbers.items()
    )


def above(numbers: Histogram, most: int) -> int:
    """How many of the numbers are larger than `most`."""
    return sum(times for number, times in numbers.items() if number > most)


class Distribution(Struct, frozen=True):
    """How numbers are distributed. Quantiles are interpolated between the two nearest numbers, as numpy does by default."""

    min: int = 0
    mean: float = 0
    median: float = 0
    p5: float = 0
    p10: float = 0
    p90: float = 0
    p95: float = 0
    max: int = 0


def distribution(numbers: Histogram) -> Distribution:
    """The distribution of the numbers; all zero if there are none."""
    ordered = sorted(numbers)
    if not ordered:
        return Distribution()
    ends = list(accumulate(numbers[number] for number in ordered))

    def quantile(fraction: float) -> float:
        place = fraction * (ends[-1] - 1)
        low = ordered[bisect_right(ends, int(place))]
        high = ordered[bisect_right(ends, min(int(place) + 1, ends[-1] - 1))]
        return low + (high - low) * (place - int(place))

    quantiles = {f"p{percent}": quantile(percent / 100) for percent in (5, 10, 90, 95)}
    return Distribution(
        ordered[0], total(numbers) / ends[-1], quantile(0.5), **quantiles, max=ordered[-1]
    )
