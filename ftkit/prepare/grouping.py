"""Grouping of rows that belong together, wherever in the files they are."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Any

from ftkit.dataset.canonical import canonical_form
from ftkit.prepare.rows import Row
from ftkit.prepare.spool import Spool

NONE = -1
"""Index that stands for no row."""


def group_rows(rows: Iterable[Row], key: Callable[[Row], Any]) -> Iterator[list[Row]]:
    """Yield the rows that have the same key together, in the order of their first rows.

    The rows wait in a temporary file. Memory holds a hash for each group, 16 bytes for each row,
    and the rows of one group.

    Args:
        rows: The rows, which are read to the end before the first group is yielded.
        key: Returns the key of a row, a JSON value.
    """
    last: dict[bytes, int] = {}  # in the order of first rows
    previous = array("q")
    with Spool() as spool:
        for index, row in enumerate(rows):
            hash = blake2b(canonical_form(key(row)), digest_size=16).digest()
            previous.append(last.get(hash, NONE))
            last[hash] = index
            spool.append(row)
        for index in last.values():
            yield [spool[number] for number in _group(index, previous)]


def _group(index: int, previous: array[int]) -> list[int]:
    """Return the indices of the rows of the group whose last row has an index."""
    indices = []
    while index != NONE:
        indices.append(index)
        index = previous[index]
    return indices[::-1]
