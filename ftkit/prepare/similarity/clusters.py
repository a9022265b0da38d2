"""Exact similarity search in clusters: many texts that share most of their shingles.

The texts of a template are a cluster. It has a base: the shingles C that most of its texts have. Of
a text with the shingles A, only the difference is stored: D = C - A, and E = A - C. With
w(A) = (|D| + t |E|) / (1 + t), the Jaccard similarity of A and B is at least t if and only if their
differences have

    w(A) + w(B) - |C| (1 - t) / (1 + t)

or more elements in common. An inverted index of the differences finds these texts. Only the rarest
elements of each are in it (prefix filtering: S. Chaudhuri et al., "A primitive operator for
similarity joins in data cleaning", 2006).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from math import ceil, inf

import numpy as np
from msgspec import Struct

from ftkit.prepare.similarity.minhash import MAX_SHINGLES, Integers, scramble, shingles

NONE = -1
"""In place of the number of a cluster: the row is in none."""

SAMPLE = 1000
"""Number of texts of a cluster that its base is computed from."""

MAX_ELEMENTS = 1 << 23
"""Elements of differences that are stored. Further rows are not compared with their cluster."""

MAX_COMPARED = 1 << 16
"""Elements of the index that are read for a row, and elements of candidates that are compared."""

ROUNDING = 1e-9


Filter = Callable[[Integers], Integers]
"""A function from rows to True or False for each."""


class _Lightest:
    """The row with the lowest w among rows with one label, and those that are far from it.

    A row that is similar to one of the rows whatever they have in common is similar to the lightest
    one, too. So the others are only searched when a lighter row comes, each at most once.
    """

    def __init__(self) -> None:
        self._weight, self._row = inf, NONE
        self._far: list[tuple[float, int]] = []  # a heap

    def add(self, weight: float, row: int, limit: float) -> None:
        if weight < self._weight:
            weight, row, self._weight, self._row = self._weight, self._row, weight, row
        if row != NONE:
            heappush(self._far, (weight, row))
        while self._far and self._far[0][0] + self._weight <= limit + ROUNDING:
            heappop(self._far)

    def similar(self, weight: float, limit: float) -> Iterator[int]:
        """Yield the lightest row, if it is similar whatever it has in common."""
        if self._is_similar(weight, limit):
            yield self._row

    def similar_and_far(self, weight: float, limit: float) -> Iterator[int]:
        """Yield the rows that are similar, too, but far from the lightest one."""
        is_lighter = weight < self._weight and self._is_similar(weight, limit)
        places = [0] if is_lighter else []
        while places:
            place = places.pop()
            if place < len(self._far) and self._far[place][0] + weight <= limit + ROUNDING:
                yield self._far[place][1]
                places += [2 * place + 1, 2 * place + 2]

    def lowest(self, weight: float, limit: float) -> float:
        """Return the lowest w of the rows that `similar` does not stand for."""
        if self._is_similar(weight, limit):
            return self._far[0][0] if self._far else inf
        return self._weight

    def _is_similar(self, weight: float, limit: float) -> bool:
        return self._weight + weight <= limit + ROUNDING


class Differences(Struct):
    """Differences of rows from the bases of their clusters: one array for all."""

    clusters: Integers
    """Number of the cluster of each row, or `NONE`."""
    bounds: Integers
    """The elements of a row are those from `bounds[row]` to `bounds[row + 1]`."""
    elements: Integers
    """Numbers of elements, for each row the rarest first. Those of one row alone are left out."""
    counts: Integers
    """Number of rows that have an element."""
    weights: Integers
    """w of each row."""
    limits: Integers
    """|C| (1 - t) / (1 + t) of each cluster."""
    incomplete: Integers
    """True for clusters with rows that could not be stored."""

    def of(self, row: int) -> Integers:
        """Return the elements of a row."""
        elements: Integers = self.elements[self.bounds[row] : self.bounds[row + 1]]
        return elements


def read_differences(
    clusters: Integers, sizes: Integers, threshold: float, text_of: Callable[[int], str]
) -> Differences:
    """Return the differences of the rows in clusters.

    Args:
        clusters: Number of the cluster of each row, or `NONE`.
        sizes: Number of shingles of each row.
        threshold: Jaccard similarity from which two rows are similar.
        text_of: Returns the text of a row.
    """
    clusters = clusters.copy()
    count = int(clusters.max(initial=NONE)) + 1
    weights, lengths = np.zeros(len(clusters)), np.zeros(len(clusters), np.int64)
    limits, incomplete = np.zeros(count), np.zeros(count, bool)
    elements = array("Q")
    order = np.argsort(clusters, kind="stable")
    bounds = np.searchsorted(clusters[order], np.arange(count + 1))
    for number in range(count):
        rows = order[bounds[number] : bounds[number + 1]]
        salt = scramble(np.full(1, number, np.uint64))
        base = _base(rows[sizes[rows] <= MAX_SHINGLES], text_of)
        limits[number] = len(base) * (1 - threshold) / (1 + threshold)
        for row in rows.tolist():
            is_stored = sizes[row] <= MAX_SHINGLES and len(elements) < MAX_ELEMENTS
            if not is_stored:
                clusters[row], incomplete[number] = NONE, True
                continue
            missing, extra = _difference(base, shingles(text_of(row)))
            weights[row] = (len(missing) + threshold * len(extra)) / (1 + threshold)
            lengths[row] = len(missing) + len(extra)
            elements.frombytes((np.concatenate((missing, extra)) ^ salt).tobytes())
    stored = np.frombuffer(elements, np.uint64)
    owners = np.repeat(order, lengths[order])
    starts, numbers, counts = _shared(stored, owners, len(clusters))
    return Differences(clusters, starts, numbers, counts, weights, limits, incomplete)


def _base(rows: Integers, text_of: Callable[[int], str]) -> Integers:
    """Return the shingles that most of the rows have, or most of a sample of them."""
    sample = rows[:: max(len(rows) // SAMPLE, 1)][:SAMPLE]
    total = 0
    parts = []
    for row in sample.tolist():
        parts.append(shingles(text_of(row)))
        total += len(parts[-1])
        if total > MAX_SHINGLES:
            break
    values, counts = np.unique(np.concatenate([*parts, np.empty(0, np.uint64)]), return_counts=True)
    base: Integers = values[counts * 2 > len(parts)]
    return base


def _difference(base: Integers, own: Integers) -> tuple[Integers, Integers]:
    """Return the elements that are only in the first of two sorted arrays, and in the second."""
    if not len(base):
        return base, own
    places = np.searchsorted(base, own)
    places[places == len(base)] = 0
    is_shared = base[places] == own
    is_missing = np.ones(len(base), bool)
    is_missing[places[is_shared]] = False
    return base[is_missing], own[~is_shared]


def _shared(elements: Integers, owners: Integers, rows: int) -> tuple[Integers, Integers, Integers]:
    """Return the elements that several rows have: bounds by row, numbers by frequency, counts."""
    _, numbers, counts = np.unique(elements, return_inverse=True, return_counts=True)
    frequency = np.argsort(counts, kind="stable")
    ranks = np.empty(len(counts), np.int64)
    ranks[frequency] = np.arange(len(counts))
    single = int(np.searchsorted(counts[frequency], 2))
    ranked = ranks[numbers.reshape(-1)] - single  # numpy 2.0 alone keeps the shape
    is_shared = ranked >= 0
    ranked, owners = ranked[is_shared], owners[is_shared]
    order = np.lexsort((ranked, owners))
    bounds = np.concatenate(([0], np.cumsum(np.bincount(owners, minlength=rows))))
    return bounds, ranked[order].astype(np.uint32), counts[frequency][single:]


class ClusterIndex:
    """Rows in clusters, by their differences from the bases."""

    def __init__(self, differences: Differences) -> None:
        """Create an index that holds no rows yet."""
        self._rows = differences
        is_in = differences.clusters != NONE
        self._lowest = np.full(len(differences.limits), np.inf)
        np.minimum.at(self._lowest, differences.clusters[is_in], differences.weights[is_in])
        self._starts = np.cumsum(differences.counts) - differences.counts
        self._slots = np.empty(int(differences.counts.sum()), np.uint32)
        self._is_own = np.zeros(len(self._starts), bool)  # False but while a row is searched
        self.clear()

    def clear(self) -> None:
        """Remove all rows."""
        self._fills = np.zeros(len(self._starts), np.int64)
        self._lightest: dict[int, dict[int, _Lightest]] = {}

    def insert(self, row: int, label: int) -> None:
        """Add a row. See `NearIndex.insert`."""
        cluster = int(self._rows.clusters[row])
        elements = self._prefix(row, cluster, float(self._lowest[cluster]))
        self._slots[self._starts[elements] + self._fills[elements]] = row
        self._fills[elements] += 1
        labels = self._lightest.setdefault(cluster, {})
        weight = float(self._rows.weights[row])
        labels.setdefault(label, _Lightest()).add(weight, row, float(self._rows.limits[cluster]))

    def without_overlap(self, row: int) -> Iterator[Integers]:
        """Yield rows that are similar to a row whatever they have in common with it, in two parts.

        The first part has one row for each label that has some.
        """
        cluster = int(self._rows.clusters[row])
        weight, limit = float(self._rows.weights[row]), float(self._rows.limits[cluster])
        for search in (_Lightest.similar, _Lightest.similar_and_far):
            labels = self._lightest.get(cluster, {}).values()
            similar = [other for lightest in labels for other in search(lightest, weight, limit)]
            yield np.array(similar, np.int64)

    def with_overlap(self, row: int, are_wanted: Filter | None = None) -> tuple[Integers, bool]:
        """Return the rows that are similar since they have elements in common with a row.

        Args:
            row: The row.
            are_wanted: Returns False for those of several rows that need not be compared.

        Returns:
            The rows, those with most in common first; False if the search was cut, and some may be
            missing.
        """
        others, is_complete = self._candidates(row)
        if are_wanted is not None:
            others = others[are_wanted(others)]
        lengths = self._rows.bounds[others + 1] - self._rows.bounds[others]
        ends = np.cumsum(lengths)
        compared = int(np.searchsorted(ends, MAX_COMPARED, side="right"))
        is_complete &= compared == len(others)
        others, lengths, ends = others[:compared], lengths[:compared], ends[:compared]
        elements = self._rows.elements[spread(self._rows.bounds[others], lengths)]
        own = self._rows.of(row)
        self._is_own[own] = True
        counted = np.concatenate(([0], np.cumsum(self._is_own[elements], dtype=np.int32)))
        self._is_own[own] = False
        common = counted[ends] - counted[ends - lengths]
        cluster = self._rows.clusters[row]
        weights = self._rows.weights
        needed = weights[others] + weights[row] - self._rows.limits[cluster]
        is_similar = common >= needed - ROUNDING
        others, excess = others[is_similar], (common - needed)[is_similar]
        return others[np.argsort(-excess, kind="stable")], is_complete

    def _candidates(self, row: int) -> tuple[Integers, bool]:
        """Return the rows that have an element of the prefix in common with a row, as above."""
        cluster = int(self._rows.clusters[row])
        weight, limit = float(self._rows.weights[row]), float(self._rows.limits[cluster])
        labels = self._lightest.get(cluster, {}).values()
        lowest = min((lightest.lowest(weight, limit) for lightest in labels), default=inf)
        elements = self._prefix(row, cluster, lowest)
        fills = self._fills[elements]
        read = int(np.searchsorted(np.cumsum(fills), MAX_COMPARED, side="right"))
        starts, fills = self._starts[elements[:read]], fills[:read]
        members, counts = np.unique(self._slots[spread(starts, fills)], return_counts=True)
        others = members[np.argsort(-counts, kind="stable")].astype(np.int64)
        return others, read == len(elements)

    def _prefix(self, row: int, cluster: int, lowest: float) -> Integers:
        """Return elements of which similar rows with a w of at least `lowest` have one or more."""
        own = self._rows.of(row)
        needed = self._rows.weights[row] + lowest - self._rows.limits[cluster]
        if needed - ROUNDING > len(own):
            return own[:0]
        prefix: Integers = own[: len(own) - max(ceil(needed - ROUNDING), 1) + 1]
        return prefix


def spread(starts: Integers, lengths: Integers) -> Integers:
    """Return the numbers from each start on, as many as its length."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    result: Integers = np.repeat(starts - (ends - lengths), lengths) + np.arange(total)
    return result
