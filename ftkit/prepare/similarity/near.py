"""Near-duplicates: pairs of texts whose character 5-grams are similar.

Candidates share one of 32 bands of four values of their MinHash signatures (locality-sensitive
hashing), and each is verified by its exact Jaccard similarity. At 0.8, a band of a pair is equal
with probability 0.8 ** 4, so that fewer than one in ten million pairs share no band.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from math import sqrt

import numpy as np

from ftkit.errors import UsageError
from ftkit.prepare.similarity.minhash import (
    MAX_SHINGLES,
    PERMUTATIONS,
    VALUE,
    Integers,
    jaccard,
    sample_for,
    scramble,
    shingles,
)

MIN_THRESHOLD = 0.7
"""Lowest similarity that is searched for. Below it, too many pairs would share no band."""

BANDS = PERMUTATIONS * VALUE().itemsize // 8
"""Number of bands of a signature: each is an integer of 64 bits, which holds four values."""

BUCKET = 32
"""Number of rows in a bucket. Further rows go to a bucket of twice as many values."""

LEVELS = 3
"""Number of levels of buckets. A row that has no place on the last one is not found by that band.

This bounds the comparisons of a row, whatever the other rows are.
"""

VERIFIED = 16
"""Number of candidates of a row that are verified: those with the most similar signatures."""

DEVIATIONS = 5
"""Standard deviations by which the estimate of a signature may be below the threshold."""


def check_threshold(near: float | None) -> None:
    """Raise `UsageError` if the parameter `near` is out of range."""
    if near is not None and not MIN_THRESHOLD <= near <= 1:
        raise UsageError(f"`near` must be from {MIN_THRESHOLD} to 1, not {near}")


class _Buckets:
    """Rows by the keys of their bands. 288 bytes for each row."""

    def __init__(self, keys: Callable[[int], Integers], has_text: Integers) -> None:
        """Lay out the buckets, which are empty, of all keys that two rows share.

        Args:
            keys: Returns the key of each row in a band.
            has_text: False for rows that are in no bucket.
        """
        shape = len(has_text), BANDS
        self._starts = np.full(shape, -1, np.int64 if len(has_text) >> 26 else np.int32)
        rows, used = np.flatnonzero(has_text), 0
        for band in range(BANDS):
            column = keys(band)[rows]
            order = np.argsort(column, kind="stable")
            column = column[order]
            begins = np.flatnonzero(np.concatenate(([True], column[1:] != column[:-1])))
            sizes = np.diff(np.append(begins, len(column)))
            sizes = sizes if len(column) else sizes[:0]
            capacities = np.where(sizes > 1, np.minimum(sizes, BUCKET), 0)
            starts = np.where(sizes > 1, used + np.cumsum(capacities) - capacities, -1)
            self._starts[rows[order], band] = np.repeat(starts, sizes)
            used += int(capacities.sum())
        self._slots = np.empty(used, np.uint32)
        self._fills = np.zeros(used, np.uint8)

    def members(self, row: int) -> Integers:
        """Return the rows in the buckets of a row."""
        starts = self._starts[row]
        starts = starts[starts >= 0]
        fills = self._fills[starts].astype(np.intp)
        ends = np.cumsum(fills)
        total = int(ends[-1]) if len(ends) else 0
        rows: Integers = self._slots[np.repeat(starts - (ends - fills), fills) + np.arange(total)]
        return rows

    def insert(self, row: int, bands: Integers) -> Integers:
        """Put a row into its buckets of some bands, and return those bands whose bucket is full."""
        starts = self._starts[row, bands]
        bands, starts = bands[starts >= 0], starts[starts >= 0]
        fills = self._fills[starts]
        has_place = fills < BUCKET
        self._slots[starts[has_place] + fills[has_place]] = row
        self._fills[starts[has_place]] += np.uint8(1)
        full: Integers = bands[~has_place]
        return full


class NearIndex:
    """Rows whose texts can be searched for similar ones."""

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
        self._levels = [self._buckets(0)]
        self._recent: OrderedDict[int, Integers] = OrderedDict()
        self._recent_size = 0

    def insert(self, row: int) -> None:
        """Add a row to those that are found."""
        bands = np.arange(BANDS)
        for level in range(LEVELS):
            if level == len(self._levels):
                self._levels.append(self._buckets(level))
            bands = self._levels[level].insert(row, bands)
            if not len(bands):
                return

    def _buckets(self, level: int) -> _Buckets:
        """Return empty buckets. Each level joins twice as many bands, as in an LSH forest."""
        columns = self._values.view(np.uint64)

        def keys(band: int) -> Integers:
            key = columns[:, band]
            for step in range(1, 1 << level):
                key = scramble(key) ^ columns[:, (band + step) % BANDS]
            return key

        return _Buckets(keys, self._sizes > 0)

    def similar(
        self, row: int, are_wanted: Callable[[Integers], Integers] | None = None
    ) -> Iterator[tuple[int, float]]:
        """Yield the rows in the index that are similar to a row, each with its similarity.

        Args:
            row: The row.
            are_wanted: Returns False for those of several rows that need not be compared. It is
                called again after each row that was yielded.
        """
        candidates, verified = self._candidates(row), 0
        while len(candidates) and verified < VERIFIED:
            if are_wanted is not None:
                candidates = candidates[are_wanted(candidates)]
            for other in candidates[: VERIFIED - verified].tolist():
                candidates, verified = candidates[1:], verified + 1
                similarity = self.similarity(row, other)
                if similarity >= self._threshold:
                    yield other, similarity
                    break

    def _candidates(self, row: int) -> Integers:
        """Return the rows that are probably similar to a row, the most similar one first."""
        members = [buckets.members(row) for buckets in self._levels]
        others = np.unique(np.concatenate(members) if len(members) > 1 else members[0])
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
