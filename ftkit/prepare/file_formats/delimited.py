"""CSV and TSV files. Every cell stays the text that it is, such as `00501`, `NA` or `null`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from ftkit.dataset.detect import Head, looks_like_table
from ftkit.dataset.reader import Source
from ftkit.errors import FileError, UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats.base import (
    HEAD_BYTES,
    MAX_ROW_CHARS,
    FileFormat,
    MissingOptionError,
    ReadOptions,
)
from ftkit.prepare.file_formats.shared.tables import Header
from ftkit.prepare.file_formats.shared.text_files import Lines, open_text
from ftkit.prepare.rows import Row

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
"""Separators that are detected, and their names."""

NAMED_DELIMITER = re.compile(r"sep=([^\r\n])(?:\r\n?|\n)")
"""First line with which a file names its separator to Excel."""

SNIFFED_ROWS = 20
"""Number of rows from which the separator is detected."""

QUOTED_AFTER_SPACE = re.compile(r'[,;\t] +"')
"""Header in which cells are quoted after a space."""


def read_delimited(source: Source, audit: Audit, options: ReadOptions) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file. Rows with too many or too few cells are rejected.

    Raises:
        FileError: The file cannot be read or decoded, or its header is not valid.
        UsageError: An option is not valid, or the separator must be named.
    """
    with open_text(source, options.encoding) as text:
        beginning = text.read(HEAD_BYTES)
        beginning += text.readline(MAX_ROW_CHARS)
        named = NAMED_DELIMITER.match(beginning)
        rest = beginning[named.end() :] if named else beginning
        delimiter = options.delimiter or (named[1] if named else None)
        dialect = _find_dialect(rest, delimiter, source.path)
        lines = Lines(source.path, text, rest, number=1 if named else 0)
        yield from _read(lines, dialect, audit)


def recognizes_delimited(path: str, beginning: bytes) -> bool:
    """Return True for the suffix of a table, or a beginning that looks like the header of one."""
    if path.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".tab")):
        return True
    head = Head(path, beginning, complete=True)
    return bool(head.readings) and not head.objects and bool(looks_like_table(head.readings))


def _find_dialect(beginning: str, delimiter: str | None, path: str) -> dict[str, Any]:
    """Return the separator, and if the header has spaces in front of its quotes."""
    if delimiter is None:
        delimiter = _find_delimiter(beginning, path)
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(delimiter) != 1 or delimiter in '"\r\n ':
        raise UsageError(f"`delimiter` must be one character or 'tab', not {delimiter!r:.20}")
    header = beginning.lstrip("\ufeff").partition("\n")[0]
    return {"delimiter": delimiter, "skipinitialspace": bool(QUOTED_AFTER_SPACE.search(header))}


def _find_delimiter(beginning: str, path: str) -> str:
    widths = {delimiter: _widths(beginning, delimiter) for delimiter in DELIMITERS}
    divided = [delimiter for delimiter in DELIMITERS if widths[delimiter][:1] > [1]]
    regular = [delimiter for delimiter in divided if len(set(widths[delimiter])) == 1]
    candidates = regular or divided
    if len(candidates) > 1:
        names = " or ".join(DELIMITERS[delimiter] for delimiter in candidates)
        problem = f"cells may be separated by {names}"
        value = "tab" if candidates[-1] == "\t" else candidates[-1]
        raise MissingOptionError(path, problem, "delimiter", value, "name it as `delimiter`")
    return candidates[0] if candidates else ","


def _widths(beginning: str, delimiter: str) -> list[int]:
    """Return the number of cells in each of the first rows."""
    rows = csv.reader(io.StringIO(beginning, newline=""), delimiter=delimiter, strict=True)
    widths = []
    with suppress(csv.Error):
        widths = [len(row) for row in islice(rows, SNIFFED_ROWS) if row]
    return widths


def _read(lines: Lines, dialect: dict[str, Any], audit: Audit) -> Iterator[Row]:
    # The limit is that of the process, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_CHARS))
    reader = csv.reader(lines, strict=True, **dialect)
    header: Header | None = None
    while True:
        error = ""
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as exception:
            cells, error = [], _quote_error(exception, lines)
        number, text = lines.take()
        if header is None:
            if cells or error:
                header = _header(lines.path, cells, error)
            continue
        audit.read += 1
        origin = audit.origin(lines.path, number)
        if not cells and not error:
            audit.drop("read", "blank line", origin)
            continue
        line = text.rstrip("\r\n").encode(errors="surrogatepass")
        if reason := error or header.check(cells):
            detail = "" if error else f"{len(cells)} of {len(header.names)}"
            audit.reject("read", reason, origin, line, detail=detail)
        else:
            yield Row(header.row(cells), (origin,), source=line)
    if header is None:
        raise FileError(f"{lines.path} is empty; its first row must name the columns")


def _header(path: str, cells: list[str], error: str) -> Header:
    if error:
        raise FileError(f"{path}: {error} in the first row")
    return Header(path, cells)


def _quote_error(error: csv.Error, lines: Lines) -> str:
    """Return the reason to reject a row that ends on its first line.

    Raises:
        FileError: The row has several lines, so that nobody knows where the next one begins.
    """
    if "unexpected end" in str(error):
        problem = "a quoted cell of this row never ends"
    elif lines.first == lines.number:
        return "text after a closing quote"
    else:
        problem = "text after a closing quote in a row of several lines"
    raise FileError(f"{lines.path}:{lines.first}: {problem}; double the quotes inside of a cell")


FORMATS = (
    FileFormat(
        name="csv",
        priority=4,
        title="CSV or TSV",
        is_table=True,
        read=read_delimited,
        recognizes=recognizes_delimited,
        options=("delimiter", "encoding"),
        layout=(
            "A table as text. The first row names the columns. Cells are separated by commas, "
            "semicolons or tabs; cells in quotes may hold separators, line ends and doubled quotes."
        ),
    ),
)
