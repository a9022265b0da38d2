"""The type of a row format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from ftkit.prepare.example import Example, Extra
from ftkit.rules.sources import Source


class RowError(ValueError):
    """A row does not have the format.

    Attributes:
        pointer: JSON pointer to the value at fault.
        reason: Short reason, the same for all such rows.
        detail: What is special about this row.
    """

    def __init__(self, reason: str, pointer: str = "", detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.pointer, self.detail = reason, pointer, detail


class RowFormat(Struct, frozen=True, kw_only=True):
    """A format of rows: JSON objects of one shape.

    Conversion goes from `read` to `write`. Neither guesses: a row that `read` does not understand
    raises `RowError`; what the example cannot hold becomes an `Extra`; and `write` returns the
    extras that are not in the row it made, together with those it had to leave out itself. The
    pointers of the latter are those of the example in OpenAI's chat or preference format. `write`
    raises `RowError` if the row would be invalid or mean something else without what is missing.
    """

    name: str
    title: str
    """Name for people, such as "ShareGPT"."""
    layout: str
    """A row on one line, as JSON: for the documentation and as a test."""
    source: Source
    """Where the format is described."""
    recognizes: Callable[[dict[str, Any]], bool] = lambda value: False
    """Return True for a row that is certainly in this format, to detect it."""
    read: Callable[[dict[str, Any]], Example] | None = None
    """Convert a row to an example, or None if the format can only be written. Raises `RowError`."""
    write: Callable[[Example], tuple[dict[str, Any], list[Extra]]] | None = None
    """Convert an example to a row and what it lacks, or None if the format can only be read.
    Raises `RowError`."""
    shape: Callable[[dict[str, Any]], str] | None = None
    """Return the name of the shape of a row, if all rows of a file must have the same one."""
    losses: tuple[str, ...] = ()
    """What the format has no place for, for the documentation."""
