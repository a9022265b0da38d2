"""Subsets of the components of a split, by their hashes.

A component is a set of rows that stay together. Its hash places it on a line from 0 to 2 ** 64,
which the ratios divide.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from ftkit.errors import UsageError
from ftkit.prepare.hashing import HASHES
from ftkit.prepare.similarity.minhash import Integers


class Components(Struct):
    """Components, each with an element in all arrays."""

    sizes: Integers
    """Number of rows."""
    positions: Integers
    """Hash, as an unsigned integer of 64 bits."""
    strata: Integers
    """Number of the stratum, from 0."""
    subsets: Integers
    """Number of the subset, or -1 if it is not decided yet."""


def assign_by_hash(components: Components, ratio: Sequence[float]) -> None:
    """Give each component without a subset the one that its position lies in."""
    bounds = np.array(
        [min(int(sum(ratio[:end]) * HASHES), HASHES - 1) for end in range(1, len(ratio))]
    )
    free = components.subsets < 0
    chosen = np.searchsorted(bounds.astype(np.uint64), components.positions[free], side="right")
    components.subsets[free] = chosen


def assign_by_rank(components: Components, ratio: Sequence[float], exact: bool) -> None:
    """Give each component without a subset one, so that the numbers of rows follow the ratio.

    In each stratum, large components come first, since small ones fill what they leave; components
    of one row go to the subsets in the order of their positions. The largest stratum makes up for
    the rounding.

    Raises:
        UsageError: `exact` is True, and the components cannot be divided exactly.
    """
    shares = np.array(ratio)
    order = np.lexsort((components.positions, -components.sizes, components.strata))
    strata = np.split(order, np.flatnonzero(np.diff(components.strata[order])) + 1)
    strata.sort(key=lambda members: int(components.sizes[members].sum()))
    totals = largest_remainder(shares * int(components.sizes.sum()))
    remaining, is_free = totals.copy(), components.subsets < 0
    carry = np.zeros(len(ratio))
    for members in strata[:-1]:
        ideal = shares * int(components.sizes[members].sum()) + carry
        targets = largest_remainder(ideal)
        carry = ideal - targets
        remaining -= targets
        _fill(components, members, targets)
    _fill(components, strata[-1], remaining)
    if exact:
        _move_surplus(components, totals, np.flatnonzero(is_free & (components.sizes == 1)))


def largest_remainder(ideal: Integers) -> Integers:
    """Return integers near some numbers, with the same sum (the largest remainder method)."""
    floors = np.maximum(np.floor(ideal + 1e-9), 0).astype(np.int64)
    missing = round(float(ideal.sum())) - int(floors.sum())
    remainders = ideal - floors
    while missing:
        index = int(np.argmax(remainders)) if missing > 0 else int(np.argmin(remainders))
        step = 1 if missing > 0 else -1
        floors[index] += step
        remainders[index] -= step
        missing -= step
    return floors


def _fill(components: Components, members: Integers, targets: Integers) -> None:
    """Give the components of a stratum, ordered by size and position, their subsets."""
    fixed = members[components.subsets[members] >= 0]
    rooms = targets - np.bincount(
        components.subsets[fixed], components.sizes[fixed], len(targets)
    ).astype(int)
    free = members[components.subsets[members] < 0]
    ends = np.cumsum(targets) / max(int(targets.sum()), 1)
    is_large = components.sizes[free] > 1
    for component in free[is_large].tolist():
        size = int(components.sizes[component])
        subset = int(
            np.searchsorted(ends[:-1], components.positions[component] / HASHES, side="right")
        )
        if rooms[subset] < size:
            subset = int(np.argmax(rooms))
        components.subsets[component] = subset
        rooms[subset] -= size
    singles = free[~is_large]
    rooms = _cut(np.maximum(rooms, 0), len(singles))
    components.subsets[singles] = np.repeat(np.arange(len(rooms)), rooms)


def _cut(rooms: Integers, total: int) -> Integers:
    """Return rooms with that sum: less or more in the last ones, if they have another sum."""
    ends = np.minimum(np.cumsum(rooms), total)
    ends[-1] = total
    return np.diff(ends, prepend=0)


def _move_surplus(components: Components, totals: Integers, singles: Integers) -> None:
    """Move components of one row from subsets with too many rows to those with too few."""
    singles = singles[np.argsort(components.positions[singles])[::-1]]
    missing = totals - np.bincount(components.subsets, components.sizes, len(totals)).astype(
        np.int64
    )
    for source in np.flatnonzero(missing < 0):
        for target in np.flatnonzero(missing > 0):
            movable = singles[components.subsets[singles] == source]
            moved = movable[: min(-missing[source], missing[target])]
            components.subsets[moved] = target
            missing[source] += len(moved)
            missing[target] -= len(moved)
    if missing.any():
        sizes = [" / ".join(f"{count:,}" for count in part) for part in (totals, totals - missing)]
        raise UsageError(
            f"the groups cannot be divided into {sizes[0]} rows, only into {sizes[1]}, for "
            "example; leave out `exact_size`"
        )
