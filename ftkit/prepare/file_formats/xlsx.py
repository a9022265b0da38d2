"""Excel workbooks (XLSX). Cells become text: numbers as Excel shows them, dates in ISO 8601."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from msgspec import Struct

from ftkit._text import excerpt
from ftkit.dataset.reader import Source
from ftkit.errors import FileError, UsageError
from ftkit.prepare.audit import Audit, Origin
from ftkit.prepare.file_formats.base import (
    FileFormat,
    MissingOptionError,
    ReadOptions,
    open_seekable,
)
from ftkit.prepare.file_formats.shared.merged_cells import Merges
from ftkit.prepare.file_formats.shared.number_formats import (
    NumberFormat,
    date_text,
    number_text,
    parse_number,
    shown_text,
)
from ftkit.prepare.file_formats.shared.tables import Header
from ftkit.prepare.file_formats.shared.xlsx_parts import (
    MAX_CELL_CHARS,
    Archive,
    Sheet,
    Workbook,
    column_letters,
    column_number,
    is_workbook,
    unescape,
)
from ftkit.prepare.rows import Row

MAX_COLUMNS = 16_384
"""Maximum columns of a sheet in Excel."""

_COLUMN = re.compile(r"[0-9]{1,5}")
_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")


class Cell(Struct, frozen=True):
    """A cell that is not empty, as text."""

    column: int
    """Number of the column, from 0."""
    text: str
    fault: str = ""
    """Reason why the cell has no value, or ""."""
    form: str = ""
    """Number format that shows the number rounded or in another form, or ""."""


class SheetRow(Struct, frozen=True):
    """A row of a sheet with its cells that are not empty."""

    number: int
    cells: list[Cell]
    is_hidden: bool = False
    hidden_columns: Sequence[int] = ()
    """Numbers of the hidden columns of the sheet, from 0."""


def read_xlsx(source: Source, audit: Audit, options: ReadOptions) -> Iterator[Row]:
    """Yield the rows of a sheet, whose first row names the columns.

    Rows with an error, with a formula that was never computed, or with too many cells are
    rejected.

    Raises:
        FileError: The file cannot be read, or its header is not valid.
        UsageError: The sheet must be named, or no sheet has that name.
    """
    with (
        open_seekable(source, "Excel workbooks") as file,
        Archive(source.path, file) as archive,
    ):
        workbook = Workbook(archive)
        sheet, rows = _find_sheet(archive, workbook, options.sheet)
        yield from _Table(archive, sheet, audit).read(rows)


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
        problem, advice = "it has several sheets", f"set `sheet` to one of {names}"
        name = filled[0][0].name
        raise MissingOptionError(archive.path, problem, "sheet", name, advice)
    if not filled:
        raise archive.error("it has no filled cells")
    return filled[0]


class _Table:
    """Reader of the rows of a sheet as objects."""

    def __init__(self, archive: Archive, sheet: Sheet, audit: Audit) -> None:
        self._archive, self._sheet, self._audit = archive, sheet, audit
        self._merges = Merges(archive, sheet.part)

    def read(self, rows: Iterator[SheetRow]) -> Iterator[Row]:
        """Yield the rows behind the header as objects, and record what is not in them."""
        first = next(rows)
        width = first.cells[-1].column + 1
        names = _texts(first, width)
        header = Header(f"{self._archive.path}:{self._sheet.name}", names)
        self._merges.texts(first.number, names)
        if self._merges.are_open:
            raise FileError(
                f"{self._archive.path}:{self._sheet.name}: the header has merged cells; write one "
                "name in the first row of each column"
            )
        self._note_hidden(first, names)
        for row in rows:
            self._audit.read += 1
            texts = _texts(row, max(width, row.cells[-1].column + 1))
            fault = next((cell for cell in row.cells if cell.fault), None)
            merged = self._merges.texts(row.number, texts)
            for column, text in (merged or {}).items():
                texts[column] = text
            reason = fault.fault if fault else header.check(texts)
            if merged is None:
                reason = reason or "a merged cell covers several columns"
            if reason:
                detail = f"{_place(row, fault.column)} {fault.text}".strip() if fault else ""
                line = header.encode(texts)
                self._audit.reject("read", reason, self._origin(row), line, detail=detail)
            else:
                self._note(row, merged or {})
                yield Row(header.row(texts), (self._origin(row),))

    def _note_hidden(self, first: SheetRow, names: list[str]) -> None:
        """Record that the sheet or columns of it are hidden."""
        if self._sheet.is_hidden:
            self._audit.note("read", "hidden sheet", self._origin(first))
        for column in first.hidden_columns:
            if column < len(names):
                detail = names[column]
                self._audit.note("read", "hidden column", self._origin(first), detail=detail)

    def _note(self, row: SheetRow, merged: Iterable[int]) -> None:
        """Record what is special about a row that is read."""
        origin = self._origin(row)
        if row.is_hidden:
            self._audit.note("read", "hidden row", origin)
        for column in merged:
            reason = "text of a merged cell, repeated for the row"
            self._audit.note("read", reason, origin, detail=_place(row, column))
        for cell in row.cells:
            if cell.form:
                reason = "number that is shown rounded or in another form"
                detail = f"{_place(row, cell.column)} {cell.form}"
                self._audit.note("read", reason, origin, detail=detail)

    def _origin(self, row: SheetRow) -> Origin:
        return self._audit.origin(self._archive.path, row=row.number, sheet=self._sheet.name)


def _place(row: SheetRow, column: int) -> str:
    return f"{column_letters(column)}{row.number}"


def _texts(row: SheetRow, width: int) -> list[str]:
    texts = [""] * width
    for cell in row.cells:
        texts[cell.column] = cell.text
    return texts


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
        self._hidden_columns: list[int] = []
        self._row, self._column = 0, -1
        self._type = self._style = ""
        self._pieces: list[str] = []
        self._chars = 0
        self._is_text = self._has_formula = self._is_phonetic = self._is_hidden = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        if name == "row":
            number = attributes.get("r", "")
            self._row = int(number) if number.isdecimal() and len(number) < 8 else self._row + 1
            self._cells, self._column = {}, -1
            self._is_hidden = attributes.get("hidden") in ("1", "true")
        elif name == "c":
            self._column = self._column_of(attributes.get("r"))
            self._type = attributes.get("t", "n")
            self._style = attributes.get("s", "")
            self._pieces, self._chars, self._has_formula = [], 0, False
        elif name == "col" and attributes.get("hidden") in ("1", "true"):
            self._hide(attributes.get("min", ""), attributes.get("max", ""))
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
            row = SheetRow(self._row, cells, self._is_hidden, self._hidden_columns)
            self.rows.append(row)
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

    def _hide(self, first: str, last: str) -> None:
        """Add hidden columns. Those of a workbook are in order, so that each is added once."""
        low, high = (int(text) if _COLUMN.fullmatch(text) else 0 for text in (first, last))
        start = max(low - 1, self._hidden_columns[-1] + 1 if self._hidden_columns else 0)
        self._hidden_columns += range(start, min(high, MAX_COLUMNS))

    def _column_of(self, reference: str | None) -> int:
        match = _REFERENCE.fullmatch(reference or "")
        column = column_number(match[1]) if match else self._column + 1
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
            return self._number(value)
        elif self._type in ("str", "inlineStr"):
            value = unescape(value)
        return Cell(self._column, value, fault)

    def _number(self, value: str) -> Cell:
        number = parse_number(value)
        if number is None:
            return Cell(self._column, value, "a cell has a number that is not one")
        style = int(self._style) if self._style.isdecimal() and len(self._style) < 8 else 0
        formats = self._workbook.formats
        format = formats[style] if style < len(formats) else NumberFormat()
        if format.is_date:
            text = date_text(number, format, self._workbook.counts_from_1904)
            fault = "" if text else "a cell has a date out of range"
            return Cell(self._column, text or value, fault)
        if format.is_general:
            return Cell(self._column, number_text(value, number))
        shown = shown_text(number, format)
        if shown is not None:
            return Cell(self._column, shown)
        return Cell(self._column, number_text(value, number), form=excerpt(format.code, 40))


FORMATS = (
    FileFormat(
        name="xlsx",
        title="Excel workbook (XLSX)",
        is_table=True,
        read=read_xlsx,
        recognizes=lambda path, beginning: (
            beginning.startswith(b"PK\x03\x04") and is_workbook(path)
        ),
        priority=0,
        suffixes=(".xlsx",),
        options=("sheet",),
        layout=(
            "A sheet whose first filled row names the columns. All cells become text: `7` for 7 "
            "and 7.0, `TRUE`, `2026-01-31`, `2026-01-31T10:00:00`; formulas give their values. "
            "Numbers are as they are shown where the format only pads them (`00501`) or fixes "
            "their decimals (`1.50`, `25%`). The text of a cell that is merged over several rows "
            "is repeated in each. Hidden rows and sheets are read, and noted. Rows with an error "
            "(`#N/A`), a formula without a value, or a cell that is merged over several columns "
            "are rejected."
        ),
        losses=(
            "other forms of numbers, such as thousands separators, currencies and roundings "
            "(noted)",
            "colours, comments, images and addresses of links",
        ),
    ),
)
