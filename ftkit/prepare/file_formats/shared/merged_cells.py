"""Merged cells of a sheet, of which only the first has a value."""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

from ftkit.prepare.file_formats.shared.xlsx_parts import Archive, column_number

MAX_MERGES = 200_000
"""Maximum number of merged cells of a sheet, which are held in memory."""

_RANGE = re.compile(r"\$?([A-Z]{1,3})\$?([0-9]{1,7}):\$?([A-Z]{1,3})\$?([0-9]{1,7})")


class Merge(NamedTuple):
    """A merged cell: its rows, counted from 1, and its columns, from 0."""

    first_row: int
    last_row: int
    first_column: int
    last_column: int


class Merges:
    """Merged cells of a sheet, for reading its rows in order."""

    def __init__(self, archive: Archive, part: str) -> None:
        """Read them. They are behind the rows, so that the part is searched first."""
        self._waiting: deque[Merge] = deque()
        self._open: dict[int, Merge] = {}
        self._texts: dict[int, str] = {}
        self._archive = archive
        self._row = 0
        if archive.contains(part, b"mergeCell"):
            merges: list[Merge] = []
            for _ in archive.parse(part, _Ranges(archive, merges)):
                pass
            self._waiting.extend(sorted(merges))

    @property
    def are_open(self) -> bool:
        """True if a merged cell covers more than one cell of the last row, or those below."""
        merges = self._open.values()
        return any(merge[0] != merge[1] or merge[2] != merge[3] for merge in merges)

    def texts(self, number: int, texts: list[str]) -> dict[int, str] | None:
        """Return the texts that merged cells give a row, by column.

        Args:
            number: Number of the row, greater than that of the last call.
            texts: Texts of its cells.

        Returns:
            The texts, or None if a merged cell with a text covers several columns of the row.

        Raises:
            FileError: The rows are not in order.
        """
        if (self._waiting or self._open) and number <= self._row:
            raise self._archive.error(f"row {number} is behind row {self._row}")
        self._row = number
        self._open = {
            column: merge for column, merge in self._open.items() if merge.last_row >= number
        }
        while self._waiting and self._waiting[0].first_row <= number:
            merge = self._waiting.popleft()
            column = merge.first_column
            text = texts[column] if merge.first_row == number and column < len(texts) else ""
            if text and merge.last_row >= number:
                self._open[column], self._texts[column] = merge, text
        if any(merge.last_column > merge.first_column for merge in self._open.values()):
            return None
        return {
            column: self._texts[column]
            for column, merge in self._open.items()
            if merge.first_row < number
        }


class _Ranges:
    """Handler of the part of a sheet that collects its merged cells."""

    def __init__(self, archive: Archive, merges: list[Merge]) -> None:
        self._archive, self._merges = archive, merges

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        if name != "mergeCell":
            return
        if match := _RANGE.fullmatch(attributes.get("ref", "")):
            rows, columns = sorted((int(match[2]), int(match[4]))), (match[1], match[3])
            self._merges.append(Merge(*rows, *sorted(map(column_number, columns))))
        if len(self._merges) > MAX_MERGES:
            raise self._archive.error(f"a sheet has more than {MAX_MERGES:,} merged cells")

    def end(self, name: str) -> None:
        """Do nothing."""

    def text(self, text: str) -> None:
        """Do nothing."""
