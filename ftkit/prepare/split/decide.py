"""Decision about the side of each row of a split."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from msgspec import Struct

from ftkit.errors import UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.similarity.minhash import Integers, scramble
from ftkit.prepare.similarity.near import NearIndex, check_threshold
from ftkit.prepare.split.keys import Keys
from ftkit.prepare.split.links import EXCLUDED, Bridge, Links, link_similar
from ftkit.prepare.split.lock import Lock
from ftkit.prepare.split.sides import Units, assign_by_hash, assign_by_rank

SIDES = ("train", "validation", "test")
"""Names of the sides, in the order of the ratio."""

TRAIN = 0
"""Number of the side of the training data."""

POLICIES = ("exclude", "train", "error")
"""What to do with a new row that is linked with rows of several sides."""

MAX_STRATA = 1000
"""Maximum number of values that a split is stratified by."""

TOLERANCE = 1e-6
"""Difference from 1 that the sum of the ratio may have."""


class SplitOptions(Struct, frozen=True, kw_only=True):
    """Options of a split. See `ftkit.prepare.split.split.split`."""

    ratio: tuple[float, ...]
    group: str = ""
    near: float | None = None
    stratify: str = ""
    exact_size: bool = False
    salt: str = ""
    on_bridge: str = "error"

    def __post_init__(self) -> None:
        if len(self.ratio) not in (2, 3) or not all(0 < share < 1 for share in self.ratio):
            raise UsageError("`ratio` must be two or three numbers between 0 and 1")
        if abs(sum(self.ratio) - 1) > TOLERANCE:
            raise UsageError(f"the numbers of `ratio` must add up to 1, not {sum(self.ratio):g}")
        check_threshold(self.near)
        if self.on_bridge not in POLICIES:
            raise UsageError(f"`on_bridge` must be {', '.join(POLICIES)}, not {self.on_bridge!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sides."""
        return SIDES[: len(self.ratio)]


def decide_sides(
    keys: Keys, index: NearIndex | None, options: SplitOptions, lock: Lock, audit: Audit
) -> Integers:
    """Return the number of the side of each row, or `EXCLUDED`.

    Args:
        keys: The rows.
        index: An empty index of the prompts, which is filled, if they are compared.
        options: Options of the split.
        lock: Sides of earlier splits.
        audit: Records the rows that are excluded.

    Raises:
        UsageError: A new row links two sides and `on_bridge` is `error`, the groups cannot be
            divided exactly, or there are too many strata.
    """
    groups = keys.column("group")
    links = Links(groups, lock.sides("row", keys.column("row")), lock.sides("group", groups))
    if index is not None:

        def decide(bridge: Bridge) -> int:
            return _decide_bridge(bridge, keys, links, options, audit)

        link_similar(index, keys, links, decide)
    return _sides(keys, links, options)


def _decide_bridge(
    bridge: Bridge, keys: Keys, links: Links, options: SplitOptions, audit: Audit
) -> int:
    origin = keys.spool[bridge.row].origin
    places = " and ".join(
        f"{keys.spool[row].origin} ({options.names[links.side_of(row)]})" for row in bridge.others
    )
    if options.on_bridge == "error":
        raise UsageError(
            f"{origin} links two sides: it is similar to, or in the group of, {places}; set "
            "`on_bridge` to exclude or train"
        )
    if options.on_bridge == "train":
        return TRAIN
    audit.drop("split", "links two sides", origin, places)
    return EXCLUDED


def _sides(keys: Keys, links: Links, options: SplitOptions) -> Integers:
    unit, unit_sides = links.units()
    is_apart = (links.sides >= 0) & (unit_sides[unit] != links.sides)
    unit[is_apart] = len(unit_sides) + np.arange(is_apart.sum())
    unit_sides = np.concatenate((unit_sides, links.sides[is_apart]))
    is_present = links.sides != EXCLUDED
    positions = np.full(len(unit_sides), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(positions, unit, keys.column("group"))
    salt = int.from_bytes(blake2b(_encode(options.salt), digest_size=8).digest(), "big")
    units = Units(
        sizes=np.bincount(unit[is_present], minlength=len(unit_sides)),
        positions=scramble(positions ^ np.uint64(salt)),
        strata=_strata(keys.column("stratum"), unit, len(unit_sides), options.stratify),
        sides=unit_sides,
    )
    if options.stratify or options.exact_size:
        assign_by_rank(units, options.ratio, options.exact_size)
    else:
        assign_by_hash(units, options.ratio)
    sides = units.sides[unit]
    sides[~is_present] = EXCLUDED
    return sides


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _strata(strata: Integers, unit: Integers, units: int, path: str) -> Integers:
    """Return the number of the most frequent stratum of each unit."""
    values, numbers = np.unique(strata, return_inverse=True)
    count = len(values)
    if count > MAX_STRATA:
        raise UsageError(
            f"`stratify`: {path!r} has {count:,} values, more than {MAX_STRATA:,}; name a path "
            "with few values, such as a label"
        )
    pairs, sizes = np.unique(unit * max(count, 1) + numbers.reshape(-1), return_counts=True)
    order = np.lexsort((pairs, -sizes, pairs // max(count, 1)))
    owners = pairs[order] // max(count, 1)
    first = np.flatnonzero(np.diff(owners, prepend=-1))
    result = np.zeros(units, np.int64)
    result[owners[first]] = pairs[order][first] % max(count, 1)
    return result
