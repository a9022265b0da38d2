"""MinHash signatures of texts: sets of character 5-grams, and their Jaccard similarity.

A. Z. Broder, "On the resemblance and containment of documents", 1997. Two signatures agree in about
the same share of their values as the sets are similar.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRAM = 5
"""Characters of a shingle. A shorter text is one shingle."""

PERMUTATIONS = 128

VALUE = np.uint16
"""Type of the values of a signature: the low bits of each minimum are enough to compare them."""

BATCH = 1 << 16
"""Characters of short texts whose signatures are computed together; they fit into the cache."""

MAX_SHINGLES = 1 << 20
"""Shingles of a text that are compared, about. Of a longer text, a sample is compared."""

Integers = NDArray[Any]


def scramble(values: Integers) -> Integers:
    """Return the values of a bijection of 64-bit integers that looks random (SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Integers = values ^ (values >> np.uint64(31))
    return result


_constants = scramble(
    np.arange(1, 2 * PERMUTATIONS + GRAM + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
)
_FACTORS = (_constants[:PERMUTATIONS] >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
_SUMMANDS = (_constants[PERMUTATIONS:][:PERMUTATIONS] >> np.uint64(32)).astype(np.uint32)
_WEIGHTS = _constants[-GRAM:] | np.uint64(1)

_SECRET = np.array([secrets.randbits(64) | 1 for _ in range(GRAM)], np.uint64)
"""Weights of comparisons, which nobody can make two shingles collide for."""


def _codes(text: str) -> Integers:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _hashes(codes: Integers, weights: Integers) -> Integers:
    """Return a 64-bit hash of the characters at each place and the following ones."""
    places = len(codes) - GRAM + 1
    wide = codes.astype(np.uint64)
    total = wide[:places] * weights[0]
    for shift in range(1, GRAM):
        total += wide[shift : shift + places] * weights[shift]
    return scramble(total)


def shingles(text: str, sample: int = 0) -> Integers:
    """Return the hashes of the different shingles of a text, sorted.

    Args:
        text: The text, which is not empty.
        sample: Binary logarithm of the share of the shingles to return: 1 for the half of them.
            The choice depends on the shingle alone.
    """
    text = text.ljust(GRAM, "\0")
    mask = np.uint64((1 << sample) - 1)
    parts = []
    for start in range(0, len(text) - GRAM + 1, MAX_SHINGLES):
        hashes = _hashes(_codes(text[start : start + MAX_SHINGLES + GRAM - 1]), _SECRET)
        if sample:
            hashes = hashes[hashes & mask == 0]
        parts.append(np.unique(hashes))
    return parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))


def sample_for(length: int) -> int:
    """Return `sample` for a text of that many characters, so that memory is bounded."""
    return max((length // MAX_SHINGLES).bit_length(), 0)


def jaccard(one: Integers, other: Integers) -> float:
    """Return the Jaccard similarity of two sets of hashes, sorted and without duplicates."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(len(one) + len(other) - shared, 1)


class Signatures:
    """Signatures of texts, in the order in which they are added.

    A text takes 260 bytes of memory. An empty text has no shingles, and is similar to none.
    """

    def __init__(self) -> None:
        self._values, self._sizes = bytearray(), bytearray()
        self._pending: list[str] = []
        self._length = 0

    def add(self, text: str) -> None:
        """Add a text."""
        if len(text) > BATCH:
            self._flush()
            self._add_long(text)
            return
        self._pending.append(text)
        self._length += max(len(text), GRAM)
        if self._length > BATCH:
            self._flush()

    def arrays(self) -> tuple[Integers, Integers]:
        """Return the signatures, one in a row, and the number of different shingles of each."""
        self._flush()
        values = np.frombuffer(self._values, VALUE).reshape(-1, PERMUTATIONS)
        return values, np.frombuffer(self._sizes, np.uint32)

    def _append(self, values: Integers, sizes: Integers) -> None:
        self._values += values.astype(VALUE).tobytes()
        self._sizes += sizes.astype(np.uint32).tobytes()

    def _add_long(self, text: str) -> None:
        minima = np.full(PERMUTATIONS, 0xFFFFFFFF, np.uint32)
        for start in range(0, len(text) - GRAM + 1, BATCH):
            hashes = np.unique(_hashes(_codes(text[start : start + BATCH + GRAM - 1]), _WEIGHTS))
            np.minimum(minima, _minima(hashes, np.zeros(1, np.intp))[0], out=minima)
        sample = sample_for(len(text))
        size = min(len(shingles(text, sample)) << sample, 0xFFFFFFFF)
        self._append(minima, np.array([size]))

    def _flush(self) -> None:
        batch, self._pending, self._length = self._pending, [], 0
        if not batch:
            return
        padded = [text.ljust(GRAM, "\0") for text in batch]
        lengths = np.fromiter(map(len, padded), np.int64, len(padded))
        owners = np.repeat(np.arange(len(padded), dtype=np.uint64), lengths)
        hashes = _hashes(_codes("".join(padded)), _WEIGHTS) >> np.uint64(16)
        is_whole = owners[: len(hashes)] == owners[GRAM - 1 :]
        tagged = (owners[: len(hashes)] << np.uint64(48) | hashes)[is_whole]
        tagged.sort()
        tagged = tagged[np.concatenate(([True], tagged[1:] != tagged[:-1]))]
        sizes = np.bincount((tagged >> np.uint64(48)).astype(np.intp), minlength=len(batch))
        values = _minima(tagged, np.cumsum(sizes) - sizes)
        sizes[[not text for text in batch]] = 0
        self._append(values, sizes)


def _minima(hashes: Integers, starts: Integers) -> Integers:
    """Return the minimum of each permutation over each group of hashes.

    Args:
        hashes: Hashes, of which the low 32 bits are used.
        starts: Index of the first hash of each group.
    """
    low = hashes.astype(np.uint32)
    minima = np.empty((len(starts), PERMUTATIONS), np.uint32)
    for index in range(PERMUTATIONS):
        minima[:, index] = np.minimum.reduceat(low * _FACTORS[index] + _SUMMANDS[index], starts)
    return minima
