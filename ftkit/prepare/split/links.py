"""Links between rows that must be in the same subset: equal groups, and similar prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from msgspec import Struct

from ftkit.prepare.similarity.minhash import Integers
from ftkit.prepare.similarity.near import NearIndex
from ftkit.prepare.split.hashed_rows import HashedRows

FREE = -1
"""In place of a subset: it is not decided yet."""

EXCLUDED = -2
"""In place of a subset: the row is left out."""


class Bridge(Struct, frozen=True):
    """A new row that is linked with rows of different subsets."""

    row: int
    others: tuple[int, ...]
    """A row of each of these subsets."""


class Pair(Struct, frozen=True):
    """Two rows in different subsets that have the same group or similar prompts."""

    row: int
    other: int
    similarity: float
    """Jaccard similarity of the prompts, or 1 if the groups are equal."""


class Links:
    """Rows and the components that they form: the connected components of their links.

    Attributes:
        component: Number of the component of each row.
        subsets: Subset of each row that is decided, else `FREE`.
        component_subsets: The same for each component.
    """

    def __init__(self, groups: Integers, row_subsets: Integers, group_subsets: Integers) -> None:
        """Create the links between the rows of a group.

        Args:
            groups: Hash of the group of each row.
            row_subsets: Subset of each row that is locked, else `FREE`.
            group_subsets: Subset of the group of each row, if it is locked, else `FREE`.
        """
        _, self._first, self._group = np.unique(groups, return_index=True, return_inverse=True)
        self._group = self._group.reshape(-1)  # numpy 2.0 alone has another shape
        self.subsets = row_subsets.astype(np.int8)
        self._parents = np.arange(len(self._first))
        self._root_subsets: list[int] = group_subsets[self._first].tolist()
        self._anchors: list[int] = self._first.tolist()  # a row of the subset of each root

    def root(self, row: int) -> int:
        """Return the number of the component that a row belongs to so far."""
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
        """Join the components of some rows, unless they have different subsets.

        Returns:
            A row of each subset if there are several, else ().
        """
        roots = list(dict.fromkeys(map(self.root, rows)))
        decided = {self._root_subsets[root]: root for root in reversed(roots)}
        decided.pop(FREE, None)
        if len(decided) > 1:
            return tuple(self._anchors[root] for root in decided.values())
        target = next(iter(decided.values()), min(roots))
        for root in roots:
            self._parents[root] = target
        return ()

    def decide(self, row: int, subset: int) -> None:
        """Set the subset of a row, and that of its component if it has none."""
        self.subsets[row] = subset
        root = self.root(row)
        if subset >= 0 and self._root_subsets[root] == FREE:
            self._root_subsets[root], self._anchors[root] = subset, row

    def subset_of(self, row: int) -> int:
        """Return the subset that is decided for a row or its component, else `FREE`."""
        subset = int(self.subsets[row])
        return subset if subset >= 0 else self._root_subsets[self.root(row)]

    def components(self) -> tuple[Integers, Integers]:
        """Return the component of each row, and the subset of each component or `FREE`."""
        roots = self._roots(np.arange(len(self._parents)))
        numbers, inverse = np.unique(roots, return_inverse=True)
        subsets = np.array(self._root_subsets, np.int8)[numbers]
        return inverse.reshape(-1)[self._group], subsets


def first_with_text(table: HashedRows, order: Integers) -> Integers:
    """Return, for each row, the first row of an order that has the same text."""
    texts = table.column("text")[order]
    _, first, inverse = np.unique(texts, return_index=True, return_inverse=True)
    result = np.empty(len(order), np.int64)
    result[order] = order[first[inverse.reshape(-1)]]
    return result


def link_similar(
    index: NearIndex, table: HashedRows, links: Links, decide: Callable[[Bridge], int]
) -> None:
    """Join the components of rows with similar prompts.

    Rows that are locked come first, then the others in the order of their hashes, so that the order
    of the rows makes no difference.

    Args:
        index: An empty index of the prompts, which is filled.
        table: The rows.
        links: The links so far.
        decide: Returns the subset of a row that would link two subsets, or `EXCLUDED`.
    """
    order = np.lexsort((table.column("row"), links.subsets == FREE))
    twins = first_with_text(table, order)
    excluded: set[int] = set()
    for row in order.tolist():
        twin = int(twins[row])
        is_first = twin == row or twin in excluded
        others = _similar_components(index, links, row) if is_first else [twin]
        subsets = links.join([row, *others])
        if subsets and links.subsets[row] == FREE:
            subset = decide(Bridge(row, subsets))
            links.decide(row, subset)
            if subset == EXCLUDED:
                excluded.add(row)
                continue
        if is_first:
            index.insert(row, label=links.subset_of(row))


def _similar_components(index: NearIndex, links: Links, row: int) -> list[int]:
    """Return a similar row of each component that has some."""
    roots, others = [links.root(row)], list[int]()
    for other, _ in index.similar(row, lambda rows: ~np.isin(links.roots(rows), roots)):
        roots.append(links.root(other))
        others.append(other)
    return others


def shared_groups(groups: Integers, subsets: Integers) -> Iterator[Pair]:
    """Yield a pair of each group for each of its subsets but the first.

    Args:
        groups: Hash of the group of each row.
        subsets: Subset of each row, or `EXCLUDED`.
    """
    rows = np.flatnonzero(subsets >= 0)
    order = rows[np.lexsort((rows, subsets[rows], groups[rows]))]
    same = groups[order][1:] == groups[order][:-1]
    differs = subsets[order][1:] != subsets[order][:-1]
    for place in np.flatnonzero(same & differs).tolist():
        yield Pair(int(order[place + 1]), int(order[place]), 1.0)


def similar_across(index: NearIndex, table: HashedRows, subsets: Integers) -> Iterator[Pair]:
    """Yield rows with prompts similar to that of a row in another subset, once for each text.

    Args:
        index: An empty index of the prompts, which is filled.
        table: The rows.
        subsets: Subset of each row, or `EXCLUDED`.
    """
    rows = np.flatnonzero(subsets >= 0)
    order = rows[
        np.argsort(-subsets[rows], kind="stable")
    ]  # the training rows, of which most are, last
    groups, texts = table.column("group"), table.column("text")
    _, first = np.unique(
        np.stack((texts[order], subsets[order].astype(np.uint64))), axis=1, return_index=True
    )
    for row in order[np.sort(first)].tolist():
        others = index.similar(row, _are_not(subsets, int(subsets[row])))
        match = next((other for other in others if groups[other[0]] != groups[row]), None)
        if match is not None:
            yield Pair(row, *match)
        if subsets[row] > 0:
            index.insert(row, label=int(subsets[row]))


def _are_not(subsets: Integers, subset: int) -> Callable[[Integers], Integers]:
    return lambda rows: subsets[rows] != subset
