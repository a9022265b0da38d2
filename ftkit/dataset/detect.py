"""Format detection from the beginning of a file.

A file in another well-known shape gets one finding that names the shape, instead of one for each
line.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import msgspec

from ftkit.dataset.formats import FORMATS, ends_with_assistant
from ftkit.dataset.lenient_json import Reading, is_too_large, read
from ftkit.dataset.shapes import ARRAY, are_messages, find_shape

HEAD_BYTES = 1 << 20
"""Bytes of the beginning of a file that are looked at."""

SAMPLE_LINES = 100
"""Number of lines that vote on the format of a file."""

MAGIC = {
    b"\x1f\x8b": ("gzip", "unpack it with gunzip, or name it .jsonl.gz for ftkit"),
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "unpack or export it as JSON Lines"),
    b"PAR1": ("Parquet", "convert it to JSON Lines"),
    b"BZh": ("bzip2", "unpack it with bunzip2"),
    b"\xfd7zXZ": ("xz", "unpack it with unxz"),
    b"\x28\xb5\x2f\xfd": ("Zstandard", "unpack it with unzstd"),
    b"ARROW1": ("Arrow", "convert it to JSON Lines"),
    b"%PDF-": ("a PDF document", "export its text as JSON Lines"),
    b"\xd0\xcf\x11\xe0": ("an old Office document", "export it as JSON Lines"),
    b"SQLite format 3": ("an SQLite database", "export it as JSON Lines"),
}
"""Magic numbers of binary files: the name of the file type and what to do."""

SPACE = "\ufeff \t\r\n"
"""Characters before the JSON of a file."""

_DECODER = json.JSONDecoder(parse_int=str)
"""Decoder for looking at a file. It leaves integers as text, which may have any length."""

_SEPARATORS = re.compile(r"[\s,]*+")
"""Characters between the elements of an array."""

_OPENING = re.compile(r'[\[{]\s*+|\{\s*+"\w++"\s*+:\s*+\[?\{?\s*+')
"""First line of a JSON object or array that is spread over several lines."""


class Head:
    """The beginning of a file: about `HEAD_BYTES` in whole lines.

    Attributes:
        complete: True if this is the whole file.
    """

    def __init__(self, name: str, data: bytes, complete: bool) -> None:
        self.name = name
        self.data = data
        self.complete = complete

    @cached_property
    def magic(self) -> tuple[str, str] | None:
        """Name of the file type and what to do, if the file begins with a magic number."""
        return next((kind for magic, kind in MAGIC.items() if self.data.startswith(magic)), None)

    @cached_property
    def readings(self) -> list[Reading]:
        """The first `SAMPLE_LINES` lines that are not blank."""
        readings: list[Reading] = []
        for number, line in enumerate(self.data.split(b"\n"), 1):
            if len(readings) >= SAMPLE_LINES:
                break
            if line.strip():
                reading = _read_quickly(line, number)
                readings.extend(map(read, reading.pieces) if reading.pieces else [reading])
        return readings

    @cached_property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects among the first lines."""
        return [reading.value for reading in self.readings if isinstance(reading.value, dict)]

    @cached_property
    def kind(self) -> str | None:
        """Name of the format or id of the shape that most of the first lines have, if any."""
        return _most_common_kind(reading.value for reading in self.readings)

    @cached_property
    def kind_of_elements(self) -> str | None:
        """The same for the first elements of the JSON array that the file begins with, if any."""
        return _most_common_kind(self._elements())

    def _elements(self) -> Iterator[Any]:
        """Yield the first elements of the JSON array that the file begins with."""
        text = self.data[:HEAD_BYTES].decode(errors="replace").lstrip(SPACE)
        position = 1 if text.startswith("[") else len(text)
        for _ in range(SAMPLE_LINES):
            position = _SEPARATORS.match(text, position).end()  # type: ignore[union-attr]
            try:
                value, position = _DECODER.raw_decode(text, position)
            except (json.JSONDecodeError, RecursionError):
                return
            yield value

    @cached_property
    def asks(self) -> bool:
        """True if most of the first lines end with a message to the model."""
        return sum(not ends_with_assistant(value) for value in self.objects) * 2 > len(self.objects)

    def fits(self, format: str) -> bool:
        """Return True if most of the first lines are examples of a format but for unknown keys."""
        return sum(map(FORMATS[format].fits, self.objects)) * 2 > len(self.objects)

    @cached_property
    def spread(self) -> Any:
        """The JSON object or array that begins on the first line and ends on a later one."""
        text = self.data.decode(errors="replace").lstrip(SPACE)
        first = self.readings[0] if self.readings else None
        if text[:1] not in ("{", "[") or not first or first.parsed or first.is_too_large:
            return None
        try:
            value, end = _DECODER.raw_decode(text)
        except RecursionError:
            return None
        except json.JSONDecodeError:
            opens = _OPENING.fullmatch(text.partition("\n")[0])
            return {} if opens and text[0] == "{" and not self.complete else None
        return value if "\n" in text[:end] else None


def _most_common_kind(values: Iterable[Any]) -> str | None:
    votes = Counter(kind for value in values if (kind := classify(value)))
    return votes.most_common(1)[0][0] if votes else None


def _read_quickly(line: bytes, number: int) -> Reading:
    """Read a line with the fast decoder, or with the lenient one if that fails."""
    if is_too_large(line):
        return read(line, number)
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return read(line, number, first=number == 1)
    text = line[:100].decode(errors="replace").strip()
    return Reading(line, number, text=text, parsed=True, value=value)


def classify(value: Any) -> str | None:
    """Return the name of the format or the id of the shape of a JSON value, or None."""
    if isinstance(value, list):
        return ARRAY if are_messages(value) else None
    if not isinstance(value, dict):
        return None
    keys = {key.lower() for key in value if isinstance(key, str)}
    formats = (name for name, format in FORMATS.items() if format.recognizes(value, keys))
    return find_shape(value, keys) or next(formats, None)


_COLUMN = re.compile(r'("?)[A-Za-z_][\w .-]{0,40}\1')
"""Name of a column in the header of a table."""


_QUOTED = re.compile(rb'".*"', re.DOTALL)
"""Row of a table with one column, in quotes."""

_EXAMPLE = re.compile(r'\{"(?!")')
"""Beginning of an object in JSON, in which a table would double the quote."""


def looks_like_table(readings: Sequence[Reading]) -> str | None:
    """Return the name of the table format if the first lines look like those of a table."""
    header, rows = readings[0].text, readings[1:]
    for separator, name in ((",", "CSV"), ("\t", "TSV"), (";", "CSV (semicolons)")):
        cells = header.split(separator)
        if len(cells) > 1 and all(_COLUMN.fullmatch(cell.strip()) for cell in cells):
            return name
    if _EXAMPLE.search(header):  # it has a mistake
        return None
    quoted = sum(_QUOTED.fullmatch(row.raw.strip()) is not None for row in rows)
    return "CSV with one column" if quoted * 2 > len(rows) else None
