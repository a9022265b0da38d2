"""Detection of the format of rows from the first of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from ftkit._text import excerpt
from ftkit.dataset.detect import classify
from ftkit.errors import UsageError
from ftkit.prepare.convert.proof import canonical_example
from ftkit.prepare.example import Example, ExtraKind
from ftkit.prepare.row_formats import row_formats
from ftkit.prepare.row_formats.base import RowError, RowFormat
from ftkit.prepare.row_formats.shared.row_value import json_type
from ftkit.prepare.rows import ExampleRow, Row

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
    read = [row for row in first if not isinstance(row, ExampleRow)]
    return detect(read) if read else None, chain(first, rows)


def detect(rows: list[Row]) -> RowFormat:
    """Return the format of some rows, of which there is at least one.

    It reads most rows as the formats do that recognize them, and no other one knows more of their
    keys. If no format reads most rows, those that look like one format decide.

    Raises:
        UsageError: No format is that of most rows, or several that read them differently.
    """
    recognized = [list(_candidates(row)) for row in rows]
    similar = Counter(format.name for formats in recognized for format in formats)
    likely = _most(similar, len(rows))
    votes, unknown = _votes(rows, recognized)
    best = _most(votes, len(rows))
    if not best and likely:
        of_one = [
            (row, formats)
            for row, formats in zip(rows, recognized, strict=True)
            if not likely.isdisjoint(format.name for format in formats)
        ]
        rows, recognized = [row for row, _ in of_one], [formats for _, formats in of_one]
        votes, unknown = _votes(rows, recognized)
        best = _most(votes, 0) or likely
    if not best:
        raise _unknown(rows, recognized)
    formats = [format for name, format in row_formats().items() if name in best]
    fewest = min(unknown[format.name] for format in formats)
    first, *others = (format for format in formats if unknown[format.name] == fewest)
    for other in others:
        _compare(rows, first, other)
    return first


def _most(counts: Counter[str], rows: int) -> set[str]:
    """Return the names that are counted most often, if that is for more than half of the rows."""
    most = max(counts.values(), default=0)
    return {name for name, count in counts.items() if count == most and count * 2 > rows}


def _votes(rows: list[Row], recognized: list[list[RowFormat]]) -> tuple[Counter[str], Counter[str]]:
    """Return the number of rows that each format reads, and of the keys that it does not know.

    A format reads a row that it does not recognize if it reads the same as one that does: each of
    Anthropic's rows without a system prompt is as OpenAI's.
    """
    votes: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    candidates = {format.name: format for formats in recognized for format in formats}
    for row, formats in zip(rows, recognized, strict=True):
        own = {format.name: _read(format, row) for format in formats}
        readings = {canonical_example(example) for example in own.values() if example}
        for name, format in candidates.items():
            example = own[name] if name in own else _read(format, row)
            if name not in own and (not example or canonical_example(example) not in readings):
                continue
            if example or format.assemble:
                votes[name] += 1
            if example:
                unknown[name] += sum(
                    extra.kind == ExtraKind.UNKNOWN_KEY for extra in example.extras
                )
    return votes, unknown


def _candidates(row: Row) -> Iterator[RowFormat]:
    kind = classify(row.value)
    for format in row_formats().values():
        if format.read and (kind in format.shapes or _recognizes(format, row)):
            yield format


def _recognizes(format: RowFormat, row: Row) -> bool:
    return isinstance(row.value, dict) and format.recognizes(row.value)


def _read(format: RowFormat, row: Row) -> Example | None:
    try:
        return format.example(row.value)
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


def _unknown(rows: list[Row], recognized: list[list[RowFormat]]) -> UnknownShapeError:
    first, formats = rows[0], recognized[0]
    value = first.value
    for row, others in zip(rows, recognized, strict=True):
        if formats and others and not _names(formats) & _names(others):
            one, other = formats[0].name, others[0].name
            return UnknownShapeError(
                f"the rows have several formats: {first.origin} is {one}, and {row.origin} is "
                f"{other}; put the rows of each format into a file of their own, or set `from_` to "
                f"{one} or {other} to reject the others",
                [],
            )
    if isinstance(value, dict):
        keys = excerpt(", ".join(value)[:SHOWN])
        place = f"its keys are {keys}" if value else "it has no keys"
        texts = [key for key, text in value.items() if isinstance(text, str)]
    else:
        place, texts = f"it is {json_type(value)}, not an object", []
    return UnknownShapeError(
        f"{first.origin} has no known format; {place}; set `from_` to the format, or `field` to "
        "the path of each message, such as user=$.question",
        texts,
    )


def _names(formats: list[RowFormat]) -> set[str]:
    return {format.name for format in formats}
