"""Rows of a dataset on their way through the steps of a preparation, each with its origin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.dataset.exact_numbers import encode, exact_numbers
from ftkit.dataset.lenient_json import (
    MAX_DEPTH,
    MAX_LINE_BYTES,
    Reading,
    exceeded_limit,
    is_too_large,
    nests_deeper,
    read,
)
from ftkit.dataset.reader import READ_ERRORS, Source, blocks
from ftkit.errors import FileError
from ftkit.prepare.audit import Audit, Origin
from ftkit.prepare.example import Example

NOT_JSON = "not JSON"
"""Reason to reject a line."""

CUT = "cut in the file of rejected rows, too"
"""Detail of a line that is too large to be held."""

_decode = msgspec.json.Decoder().decode


class Row(Struct):
    """A row: its JSON value, where it comes from, and the steps that changed it.

    `JoinedRow` and `ExampleRow` exist between reading and conversion only.
    """

    value: Any
    origins: tuple[Origin, ...]
    """The rows of the sources it was made of, the first of which stands for it in reports."""
    steps: tuple[str, ...] = ()
    """Names of the steps that changed it, in order."""
    line: bytes | None = None
    """The line of the source, without its line feed, while no step has changed the row."""
    source: bytes | None = None
    """The row as it is in its source, if that is not `line`, but a row of CSV or a former line."""

    @property
    def origin(self) -> Origin:
        """The first of the origins."""
        return self.origins[0]

    @property
    def as_read(self) -> bytes | None:
        """The row as it is in its source, or None if that is not text."""
        return self.line if self.source is None else self.source

    def replaced(self, value: Any, step: str) -> Row:
        """Return the row with another value, which a step gave it."""
        return Row(value, self.origins, (*self.steps, step), source=self.as_read)

    def exact_value(self) -> Any:
        """Return the value, with an `ExactNumber` for each number that a double does not hold."""
        return self.value if self.line is None else exact_numbers(self.line, self.value)

    def encode(self) -> bytes:
        """Return the line to write, without a line feed: that of the source, if unchanged."""
        return encode(self.value) if self.line is None else self.line

    def encode_source(self) -> bytes:
        """Return the row as it is in its source, or as JSON if that is not text."""
        return self.encode() if self.as_read is None else self.as_read


class JoinedRow(Row, kw_only=True):
    """A row that is made of several: its value is the array of theirs."""

    lines: tuple[bytes, ...]
    """The rows as they are in their sources."""

    def encode(self) -> bytes:
        """Return the rows as they are in their sources, a line each."""
        return b"\n".join(self.lines)


class ExampleRow(Row, kw_only=True):
    """A conversation of a chat, which has been read already: its value is null."""

    example: Example

    def encode(self) -> bytes:
        """Return the example as JSON."""
        return encode(self.example)


def join_rows(rows: Sequence[Row], steps: tuple[str, ...]) -> JoinedRow:
    """Return the row that is made of some rows, each of which has one origin.

    Args:
        rows: The rows, of which there is at least one.
        steps: Names of the steps that changed them.
    """
    return JoinedRow(
        [row.exact_value() for row in rows],
        tuple(row.origin for row in rows),
        steps,
        lines=tuple(row.encode_source() for row in rows),
    )


def read_json_lines(source: Source, audit: Audit) -> Iterator[Row]:
    """Yield the rows of a JSON Lines file. Blank lines are dropped, and what is not JSON rejected.

    Raises:
        FileError: The file cannot be read.
    """
    number = 0
    try:
        for part in source.parts():
            for block in blocks(part):
                for line in block.lines:
                    number += 1
                    row = decode_row(line, audit.origin(source.path, number), audit)
                    if row is not None:
                        yield row
                audit.advance(audit.names.get(source.path, source.path), block.size)
    except READ_ERRORS as error:
        raise FileError(f"cannot read {source.path}: {error}; is the file complete?") from error


def decode_row(line: bytes, origin: Origin, audit: Audit) -> Row | None:
    """Return the row of a line, or None if it is blank or not JSON, which the audit records."""
    audit.read += 1
    try:
        if is_too_large(line) or nests_deeper(line, MAX_DEPTH):
            raise RecursionError
        return Row(_decode(line), (origin,), line=line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    if not line.strip():
        audit.drop("read", "blank line", origin)
        return None
    reading = read(line, origin.line)
    error = reading.error
    detail = f"{error.msg} at column {error.pos + reading.shift + 1}" if error else ""
    if len(line) > MAX_LINE_BYTES:
        detail = CUT
    audit.reject("read", limit_fault(reading) or NOT_JSON, origin, line, detail=detail)
    return None


def limit_fault(reading: Reading) -> str:
    """Return the reason why a line is not read that exceeds a limit, or ""."""
    if reading.is_too_large:
        return f"too large: more than {exceeded_limit(reading.raw)}"
    return f"nested more than {MAX_DEPTH} deep" if reading.too_deep else ""
