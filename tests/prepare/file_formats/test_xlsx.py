"""Excel workbooks, made by hand as Excel writes them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ftkit.dataset.inputs import open_sources
from ftkit.errors import FileError, UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats import detect_file
from ftkit.prepare.file_formats.base import ReadOptions
from ftkit.prepare.file_formats.shared import merged_cells, xlsx_parts
from ftkit.prepare.file_formats.xlsx import read_xlsx
from support.workbooks import (
    DATE,
    ELAPSED,
    FIRST_FORMAT,
    FORMATS,
    HEADER,
    QUOTED,
    TEXTS,
    TIME,
    make,
)


def read(path: Path, **options: Any) -> tuple[list[Any], Audit]:
    [source] = open_sources(str(path), "files")
    audit = Audit()
    rows = list(read_xlsx(source, audit, ReadOptions(**options)))
    audit.written = len(rows)
    assert audit.is_balanced
    return rows, audit


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "in.xlsx"


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("<c r='A2'><v>7</v></c>", "7"),
        ("<c r='A2'><v>7.0</v></c>", "7"),
        ("<c r='A2'><v>1.1000000000000001</v></c>", "1.1"),
        ("<c r='A2'><v>1E+3</v></c>", "1000"),
        ("<c r='A2'><v>1E+20</v></c>", "1e+20"),
        ("<c r='A2'><v>-0.5</v></c>", "-0.5"),
        ("<c r='A2' t='s'><v>0</v></c>", "shared"),
        ("<c r='A2' t='s'><v>1</v></c>", "rich "),
        ("<c r='A2' t='s'/>", ""),
        ("<c r='A2' t='s'><v>2</v></c>", "a\r\nb"),
        ("<c r='A2' t='inlineStr'><is><t>00501</t></is></c>", "00501"),
        ("<c r='A2' t='str'><f>A1</f><v>NA</v></c>", "NA"),
        ("<c r='A2' t='str'><f>\"\"</f><v></v></c>", ""),
        ("<c r='A2'><f>1+1</f><v>2</v></c>", "2"),
        ("<c r='A2' t='b'><v>1</v></c>", "TRUE"),
        ("<c r='A2' t='d'><v>2026-01-31</v></c>", "2026-01-31"),
        (f"<c r='A2' s='{DATE}'><v>46053</v></c>", "2026-01-31"),
        (f"<c r='A2' s='{DATE}'><v>46053.5</v></c>", "2026-01-31T12:00:00"),
        (f"<c r='A2' s='{DATE}'><v>1</v></c>", "1900-01-01"),
        (f"<c r='A2' s='{DATE}'><v>61</v></c>", "1900-03-01"),
        (f"<c r='A2' s='{TIME}'><v>0.75</v></c>", "18:00:00"),
        (f"<c r='A2' s='{ELAPSED}'><v>1.25</v></c>", "30:00:00"),
        (f"<c r='A2' s='{QUOTED}'><v>46053</v></c>", "46053"),
    ],
)
def test_a_cell_becomes_text(file: Path, cell: str, text: str) -> None:
    row = f"<row r='2'>{cell}<c r='B2' t='str'><v>x</v></c></row>"
    [result], _ = read(make(file, HEADER + row, texts=TEXTS))
    assert result.value == {"q": text, "a": "x"}


@pytest.mark.parametrize(
    ("format", "value", "text", "is_exact"),
    [
        ("00000", "501", "00501", True),
        ("00000", "-501", "-00501", True),
        ("00000", "501.5", "501.5", False),
        ("00000", "1234567", "1234567", True),
        ("0.00", "1.5", "1.50", True),
        ("0.00", "0.30000000000000004", "0.30", True),
        ("0.00", "1.234", "1.234", False),
        ("0.00", "1E+300", "1e+300", False),
        ("0%", "0.25", "25%", True),
        ("0%", "0.255", "0.255", False),
        ("#,##0", "1234", "1234", False),
        ("0.0;[Red]-0.0", "1", "1.0", True),
        ("0.0;[Red]-0.0", "-1", "-1", False),
        ("[Red]000", "7", "007", True),
        ("0.##", "7", "7", False),
        ("[>9]0;00", "7", "7", False),
        (";;;", "7", "7", False),
    ],
)
def test_numbers_are_as_they_are_shown_or_noted(
    file: Path, format: str, value: str, text: str, is_exact: bool
) -> None:
    style = FIRST_FORMAT + FORMATS.index(format)
    row = f"<row r='2'><c r='A2' s='{style}'><v>{value}</v></c><c r='B2'><v>1</v></c></row>"
    [result], audit = read(make(file, HEADER + row))
    assert result.value == {"q": text, "a": "1"}
    notes = [] if is_exact else ["number that is shown rounded or in another form"]
    assert [entry.reason for entry in audit.entries] == notes
    assert all(entry.detail.startswith("A2 ") for entry in audit.entries)


def cells(row: int, **texts: str) -> str:
    """Return a row with texts by column."""
    written = (f"<c r='{key}{row}' t='str'><v>{text}</v></c>" for key, text in texts.items())
    return f"<row r='{row}'>{''.join(written)}</row>"


def merged(*ranges: str) -> str:
    return f"<mergeCells>{''.join(f'<mergeCell ref={range!r}/>' for range in ranges)}</mergeCells>"


def test_the_text_of_merged_cells_is_repeated_in_each_row(file: Path) -> None:
    rows = cells(2, A="why", B="x") + cells(3, B="y") + cells(4, B="z") + cells(5, A="so", B="w")
    result, audit = read(make(file, HEADER + rows, behind=merged("A2:A3", "A4:A5", "C4:D5")))
    assert [tuple(row.value.values()) for row in result] == [
        ("why", "x"),
        ("why", "y"),
        ("", "z"),
        ("so", "w"),
    ]
    [entry] = audit.entries
    assert (entry.reason, entry.detail) == (
        "text of a merged cell, repeated for the row",
        "A3",
    )


def test_a_row_with_a_cell_over_several_columns_is_rejected(file: Path) -> None:
    rows = cells(2, A="Part one") + cells(3, A="q", B="a")
    result, audit = read(make(file, HEADER + rows, behind=merged("A2:B2")))
    assert [row.value["q"] for row in result] == ["q"]
    assert [entry.reason for entry in audit.entries] == ["a merged cell covers several columns"]


def test_merged_cells_in_the_header_and_rows_out_of_order_are_refused(file: Path) -> None:
    rows = cells(2, B="x")
    with pytest.raises(FileError, match="the header has merged cells"):
        read(make(file, HEADER + rows, behind=merged("A1:A2")))
    with pytest.raises(FileError, match="row 2 is behind row 3"):
        read(make(file, HEADER + cells(3, A="x") + rows, behind=merged("A3:A4")))


def test_the_number_of_merged_cells_is_bounded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged_cells, "MAX_MERGES", 2)
    with pytest.raises(FileError, match="more than 2 merged cells"):
        read(make(file, HEADER, behind=merged("A2:A3", "A4:A5", "A6:A7")))


def test_what_is_hidden_is_read_and_noted(file: Path) -> None:
    row = cells(2, A="x", B="y").replace("<row", "<row hidden='1'")
    columns = "<cols><col min='2' max='16384' hidden='true'/></cols>"
    make(file, HEADER + row, columns=columns, sheet="state='hidden'")
    [result], audit = read(file)
    assert result.value == {"q": "x", "a": "y"}
    assert [(entry.reason, entry.origin.row, entry.detail) for entry in audit.entries] == [
        ("hidden sheet", 1, ""),
        ("hidden column", 1, "a"),
        ("hidden row", 2, ""),
    ]


def test_rejected_rows_are_objects(file: Path) -> None:
    lines: list[bytes] = []
    make(file, HEADER + cells(2, A="x", B="y", D="z") + "<row><c t='e'><v>#N/A</v></c></row>")
    [source] = open_sources(str(file), "files")
    audit = Audit()
    audit.save_reject = lines.append
    assert list(read_xlsx(source, audit, ReadOptions())) == []
    assert [json.loads(line) for line in lines] == [
        {"q": "x", "a": "y", "column 3": "", "column 4": "z"},
        {"q": "#N/A", "a": ""},
    ]


def test_dates_may_count_from_1904(file: Path) -> None:
    row = f"<row><c s='{DATE}'><v>44591</v></c></row>"
    [result], _ = read(make(file, HEADER + row, settings="<workbookPr date1904='1'/>"))
    assert result.value["q"] == "2026-01-31"


@pytest.mark.parametrize(
    ("cells", "reason", "detail"),
    [
        ("<c r='B5' t='e'><v>#DIV/0!</v></c>", "a cell has an error", "B5 #DIV/0!"),
        ("<c r='A5'><f>B1*2</f></c>", "a formula has no value; save the file in Excel", "A5"),
        ("<c r='C5'><v>1</v></c>", "too many cells", ""),
        ("<c r='A5' t='s'><v>9</v></c>", "a cell refers to a text that is not there", "A5 9"),
        ("<c r='A5'><v>x</v></c>", "a cell has a number that is not one", "A5 x"),
        ("<c r='A5'><v>1_0</v></c>", "a cell has a number that is not one", "A5 1_0"),
        ("<c r='A5'><v>nan</v></c>", "a cell has a number that is not one", "A5 nan"),
        (f"<c r='A5' s='{DATE}'><v>1e300</v></c>", "a cell has a date out of range", "A5 1e300"),
    ],
)
def test_a_row_with_a_faulty_cell_is_rejected(
    file: Path, cells: str, reason: str, detail: str
) -> None:
    rows, audit = read(make(file, f"{HEADER}<row r='5'>{cells}</row>"))
    assert rows == []
    [entry] = audit.entries
    assert (entry.reason, entry.detail) == (reason, detail)
    assert (entry.origin.sheet, entry.origin.row) == ("S1", 5)


def test_missing_cells_are_empty_and_empty_rows_skipped(file: Path) -> None:
    rows = "<row r='3'/><row r='4'><c r='B4' t='str'><v>x</v></c></row>"
    [row], audit = read(make(file, HEADER + rows))
    assert row.value == {"q": "", "a": "x"}
    assert (row.origin.row, audit.read) == (4, 1)


def test_the_only_filled_sheet_is_read_or_the_one_that_is_named(file: Path) -> None:
    row = "<row><c><v>1</v></c><c><v>2</v></c></row>"
    assert len(read(make(file, "", HEADER + row))[0]) == 1
    make(file, HEADER, HEADER + row)
    with pytest.raises(UsageError, match="several sheets; set `sheet` to one of 'S1', 'S2'"):
        read(file)
    assert read(file, sheet="S2")[0][0].origin.sheet == "S2"
    with pytest.raises(UsageError, match="no sheet 'S3'; it has 'S1', 'S2'"):
        read(file, sheet="S3")
    with pytest.raises(FileError, match="no filled cells"):
        read(make(file, ""))


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", "document type declaration"),
        ("<!-- --><x>", "is not XML"),
        ("<row r='2'><c r='ZZZ1'><v>1</v></c></row>", "more than 16,384 columns"),
        (f"<row><c t='str'><v>{'x' * 1_000_001}</v></c></row>", "more than 1,000,000 characters"),
        (f"<row r='{'1' * 400_000}'/>", "s1.xml has a tag of more than 262,144 bytes"),
    ],
    ids=["entities", "broken", "columns", "cell", "tag"],
)
def test_hostile_sheets_are_refused(file: Path, sheet: str, message: str) -> None:
    with pytest.raises(FileError, match=message):
        read(make(file, sheet))


def test_a_far_cell_takes_no_memory(file: Path) -> None:
    far = "<row r='1048576'><c r='XFD1048576'><v>1</v></c></row>"
    rows, audit = read(make(file, HEADER + far))
    assert rows == []
    assert audit.entries[0].reason == "too many cells"


def test_what_unpacks_to_too_much_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_parts, "MAX_PART_BYTES", 1 << 20)
    with pytest.raises(FileError, match="more than 1,048,576 bytes"):
        read(make(file, HEADER + " " * (1 << 21)))
    monkeypatch.setattr(xlsx_parts, "MAX_TEXT_CHARS", 1000)
    with pytest.raises(FileError, match="its texts have more than 1,000 characters"):
        read(make(file, HEADER, texts="<si/>" * 21))


def test_archives_that_are_no_workbook_are_refused(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.jsonl", "{}")
    [source] = open_sources(str(file), "files")
    with pytest.raises(FileError, match="a zip archive or an Excel workbook; unpack"):
        detect_file(source)
    file.write_bytes(make(file, HEADER).read_bytes()[:-40])
    with pytest.raises(FileError, match=r"cannot read .*: file is not a zip file"):
        read(file)
