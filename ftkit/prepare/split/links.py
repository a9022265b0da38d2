"""Links between rows that must be on the same side: equal groups, and similar prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from msgspec import Struct

from ftkit.prepare.similarity.minhash import Integers
from ftkit.prepare.similarity.near import NearIndex
from ftkit.prepare.split.keys import Keys

FREE = -1
"""In place of a side: it is not decided yet."""

EXCLUDED = -2
"""In place of a side: the row is left out."""


class Bridge(Struct, frozen=True):
    """A new row that is linked with rows of different sides."""

    row: int
    others: tuple[int, ...]
    """A row of each of these sides."""


class Leak(Struct, frozen=True):
    """Two rows on different sides that have the same group or similar prompts."""

    row: int
    other: int
    similarity: float
    """Jaccard similarity of the prompts, or 1 if the groups are equal."""


class Links:
    """Rows and the units that they form: the connected components of their links.

    Attributes:
        unit: Number of the unit of each row.
        sides: Side of each row that is decided, else `FREE`.
        unit_sides: The same for each unit.
    """

    def __init__(self, groups: Integers, row_sides: Integers, group_sides: Integers) -> None:
        """Create the links between the rows of a group.

        Args:
            groups: Hash of the group of each row.
            row_sides: Side of each row that is locked, else `FREE`.
            group_sides: Side of the group of each row, if it is locked, else `FREE`.
        """
        _, self._first, self._group = np.unique(groups, return_index=True, return_inverse=True)
        self._group = self._group.reshape(-1)  # numpy 2.0 alone has another shape
        self.sides = row_sides.astype(np.int8)
        self._parents = np.arange(len(self._first))
        self._root_sides: list[int] = group_sides[self._first].tolist()
        self._anchors: list[int] = self._first.tolist()  # a row of the side of each root

    def root(self, row: int) -> int:
        """Return the number of the unit that a row belongs to so far."""
        node, parents = int(self._group[row]), self._parents
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = int(parents[node])
        return node

    def roots(self, rows: Integers) -> Integers:
        """Return `root` of several rows."""
        return self._roots(self._group[rows])

    def _roots(self, nodes: Integers) -> Integers:
        parents = self._parents[nodes]
        while (parents != nodes).any():
            nodes, parents = parents, self._parents[parents]
        return nodes

    def join(self, rows: list[int]) -> tuple[int, ...]:
        """Join the units of some rows, unless they have different sides.

        Returns:
            A row of each side if there are several, else ().
        """
        roots = list(dict.fromkeys(map(self.root, rows)))
        decided = {self._root_sides[root]: root for root in reversed(roots)}
        decided.pop(FREE, None)
        if len(decided) > 1:
            return tuple(self._anchors[root] for root in decided.values())
        target = next(iter(decided.values()), min(roots))
        for root in roots:
            self._parents[root] = target
        return ()

    def decide(self, row: int, side: int) -> None:
        """Set the side of a row, and that of its unit if it has none."""
        self.sides[row] = side
        root = self.root(row)
        if side >= 0 and self._root_sides[root] == FREE:
            self._root_sides[root], self._anchors[root] = side, row

    def side_of(self, row: int) -> int:
        """Return the side that is decided for a row or its unit, else `FREE`."""
        return int(self.sides[row]) if self.sides[row] >= 0 else self._root_sides[self.root(row)]

    def units(self) -> tuple[Integers, Integers]:
        """Return the number of the unit of each row, and the side of each unit or `FREE`."""
        roots = self._roots(np.arange(len(self._parents)))
        numbers, inverse = np.unique(roots, return_inverse=True)
        sides = np.array(self._root_sides, np.int8)[numbers]
        return inverse.reshape(-1)[self._group], sides


def first_with_text(keys: Keys, order: Integers) -> Integers:
    """Return, for each row, the first row of an order that has the same text."""
    texts = keys.column("text")[order]
    _, first, inverse = np.unique(texts, return_index=True, return_inverse=True)
    result = np.empty(len(order), np.int64)
    result[order] = order[first[inverse.reshape(-1)]]
    return result


def link_similar(
    index: NearIndex, keys: Keys, links: Links, decide: Callable[[Bridge], int]
) -> None:
    """Join the units of rows with similar prompts.

    Rows that are locked come first, then the others in the order of their hashes, so that the order
    of the rows makes no difference.

    Args:
        index: An empty index of the prompts, which is filled.
        keys: The rows.
        links: The links so far.
        decide: Returns the side of a row that would link two sides, or `EXCLUDED`.
    """
    order = np.lexsort((keys.column("row"), links.sides == FREE))
    twins = first_with_text(keys, order)
    excluded: set[int] = set()
    for row in order.tolist():
        twin = int(twins[row])
        is_first = twin == row or twin in excluded
        others = _similar_units(index, links, row) if is_first else [twin]
        sides = links.join([row, *others])
        if sides and links.sides[row] == FREE:
            side = decide(Bridge(row, sides))
            links.decide(row, side)
            if side == EXCLUDED:
                excluded.add(row)
                continue
        if is_first:
            index.insert(row, label=links.side_of(row))


def _similar_units(index: NearIndex, links: Links, row: int) -> list[int]:
    """Return a similar row of each unit that has some."""
    roots, others = [links.root(row)], list[int]()
    for other, _ in index.similar(row, lambda rows: ~np.isin(links.roots(rows), roots)):
        roots.append(links.root(other))
        others.append(other)
    return others


def shared_groups(groups: Integers, sides: Integers) -> Iterator[Leak]:
    """Yield the leaks by groups that have rows on several sides: one for each side but the first.

    Args:
        groups: Hash of the group of each row.
        sides: Side of each row, or `EXCLUDED`.
    """
    rows = np.flatnonzero(sides >= 0)
    order = rows[np.lexsort((rows, sides[rows], groups[rows]))]
    same = groups[order][1:] == groups[order][:-1]
    differs = sides[order][1:] != sides[order][:-1]
    for place in np.flatnonzero(same & differs).tolist():
        yield Leak(int(order[place + 1]), int(order[place]), 1.0)


def similar_across(index: NearIndex, keys: Keys, sides: Integers) -> Iterator[Leak]:
    """Yield the rows whose prompt is similar to that of a row on another side, once for each text.

    Args:
        index: An empty index of the prompts, which is filled.
        keys: The rows.
        sides: Side of each row, or `EXCLUDED`.
    """
    rows = np.flatnonzero(sides >= 0)
    order = rows[
        np.argsort(-sides[rows], kind="stable")
    ]  # the training rows, of which most are, last
    groups, texts = keys.column("group"), keys.column("text")
    _, first = np.unique(
        np.stack((texts[order], sides[order].astype(np.uint64))), axis=1, return_index=True
    )
    for row in order[np.sort(first)].tolist():
        others = index.similar(row, _are_not(sides, int(sides[row])))
        match = next((other for other in others if groups[other[0]] != groups[row]), None)
        if match is not None:
            yield Leak(row, *match)
        if sides[row] > 0:
            index.insert(row, label=int(sides[row]))


def _are_not(sides: Integers, side: int) -> Callable[[Integers], Integers]:
    return lambda rows: sides[rows] != side
