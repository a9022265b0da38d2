"""Decision about the subset of each row of a split."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from msgspec import Struct

from ftkit.errors import UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.similarity.minhash import Integers, scramble
from ftkit.prepare.similarity.near import NearIndex, check_threshold
from ftkit.prepare.split.hashed_rows import HashedRows
from ftkit.prepare.split.links import EXCLUDED, Bridge, Links, link_similar
from ftkit.prepare.split.lock import Lock
from ftkit.prepare.split.subsets import Components, assign_by_hash, assign_by_rank

SUBSETS = ("train", "validation", "test")
"""Names of the subsets, in the order of the ratio."""

TRAIN = 0
"""Number of the subset of the training data."""

POLICIES = ("exclude", "train", "error")
"""What to do with a new row that is linked with rows of several subsets."""

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
        are_shares = len(self.ratio) in (2, 3) and all(0 < share < 1 for share in self.ratio)
        if not are_shares or abs(sum(self.ratio) - 1) > TOLERANCE:
            ratio = ",".join(f"{share:g}" for share in self.ratio)
            raise UsageError(
                "`ratio` must be two or three numbers above 0 that add up to 1, such as "
                f"0.8,0.1,0.1, not {ratio}"
            )
        check_threshold(self.near)
        if self.on_bridge not in POLICIES:
            raise UsageError(f"`on_bridge` must be {', '.join(POLICIES)}, not {self.on_bridge!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the subsets."""
        return SUBSETS[: len(self.ratio)]


def decide_subsets(
    table: HashedRows, index: NearIndex | None, options: SplitOptions, lock: Lock, audit: Audit
) -> Integers:
    """Return the number of the subset of each row, or `EXCLUDED`.

    Args:
        table: The rows.
        index: An empty index of the prompts, which is filled, if they are compared.
        options: Options of the split.
        lock: Subsets of earlier splits.
        audit: Records the rows that are excluded.

    Raises:
        UsageError: A new row links two subsets and `on_bridge` is `error`, the groups cannot be
            divided exactly, or there are too many strata.
    """
    groups = table.column("group")
    links = Links(groups, lock.subsets("row", table.column("row")), lock.subsets("group", groups))
    if index is not None:

        def decide(bridge: Bridge) -> int:
            return _decide_bridge(bridge, table, links, options, audit)

        link_similar(index, table, links, decide)
    return _subsets(table, links, options)


def _decide_bridge(
    bridge: Bridge, table: HashedRows, links: Links, options: SplitOptions, audit: Audit
) -> int:
    origin = table.spool[bridge.row].origin
    places = " and ".join(
        f"{table.spool[row].origin} ({options.names[links.subset_of(row)]})"
        for row in bridge.others
    )
    if options.on_bridge == "error":
        raise UsageError(
            f"{origin} links two subsets: it is similar to, or in the group of, {places}; set "
            "`on_bridge` to exclude or train"
        )
    if options.on_bridge == "train":
        return TRAIN
    audit.drop("split", "links two subsets", origin, places)
    return EXCLUDED


def _subsets(table: HashedRows, links: Links, options: SplitOptions) -> Integers:
    component, component_subsets = links.components()
    is_apart = (links.subsets >= 0) & (component_subsets[component] != links.subsets)
    component[is_apart] = len(component_subsets) + np.arange(is_apart.sum())
    component_subsets = np.concatenate((component_subsets, links.subsets[is_apart]))
    is_present = links.subsets != EXCLUDED
    positions = np.full(len(component_subsets), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(positions, component, table.column("group"))
    salt = int.from_bytes(blake2b(_encode(options.salt), digest_size=8).digest(), "big")
    components = Components(
        sizes=np.bincount(component[is_present], minlength=len(component_subsets)),
        positions=scramble(positions ^ np.uint64(salt)),
        strata=_strata(
            table.column("stratum"), component, len(component_subsets), options.stratify
        ),
        subsets=component_subsets,
    )
    if options.stratify or options.exact_size:
        assign_by_rank(components, options.ratio, options.exact_size)
    else:
        assign_by_hash(components, options.ratio)
    subsets = components.subsets[component]
    subsets[~is_present] = EXCLUDED
    return subsets


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _strata(strata: Integers, component: Integers, components: int, path: str) -> Integers:
    """Return the number of the most frequent stratum of each component."""
    values, numbers = np.unique(strata, return_inverse=True)
    count = len(values)
    if count > MAX_STRATA:
        raise UsageError(
            f"`stratify`: {path!r} has {count:,} values, more than {MAX_STRATA:,}; name a path "
            "with few values, such as a label"
        )
    pairs, sizes = np.unique(component * max(count, 1) + numbers.reshape(-1), return_counts=True)
    order = np.lexsort((pairs, -sizes, pairs // max(count, 1)))
    owners = pairs[order] // max(count, 1)
    first = np.flatnonzero(np.diff(owners, prepend=-1))
    result = np.zeros(components, np.int64)
    result[owners[first]] = pairs[order][first] % max(count, 1)
    return result
