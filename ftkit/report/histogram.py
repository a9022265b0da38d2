"""Histograms for pages: bars of equal width, on a linear or a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from ftkit.tokens.stats import Histogram, distribution

BINS = 32
"""Number of bars."""

TICKS = 4
"""Number of parts into which the labels divide the axis."""

SKEWED = 12
"""Ratio of the largest value to the median from which on the scale is logarithmic."""

STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
"""Widths of a bar on a linear scale, times a power of ten."""


class Bar(Struct, frozen=True):
    """A bar: its values, from `low` up to but without `high`, and their number."""

    low: float
    high: float
    count: int
    is_cut: bool = False
    """True if its values are above the limit."""


class Bars(Struct, frozen=True):
    """A histogram to draw.

    Attributes:
        bars: The bars, each of the same width.
        labels: Values at the ticks of the axis.
        is_logarithmic: True if the scale of the values is logarithmic.
        limit: Place of the limit, from 0 to 1, or None if it is outside.
        highest: Largest number of values in a bar.
    """

    bars: tuple[Bar, ...]
    labels: tuple[str, ...]
    is_logarithmic: bool
    limit: float | None
    highest: int


def histogram_bars(histogram: Histogram, limit: int | None = None) -> Bars | None:
    """Return the bars of a histogram, or None if it is empty.

    Args:
        histogram: Number of occurrences of each value.
        limit: Values above it are marked as cut.
    """
    positive = {value: count for value, count in histogram.items() if value >= 0}
    if not positive:
        return None
    largest = max(positive)
    is_logarithmic = largest > SKEWED * max(distribution(positive).median, 1)
    edges = _logarithmic(positive) if is_logarithmic else _linear(largest)
    counts = [0] * BINS
    cut = [0] * BINS
    for value, count in positive.items():
        index = _index(value, edges)
        counts[index] += count
        cut[index] += count if limit is not None and value > limit else 0
    bars = tuple(
        Bar(edges[index], edges[index + 1], counts[index], cut[index] > 0) for index in range(BINS)
    )
    labels = tuple(_label(edges[index]) for index in range(0, BINS + 1, BINS // TICKS))
    return Bars(bars, labels, is_logarithmic, _place(limit, edges), max(counts))


def _linear(largest: int) -> list[float]:
    needed = max((largest + 1) / BINS, 1)
    power = 10 ** math.floor(math.log10(needed))
    width = next(step * power for step in STEPS if step * power >= needed)
    width = math.ceil(width)
    return [float(width * index) for index in range(BINS + 1)]


def _logarithmic(histogram: Histogram) -> list[float]:
    low, high = max(min(histogram), 1), max(histogram) + 1
    ratio = (high / low) ** (1 / BINS)
    return [low * ratio**index for index in range(BINS)] + [float(high)]


def _index(value: float, edges: Sequence[float]) -> int:
    below = sum(1 for edge in edges[1:-1] if edge <= value)
    return min(below, BINS - 1)


def _place(limit: int | None, edges: Sequence[float]) -> float | None:
    if limit is None or not edges[0] <= limit < edges[-1]:
        return None
    index = _index(limit, edges)
    return (index + (limit - edges[index]) / (edges[index + 1] - edges[index])) / BINS


def _label(value: float) -> str:
    return f"{value:,.0f}"
