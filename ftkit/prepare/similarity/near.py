"""Near-duplicates: pairs of texts whose character 5-grams are similar.

Candidates share one of 32 bands of four values of their MinHash signatures (locality-sensitive
hashing), and each is verified by its exact Jaccard similarity. At 0.8, a band of a pair is equal
with probability 0.8 ** 4, so that fewer than one in ten million pairs share no band. Rows that
share a band with many others form clusters, which are searched exactly.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from math import sqrt

import numpy as np

from ftkit.errors import UsageError
from ftkit.prepare.similarity.clusters import (
    NONE,
    ClusterIndex,
    Filter,
    read_differences,
    spread,
)
from ftkit.prepare.similarity.minhash import (
    MAX_SHINGLES,
    PERMUTATIONS,
    VALUE,
    Integers,
    jaccard,
    sample_for,
    shingles,
)

MIN_THRESHOLD = 0.7
"""Lowest similarity that is searched for. Below it, too many pairs would share no band."""

BANDS = PERMUTATIONS * VALUE().itemsize // 8
"""Number of bands of a signature: each is an integer of 64 bits, which holds four values."""

BUCKET = 128
"""Number of rows that share a band, above which they are searched as a cluster."""

DEVIATIONS = 5
"""Standard deviations by which the estimate of a signature may be below the threshold."""

MAX_VERIFIED = 128
"""Number of candidates of a row that are verified, unless they are in its cluster."""

UNCHECKED = "too many rows are nearly as similar; not all of them were compared"
"""Reason in the audit for rows in `NearIndex.unchecked`."""


def check_threshold(near: float | None) -> None:
    """Raise `UsageError` if the parameter `near` is out of range."""
    if near is not None and not MIN_THRESHOLD <= near <= 1:
        raise UsageError(f"`near` must be from {MIN_THRESHOLD} to 1, not {near}")


class _Buckets:
    """Rows by their bands. 288 bytes for each row.

    Attributes:
        clusters: Number of the cluster of each row, or `NONE`. Rows that share a band with more
            than `BUCKET` rows are in the same one, and in no bucket of this band.
    """

    def __init__(self, bands: Integers, has_text: Integers) -> None:
        """Lay out the buckets, which are empty, of all bands that two rows share.

        Args:
            bands: The bands of each row.
            has_text: False for rows that are in no bucket.
        """
        self._starts = np.full(bands.shape, -1, np.int64 if len(bands) >> 26 else np.int32)
        components = _Components(len(bands))
        rows, used = np.flatnonzero(has_text), 0
        for band in range(BANDS):
            column = bands[rows, band]
            order = np.argsort(column, kind="stable")
            column = column[order]
            begins = np.flatnonzero(np.concatenate(([True], column[1:] != column[:-1])))
            sizes = np.diff(np.append(begins, len(column))) if len(rows) else begins[:0]
            is_bucket = (sizes > 1) & (sizes <= BUCKET)
            capacities = np.where(is_bucket, sizes, 0)
            starts = np.where(is_bucket, used + np.cumsum(capacities) - capacities, -1)
            self._starts[rows[order], band] = np.repeat(starts, sizes)
            used += int(capacities.sum())
            is_large = np.repeat(sizes > BUCKET, sizes)
            first = np.repeat(order[begins[: len(sizes)]], sizes)
            components.join(rows[first[is_large]], rows[order[is_large]])
        self.clusters = components.numbers()
        self._slots = np.empty(used, np.uint32)
        self.clear()

    def clear(self) -> None:
        """Remove all rows."""
        self._fills = np.zeros(len(self._slots), np.uint8)

    def members(self, row: int) -> Integers:
        """Return the rows in the buckets of a row, some several times."""
        starts = self._starts[row]
        starts = starts[starts >= 0]
        rows: Integers = self._slots[spread(starts, self._fills[starts].astype(np.intp))]
        return rows

    def insert(self, row: int) -> None:
        """Put a row into its buckets."""
        starts = self._starts[row]
        starts = starts[starts >= 0]
        self._slots[starts + self._fills[starts]] = row
        self._fills[starts] += np.uint8(1)


class _Components:
    """Connected components of rows (union-find, with arrays)."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)

    def join(self, rows: Integers, others: Integers) -> None:
        """Join the components of each row and the other one."""
        while True:
            one, two = self._roots(rows), self._roots(others)
            differs = one != two
            if not differs.any():
                return
            rows, others = one[differs], two[differs]
            np.minimum.at(self._parents, np.maximum(rows, others), np.minimum(rows, others))

    def numbers(self) -> Integers:
        """Return the number of the component of each row, or `NONE` if the row is alone in it."""
        roots = self._roots(np.arange(len(self._parents)))
        sizes = np.bincount(roots, minlength=len(roots))
        numbers = np.cumsum(sizes > 1) - 1
        result: Integers = np.where(sizes[roots] > 1, numbers[roots], NONE)
        return result

    def _roots(self, rows: Integers) -> Integers:
        parents = self._parents[rows]
        while (parents != rows).any():
            rows, parents = parents, self._parents[parents]
        return rows


