"""Excel workbooks (XLSX). Cells become text: numbers as Excel holds them, dates in ISO 8601."""

from __future__ import annotations

import datetime
import re
from collections import deque
from collections.abc import Iterator
from itertools import chain

from msgspec import Struct

from ftkit._text import excerpt
from ftkit.dataset.reader import Source
from ftkit.errors import UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats.base import MAX_ROW_CHARS, FileFormat, ReadOptions, path_of
from ftkit.prepare.file_formats.shared.tables import Header
from ftkit.prepare.file_formats.shared.xlsx_parts import (
    MAX_CELL_CHARS,
    Archive,
    NumberFormat,
    Sheet,
    Workbook,
    is_workbook,
    unescape,
)
from ftkit.prepare.rows import Row

MAX_COLUMNS = 16_384
"""Maximum columns of a sheet in Excel."""

EPOCH = datetime.datetime(1899, 12, 30)
"""Day 0 of dates from 1900-03-01 on: Excel counts a 29th of February in 1900."""

EPOCH_1904 = datetime.datetime(1904, 1, 1)

LEAP_DAY = 60
"""Number of the 29th of February 1900."""

MAX_SERIAL = 2_958_466
"""Number of the first day of the year 10000."""

_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")


class Cell(Struct, frozen=True):
    """A cell that is not empty, as text."""

    column: int
    """Number of the column, from 0."""
    text: str
    fault: str = ""
    """Reason why the cell has no value, or ""."""


class SheetRow(Struct, frozen=True):
    """A row of a sheet with its cells that are not empty."""

    number: int
    cells: list[Cell]


def read_xlsx(source: Source, audit: Audit, options: ReadOptions) -> Iterator[Row]:
    """Yield the rows of a sheet, whose first row names the columns.

    Rows with an error, with a formula that was never computed, or with too many cells are
    rejected.

    Raises:
        FileError: The file cannot be read, or its header is not valid.
        UsageError: The sheet must be named, or no sheet has that name.
    """
    with Archive(path_of(source, "Excel workbooks")) as archive:
        workbook = Workbook(archive)
        sheet, rows = _find_sheet(archive, workbook, options.sheet)
        yield from _read(sheet, rows, archive.path, audit)


def _find_sheet(
    archive: Archive, workbook: Workbook, name: str | None
) -> tuple[Sheet, Iterator[SheetRow]]:
    """Return a sheet by its name, or the only one that is not empty, and its rows."""
    names = ", ".join(excerpt(sheet.name, 40) for sheet in workbook.sheets[:20])
    sheets = [sheet for sheet in workbook.sheets if name in (None, sheet.name)]
    if not sheets:
        raise UsageError(f"`sheet`: {archive.path} has no sheet {name!r:.60}; it has {names}")
    filled = []
    for sheet in sheets:
        rows = _rows(archive, workbook, sheet)
        first = next(rows, None)
        if first:
            filled.append((sheet, chain([first], rows)))
    if len(filled) > 1:
        raise UsageError(f"{archive.path} has several sheets; set `sheet` to one of {names}")
    if not filled:
        raise archive.error("it has no filled cells")
    return filled[0]


def _read(sheet: Sheet, rows: Iterator[SheetRow], path: str, audit: Audit) -> Iterator[Row]:
    first = next(rows)
    width = first.cells[-1].column + 1
    header = Header(f"{path}:{sheet.name}", _texts(first, width))
    for row in rows:
        audit.read += 1
        origin = audit.origin(path, row=row.number, sheet=sheet.name)
        texts = _texts(row, max(width, row.cells[-1].column + 1))
        fault = next((cell for cell in row.cells if cell.fault), None)
        reason = fault.fault if fault else header.check(texts)
        if reason:
            line = "\t".join(texts) if sum(map(len, texts)) <= MAX_ROW_CHARS else ""
            detail = f"{_letters(fault.column)}{row.number} {fault.text}" if fault else ""
            audit.reject(
                "read", reason, origin, line.encode("utf-8", "replace"), detail=detail.strip()
            )
        else:
            yield Row(header.row(texts), (origin,))


def _texts(row: SheetRow, width: int) -> list[str]:
    texts = [""] * width
    for cell in row.cells:
        texts[cell.column] = cell.text
    return texts


