"""Detection of the format of rows from the first of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from ftkit._text import excerpt
from ftkit.dataset.detect import classify
from ftkit.errors import UsageError
from ftkit.prepare.convert.proof import canonical_example
from ftkit.prepare.example import Example
from ftkit.prepare.row_formats import row_formats
from ftkit.prepare.row_formats.base import RowError, RowFormat
from ftkit.prepare.row_formats.shared.values import UNKNOWN
from ftkit.prepare.rows import Row

FIRST_ROWS = 100
"""Number of rows that vote on the format."""

SHOWN = 300
"""Characters of each reading in the message about an ambiguous row."""


class UnknownShapeError(UsageError):
    """Rows have no known format.

    Attributes:
        texts: Keys of the first row whose values are texts.
    """

    def __init__(self, message: str, texts: list[str]) -> None:
        super().__init__(message)
        self.texts = texts


def detect_rows(rows: Iterable[Row]) -> tuple[RowFormat | None, Iterator[Row]]:
    """Return the format of rows, or None if there is no row, and all the rows.

    Raises:
        UsageError: No format is that of the rows, or several that read them differently.
    """
    rows = iter(rows)
    first = list(islice(rows, FIRST_ROWS))
    read = [row for row in first if not isinstance(row.value, Example)]
    return detect(read) if read else None, chain(first, rows)


def detect(rows: list[Row]) -> RowFormat:
    """Return the format of some rows, of which there is at least one.

    It reads most rows, and no other format knows more of their keys.

    Raises:
        UsageError: No format is that of most rows, or several that read them differently.
    """
    similar: Counter[str] = Counter()
    votes: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for row in rows:
        for format in _candidates(row):
            similar[format.name] += 1
            example = _read(format, row)
            if format.assemble or example:
                votes[format.name] += 1
            if example:
                unknown[format.name] += sum(extra.kind == UNKNOWN for extra in example.extras)
    for counts in (votes, similar):
        most = max(counts.values(), default=0)
        if most * 2 > len(rows):
            break
    else:
        raise _unknown(rows[0])
    formats = [format for name, format in row_formats().items() if counts[name] == most]
    fewest = min(unknown[format.name] for format in formats)
    best, *others = (format for format in formats if unknown[format.name] == fewest)
    for other in others:
        _compare(rows, best, other)
    return best


def _candidates(row: Row) -> Iterator[RowFormat]:
    kind = classify(row.value)
    for format in row_formats().values():
        if format.read and (kind in format.shapes or _recognizes(format, row)):
            yield format


def _recognizes(format: RowFormat, row: Row) -> bool:
    return isinstance(row.value, dict) and format.recognizes(row.value)


def _read(format: RowFormat, row: Row) -> Example | None:
    try:
        return format.read(row.value) if format.read else None
    except RowError:
        return None


def _compare(rows: list[Row], one: RowFormat, other: RowFormat) -> None:
    """Raise `UsageError` if two formats read a row differently."""
    for row in rows:
        left, right = _read(one, row), _read(other, row)
        if left and right and canonical_example(left) != canonical_example(right):
            raise UsageError(
                f"{row.origin} can be read in two ways, as {one.name}: {_shown(left)}, or as "
                f"{other.name}: {_shown(right)}; set `from_` to one of them"
            )


def _shown(example: Example) -> str:
    return canonical_example(example)[:SHOWN].decode(errors="replace")


def _unknown(row: Row) -> UnknownShapeError:
    value = row.value
    is_object = isinstance(value, dict)
    keys = ", ".join(value)[:SHOWN] if is_object else type(value).__name__
    return UnknownShapeError(
        f"{row.origin} has no known format; its keys are {excerpt(keys)}; set `from_` to the "
        "format, or `field` to the path of each message, such as user=$.question",
        [key for key, text in value.items() if isinstance(text, str)] if is_object else [],
    )
