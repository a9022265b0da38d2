"""The type of a row format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from ftkit.prepare.audit import Audit
from ftkit.prepare.example import Example, Extra, ExtraKind
from ftkit.prepare.rows import Row
from ftkit.rules.sources import Source

Kind = Literal["conversation", "preference", "prompt", "text"]
"""Kind of the examples of a format: a conversation or text to train on, a prompt with two outputs,
or a prompt that the model answers during training."""

Group = Literal["OpenAI", "Other providers", "Open data sets", "Logs", "Chats"]
"""Where rows of a format come from."""

BOOKKEEPING = frozenset(["created", "created_at", "id", "timestamp", "updated_at", "uuid"])
"""Bookkeeping keys of a row, unless its format has others."""

EVERY_KEY = frozenset(["*"])
"""Bookkeeping keys of the entries of logs: every key that is not read."""

EMPTY_CELL = "empty cell"
"""Reason to reject a row of a table without a question or without an answer."""

Assemble = Callable[[Iterable[Row], Audit, Kind], Iterator[Row]]
"""A step that joins rows that belong together, given the kind of the target.

It yields a `JoinedRow` for rows that belong together. Rows of another format are yielded as they
are, for `read` to reject. Every row that does not begin an output row is merged or dropped.
"""


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


def _recognizes_none(value: dict[str, Any]) -> bool:
    return False


class RowFormat(Struct, frozen=True, kw_only=True):
    """A format of rows: JSON objects of one shape.

    Conversion goes from `read` to `write`. Neither guesses: a row that `read` does not understand
    raises `RowError`; what the example cannot hold becomes an `Extra`; and `write` returns the
    extras that are not in the row it made, together with those it had to leave out itself. It
    raises `RowError` if the rest would be another example.
    """

    name: str
    title: str
    """Name for people, such as "ShareGPT"."""
    layout: str
    """A row on one line, as JSON: for the documentation and as a test."""
    source: Source
    """Where the format is described."""
    group: Group = "Open data sets"
    bookkeeping: frozenset[str] = BOOKKEEPING
    """Keys of a row that say nothing about the example, such as ids and settings. They are left
    out with a note; any other key that is not read is a loss."""
    holds: Kind = "conversation"
    shapes: tuple[str, ...] = ()
    """Formats and shapes, as `ftkit.dataset.detect.classify` names them, that may be this one."""
    recognizes: Callable[[dict[str, Any]], bool] = _recognizes_none
    """Return True for a further row that may be in this format, to detect it."""
    assemble: Assemble | None = None
    """Join rows that belong together, before they are read, or None if each stands alone."""
    read: Callable[[dict[str, Any]], Example] | None = None
    """Convert a row to an example, or None if the format can only be written. Raises `RowError`."""
    read_joined: Callable[[list[Any]], Example] | None = None
    """Convert the values of the rows that `assemble` joined to an example. Its pointers are those
    of `split_pointer`. Raises `RowError`."""
    write: Callable[[Example], tuple[dict[str, Any], list[Extra]]] | None = None
    """Convert an example to a row and what it lacks, or None if the format can only be read.
    Raises `RowError`."""
    check: Callable[[dict[str, Any]], list[Extra]] | None = None
    """Check a written row that is not the same in its source. Return notes, whose pointers are into
    that row. Raises `RowError`."""
    variant: Callable[[dict[str, Any]], str] | None = None
    """Return the name of the variant of a row, if all rows of a file must be in the same one."""
    losses: tuple[str, ...] = ()
    """What the format has no place for, for the documentation."""
    notes: tuple[str, ...] = ()
    """Choices of its reader and writer, for the documentation."""

    def example(self, value: Any) -> Example:
        """Convert a row to an example, with notes for its bookkeeping keys. Raises `RowError`."""
        if self.read is None:
            raise RowError("the format is not known")
        example = self.read(value)
        example.extras = [self._noted(extra) for extra in example.extras]
        return example

    def joined_example(self, values: list[Any]) -> Example:
        """Convert the values of rows that were joined to an example. Raises `RowError`."""
        if self.read_joined is None:
            raise TypeError(f"{self.name} joins no rows")
        return self.read_joined(values)

    def _noted(self, extra: Extra) -> Extra:
        """Return the extra for a key, which is no loss if the key is one of the bookkeeping."""
        key = extra.pointer[1:]
        is_known = key in self.bookkeeping or (self.bookkeeping == EVERY_KEY and "/" not in key)
        if extra.kind not in (ExtraKind.UNKNOWN_KEY, ExtraKind.UNUSED) or not is_known:
            return extra
        return replace(extra, kind=ExtraKind.LOG_KEY, is_loss=False)

    @property
    def is_detected(self) -> bool:
        """True if rows of the format can be recognized."""
        return bool(self.shapes) or self.recognizes is not _recognizes_none
