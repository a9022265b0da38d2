"""Sides of the units of a split, by their hashes.

A unit is a set of rows that stay together. Its hash places it on a line from 0 to 2 ** 64, which
the ratios divide.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from ftkit.errors import UsageError
from ftkit.prepare.hashing import HASHES
from ftkit.prepare.similarity.minhash import Integers


class Units(Struct):
    """Units, each with an element in all arrays."""

    sizes: Integers
    """Number of rows."""
    positions: Integers
    """Hash, as an unsigned integer of 64 bits."""
    strata: Integers
    """Number of the stratum, from 0."""
    sides: Integers
    """Number of the side, or -1 if it is not decided yet."""


def assign_by_hash(units: Units, ratio: Sequence[float]) -> None:
    """Give each unit without a side the one that its position lies in."""
    bounds = np.array(
        [min(int(sum(ratio[:end]) * HASHES), HASHES - 1) for end in range(1, len(ratio))]
    )
    free = units.sides < 0
    chosen = np.searchsorted(bounds.astype(np.uint64), units.positions[free], side="right")
    units.sides[free] = chosen


def assign_by_rank(units: Units, ratio: Sequence[float], exact: bool) -> None:
    """Give each unit without a side one, so that the numbers of rows follow the ratio.

    In each stratum, large units come first, since small ones fill what they leave; units of one row
    go to the sides in the order of their positions. The largest stratum makes up for the rounding.

    Raises:
        UsageError: `exact` is True, and the sizes of the units do not add up to those of the sides.
    """
    shares = np.array(ratio)
    order = np.lexsort((units.positions, -units.sizes, units.strata))
    strata = np.split(order, np.flatnonzero(np.diff(units.strata[order])) + 1)
    strata.sort(key=lambda members: int(units.sizes[members].sum()))
    totals = largest_remainder(shares * int(units.sizes.sum()))
    remaining, is_free = totals.copy(), units.sides < 0
    carry = np.zeros(len(ratio))
    for members in strata[:-1]:
        ideal = shares * int(units.sizes[members].sum()) + carry
        targets = largest_remainder(ideal)
        carry = ideal - targets
        remaining -= targets
        _fill(units, members, targets)
    _fill(units, strata[-1], remaining)
    if exact:
        _move_surplus(units, totals, np.flatnonzero(is_free & (units.sizes == 1)))


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


def _fill(units: Units, members: Integers, targets: Integers) -> None:
    """Give the units of a stratum, ordered by size and position, their sides."""
    fixed = members[units.sides[members] >= 0]
    rooms = targets - np.bincount(units.sides[fixed], units.sizes[fixed], len(targets)).astype(int)
    free = members[units.sides[members] < 0]
    ends = np.cumsum(targets) / max(int(targets.sum()), 1)
    is_large = units.sizes[free] > 1
    for unit in free[is_large].tolist():
        size = int(units.sizes[unit])
        side = int(np.searchsorted(ends[:-1], units.positions[unit] / HASHES, side="right"))
        if rooms[side] < size:
            side = int(np.argmax(rooms))
        units.sides[unit] = side
        rooms[side] -= size
    singles = free[~is_large]
    rooms = _cut(np.maximum(rooms, 0), len(singles))
    units.sides[singles] = np.repeat(np.arange(len(rooms)), rooms)


def _cut(rooms: Integers, total: int) -> Integers:
    """Return rooms with that sum: less or more in the last ones, if they have another sum."""
    ends = np.minimum(np.cumsum(rooms), total)
    ends[-1] = total
    return np.diff(ends, prepend=0)


def _move_surplus(units: Units, totals: Integers, singles: Integers) -> None:
    """Move units of one row from sides with too many rows to those with too few."""
    singles = singles[np.argsort(units.positions[singles])[::-1]]
    missing = totals - np.bincount(units.sides, units.sizes, len(totals)).astype(np.int64)
    for source in np.flatnonzero(missing < 0):
        for target in np.flatnonzero(missing > 0):
            movable = singles[units.sides[singles] == source]
            moved = movable[: min(-missing[source], missing[target])]
            units.sides[moved] = target
            missing[source] += len(moved)
            missing[target] -= len(moved)
    if missing.any():
        sizes = [" / ".join(f"{count:,}" for count in part) for part in (totals, totals - missing)]
        raise UsageError(
            f"the groups cannot be divided into {sizes[0]} rows, only into {sizes[1]}, for "
            "example; leave out `exact_size`"
        )