def _letters(column: int) -> str:
    """Return the name of a column, such as "AB"."""
    letters = ""
    column += 1
    while column:
        column, digit = divmod(column - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters


def _rows(archive: Archive, workbook: Workbook, sheet: Sheet) -> Iterator[SheetRow]:
    """Yield the rows of a sheet that have a cell that is not empty."""
    handler = _Cells(archive, workbook)
    for _ in archive.parse(sheet.part, handler):
        while handler.rows:
            yield handler.rows.popleft()


class _Cells:
    """Handler of the part of a sheet.

    Attributes:
        rows: Rows that have been read and are not empty.
    """

    def __init__(self, archive: Archive, workbook: Workbook) -> None:
        self.rows: deque[SheetRow] = deque()
        self._archive, self._workbook = archive, workbook
        self._cells: dict[int, Cell] = {}
        self._row, self._column = 0, -1
        self._type = self._style = ""
        self._pieces: list[str] = []
        self._chars = 0
        self._is_text = self._has_formula = self._is_phonetic = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        if name == "row":
            number = attributes.get("r", "")
            self._row = int(number) if number.isdecimal() and len(number) < 8 else self._row + 1
            self._cells, self._column = {}, -1
        elif name == "c":
            self._column = self._column_of(attributes.get("r"))
            self._type = attributes.get("t", "n")
            self._style = attributes.get("s", "")
            self._pieces, self._chars, self._has_formula = [], 0, False
        elif name == "f":
            self._has_formula = True
        elif name == "rPh":
            self._is_phonetic = True
        self._is_text = name == "v" or (name == "t" and not self._is_phonetic)

    def end(self, name: str) -> None:
        """End an element."""
        self._is_text = False
        if name == "c":
            self._end_cell()
        elif name == "row" and self._cells:
            cells = [self._cells[column] for column in sorted(self._cells)]
            self.rows.append(SheetRow(self._row, cells))
        elif name == "rPh":
            self._is_phonetic = False

    def text(self, text: str) -> None:
        """Add text.

        Raises:
            FileError: There is too much of it in a cell.
        """
        if self._is_text:
            self._pieces.append(text)
            self._chars += len(text)
            if self._chars > MAX_CELL_CHARS:
                raise self._archive.error(f"a cell has more than {MAX_CELL_CHARS:,} characters")

    def _column_of(self, reference: str | None) -> int:
        match = _REFERENCE.fullmatch(reference or "")
        column = self._column + 1
        if match:
            column = 0
            for letter in match[1]:
                column = column * 26 + ord(letter) - ord("A") + 1
            column -= 1
        if column >= MAX_COLUMNS:
            raise self._archive.error(f"row {self._row} has more than {MAX_COLUMNS:,} columns")
        return column

    def _end_cell(self) -> None:
        value = "".join(self._pieces)
        if self._type == "e":
            cell = Cell(self._column, value, "a cell has an error")
        elif self._has_formula and not value and self._type != "str":
            cell = Cell(self._column, "", "a formula has no value; save the file in Excel")
        else:
            cell = self._cell(value)
        if cell.text or cell.fault:
            self._cells[self._column] = cell

    def _cell(self, value: str) -> Cell:
        fault = ""
        if self._type == "s" and value:
            index = int(value) if value.isdecimal() and len(value) < 10 else -1
            if 0 <= index < len(self._workbook.texts):
                value = self._workbook.texts[index]
            else:
                fault = "a cell refers to a text that is not there"
        elif self._type == "b":
            value = {"1": "TRUE", "0": "FALSE"}.get(value, value)
        elif self._type == "n" and value:
            value, fault = self._number(value)
        elif self._type in ("str", "inlineStr"):
            value = unescape(value)
        return Cell(self._column, value, fault)

    def _number(self, value: str) -> tuple[str, str]:
        try:
            number = float(value)
        except ValueError:
            return value, "a cell has a number that is not one"
        style = int(self._style) if self._style.isdecimal() and len(self._style) < 8 else 0
        formats = self._workbook.formats
        format = formats[style] if style < len(formats) else NumberFormat()
        if not format.is_date:
            return number_text(value, number), ""
        text = date_text(number, format, self._workbook.counts_from_1904)
        return (text, "") if text else (value, "a cell has a date out of range")


def number_text(value: str, number: float) -> str:
    """Return a number without a fraction of zeros, an exponent, or digits that a double lacks."""
    if re.fullmatch(r"-?[0-9]{1,15}", value):
        return value
    if number.is_integer() and abs(number) < 1e16:
        return str(int(number))
    return repr(number)


def date_text(number: float, format: NumberFormat, counts_from_1904: bool) -> str:
    """Return a date, a time or a duration in ISO 8601, or "" if it is out of range."""
    if not abs(number) < MAX_SERIAL:
        return ""
    milliseconds = round(number * 86_400_000)
    if format.is_elapsed:
        seconds = milliseconds // 1000
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}" if number >= 0 else ""
    if number < 0:
        return ""
    if number < 1 and not counts_from_1904:
        return _iso_time(datetime.datetime.min + datetime.timedelta(milliseconds=milliseconds))
    days = 1 if not counts_from_1904 and number < LEAP_DAY else 0
    epoch = EPOCH_1904 if counts_from_1904 else EPOCH
    try:
        moment = epoch + datetime.timedelta(days=days, milliseconds=milliseconds)
    except OverflowError:
        return ""
    date = moment.date().isoformat()
    return date if milliseconds % 86_400_000 == 0 else f"{date}T{_iso_time(moment)}"


def _iso_time(moment: datetime.datetime) -> str:
    return moment.time().isoformat("milliseconds" if moment.microsecond else "seconds")


FORMATS = (
    FileFormat(
        name="xlsx",
        title="Excel workbook (XLSX)",
        read=read_xlsx,
        recognizes=lambda path, beginning: (
            beginning.startswith(b"PK\x03\x04") and is_workbook(path)
        ),
        priority=0,
        options=("sheet",),
        layout=(
            "A sheet whose first filled row names the columns. All cells become text: `7` for 7 "
            "and 7.0, `TRUE`, `2026-01-31`, `2026-01-31T10:00:00`; formulas give their values. "
            "Hidden rows and sheets are read."
        ),
        losses=("how numbers are shown", "colours and comments"),
    ),
)
