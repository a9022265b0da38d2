"""Tables: their header, and rows as objects with the names of the columns as keys."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ftkit._text import excerpt
from ftkit.errors import FileError
from ftkit.prepare.file_formats.base import MAX_ROW_CHARS


class Header:
    """Column names of a table.

    Attributes:
        names: The names, without surrounding white space.
    """

    def __init__(self, place: str, cells: Sequence[str]) -> None:
        """Check the names.

        Args:
            place: Name of the file, for error messages.
            cells: The first row.

        Raises:
            FileError: A name is empty or occurs twice.
        """
        self.names = [cell.strip() for cell in cells]
        seen: dict[str, int] = {}
        for number, name in enumerate(self.names, 1):
            if not name:
                raise FileError(f"{place}: column {number} has no name; name it in the first row")
            if name in seen:
                raise FileError(
                    f"{place}: columns {seen[name]} and {number} are both named "
                    f"{excerpt(name, 40)}; rename one in the first row"
                )
            seen[name] = number

    def check(self, cells: Sequence[str]) -> str | None:
        """Return the reason why cells are not a row of the table, or None."""
        if len(cells) != len(self.names):
            return "too few cells" if len(cells) < len(self.names) else "too many cells"
        if sum(map(len, cells)) > MAX_ROW_CHARS:
            return f"more than {MAX_ROW_CHARS:,} characters"
        return None

    def row(self, cells: Sequence[str]) -> dict[str, str]:
        """Return a row as an object."""
        return dict(zip(self.names, cells, strict=True))

    def encode(self, cells: Sequence[str]) -> bytes:
        """Return cells that are not a row of the table as a JSON object, for the rejected rows.

        Cells without a column have the number of theirs for their key. Nothing is returned of
        cells with too many characters.
        """
        if sum(map(len, cells)) > MAX_ROW_CHARS:
            return b"{}"
        others = range(len(self.names) + 1, len(cells) + 1)
        names = [*self.names, *(f"column {number}" for number in others)]
        return msgspec.json.encode(dict(zip(names, cells, strict=False)))