class NearIndex:
    """Rows whose texts can be searched for similar ones.

    Attributes:
        unchecked: Rows that `similar` did not compare with all candidates.
    """

    def __init__(
        self,
        signatures: tuple[Integers, Integers],
        threshold: float,
        text_of: Callable[[int], str],
    ) -> None:
        """Create an index that holds no rows yet.

        Args:
            signatures: Signatures and sizes of all rows, from `Signatures.arrays`.
            threshold: Jaccard similarity from which two texts are similar.
            text_of: Returns the text of a row.
        """
        self._values, self._sizes = signatures
        self._threshold = threshold
        self._least = threshold - DEVIATIONS * sqrt(threshold * (1 - threshold) / PERMUTATIONS)
        self._text_of = text_of
        self._buckets = _Buckets(self._values.view(np.uint64), self._sizes > 0)
        self._differences = read_differences(
            self._buckets.clusters, self._sizes, threshold, text_of
        )
        self._clusters = ClusterIndex(self._differences)
        self._recent: OrderedDict[int, Integers] = OrderedDict()
        self._recent_size = 0
        self.unchecked: set[int] = set()

    def clear(self) -> None:
        """Remove all rows."""
        self._buckets.clear()
        self._clusters.clear()

    def insert(self, row: int, label: int = 0) -> None:
        """Add a row to those that are found.

        Args:
            row: The row.
            label: Rows with the same label stand for one another: of several that are similar to a
                row, `similar` may yield one.
        """
        self._buckets.insert(row)
        if self._differences.clusters[row] != NONE:
            self._clusters.insert(row, label)

    def similar(self, row: int, are_wanted: Filter | None = None) -> Iterator[tuple[int, float]]:
        """Yield rows in the index that are similar to a row, each with its similarity.

        Args:
            row: The row.
            are_wanted: Returns False for those of several rows that need not be compared. It is
                called again after each row that was yielded.
        """
        cluster = int(self._buckets.clusters[row])
        is_complete = cluster == NONE or not self._differences.incomplete[cluster]
        if self._differences.clusters[row] != NONE:
            for others in self._clusters.without_overlap(row):
                yield from self._verified(row, others, are_wanted)
            others, is_searched = self._clusters.with_overlap(row, are_wanted)
            is_complete &= is_searched
            yield from self._verified(row, others, are_wanted)
        candidates = self._candidates(row)
        yield from self._verified(row, candidates[:MAX_VERIFIED], are_wanted)
        if not is_complete or len(candidates) > MAX_VERIFIED:
            self.unchecked.add(row)

    def _verified(
        self, row: int, candidates: Integers, are_wanted: Filter | None
    ) -> Iterator[tuple[int, float]]:
        """Yield those candidates that are similar to a row."""
        while len(candidates):
            if are_wanted is not None:
                candidates = candidates[are_wanted(candidates)]
            for other in candidates.tolist():
                candidates = candidates[1:]
                similarity = self.similarity(row, other)
                if similarity >= self._threshold:
                    yield other, similarity
                    break

    def _candidates(self, row: int) -> Integers:
        """Return the rows in buckets that are probably similar to a row, the most similar first."""
        others = np.unique(self._buckets.members(row))
        clusters = self._differences.clusters
        if clusters[row] != NONE:
            others = others[clusters[others] != clusters[row]]
        own = self._sizes[row].astype(np.int64)
        sizes = self._sizes[others].astype(np.int64)
        others = others[np.minimum(sizes, own) >= self._threshold * np.maximum(sizes, own)]
        estimates = (self._values[others] == self._values[row]).mean(axis=1)
        order = np.argsort(-estimates, kind="stable")
        candidates: Integers = others[order[estimates[order] >= self._least]]
        return candidates

    def similarity(self, row: int, other: int) -> float:
        """Return the Jaccard similarity of two rows."""
        size = int(max(self._sizes[row], self._sizes[other]))
        if size > MAX_SHINGLES:
            sample = sample_for(size)
            one, two = (shingles(self._text_of(index), sample) for index in (row, other))
            return jaccard(one, two)
        return jaccard(self._shingles(row), self._shingles(other))

    def _shingles(self, row: int) -> Integers:
        """Return the shingles of a row, which is likely to be compared again."""
        if row in self._recent:
            self._recent.move_to_end(row)
            return self._recent[row]
        hashes = shingles(self._text_of(row))
        self._recent[row] = hashes
        self._recent_size += len(hashes)
        while self._recent_size > MAX_SHINGLES:
            self._recent_size -= len(self._recent.popitem(last=False)[1])
        return hashes
