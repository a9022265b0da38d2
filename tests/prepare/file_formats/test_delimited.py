"""CSV and TSV files."""

from __future__ import annotations

import codecs
import csv
import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.dataset.inputs import open_sources
from ftkit.errors import FileError, UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats.base import MissingOptionError, ReadOptions
from ftkit.prepare.file_formats.delimited import read_delimited


def read(path: Path, data: bytes | str, **options: Any) -> tuple[list[dict[str, str]], Audit]:
    """Return the rows of a file with this content."""
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    audit = Audit()
    [source] = open_sources(str(path), "files")
    rows = [row.value for row in read_delimited(source, audit, ReadOptions(**options))]
    audit.written = len(rows)
    assert audit.is_balanced
    return rows, audit


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "in.csv"


@pytest.mark.parametrize(
    "cell",
    ["00501", "NA", "N/A", "null", "None", "nan", "true", "TRUE", "1e5", "7.0", "", " x ", "1,5"],
)
def test_a_cell_stays_the_text_that_it_is(file: Path, cell: str) -> None:
    rows, _ = read(file, f'q;a\n{cell};"{cell}"\n')
    assert rows == [{"q": cell, "a": cell}]


@pytest.mark.parametrize(
    ("data", "row"),
    [
        ("q,a\n1,2\n", {"q": "1", "a": "2"}),
        ("q;a\n1,5;2\n", {"q": "1,5", "a": "2"}),
        ("q\ta\n1,2\t;\n", {"q": "1,2", "a": ";"}),
        ("q,a; b\n1,2\n", {"q": "1", "a; b": "2"}),
        ('q\n"hello, world; you"\n', {"q": "hello, world; you"}),
        ('"q, r",a\n1,2\n', {"q, r": "1", "a": "2"}),
        ('"q", "a"\n"1, 2", "3"\n', {"q": "1, 2", "a": "3"}),
        (" q , a \n1, 2\n", {"q": "1", "a": " 2"}),
        ('q,a\n"say ""x""","l1\nl2"\n', {"q": 'say "x"', "a": "l1\nl2"}),
        ('q,a\r\n"l1\r\nl2",2\r\n', {"q": "l1\r\nl2", "a": "2"}),
        ("q,a\r1,2\r", {"q": "1", "a": "2"}),
        ('q,a\n5" disk,2', {"q": '5" disk', "a": "2"}),
        ("q,a\n\x00,2\n", {"q": "\x00", "a": "2"}),
        ("q,a\n\u2028,\x85\n", {"q": "\u2028", "a": "\x85"}),
        ("sep=;\r\nq;a,b\r\n1;2\r\n", {"q": "1", "a,b": "2"}),
    ],
    ids=range(15),
)
def test_the_dialect_is_detected(file: Path, data: str, row: dict[str, str]) -> None:
    assert read(file, data)[0] == [row]


@pytest.mark.parametrize(
    ("encoding", "bom"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
    ],
)
def test_a_byte_order_mark_names_the_encoding(file: Path, encoding: str, bom: bytes) -> None:
    assert read(file, bom + "q,a\né,日\n".encode(encoding))[0] == [{"q": "é", "a": "日"}]


def test_another_encoding_is_named(file: Path) -> None:
    data = "q,a\n1,2\ncafé,x\n".encode("cp1252")
    with pytest.raises(
        MissingOptionError, match=r"in\.csv:3: the text is not UTF-8; set `encoding`"
    ):
        read(file, data)
    assert read(file, data, encoding="cp1252")[0][1] == {"q": "café", "a": "x"}
    with pytest.raises(MissingOptionError, match=r"in\.csv:1: the text is not UTF-16"):
        read(file, b"\xff\xfeq\x00,\x00\xff", encoding=None)


@pytest.mark.parametrize("encoding", ["klingon", "base64", "a\x00b"])
def test_an_unknown_encoding_is_refused(file: Path, encoding: str) -> None:
    with pytest.raises(UsageError, match="no text encoding"):
        read(file, "q,a\n", encoding=encoding)


def test_gzip_is_unpacked_whatever_its_name(file: Path) -> None:
    assert read(file, gzip.compress(b"q,a\n1,2\n"))[0] == [{"q": "1", "a": "2"}]


def test_ragged_rows_are_rejected_with_their_line(file: Path) -> None:
    rows, audit = read(file, 'q,a\n"1\n1",2\n3\n\n4,5,6\n"7"x,8\n9,10\n')
    assert rows == [{"q": "1\n1", "a": "2"}, {"q": "9", "a": "10"}]
    assert [(entry.reason, entry.origin.line, entry.detail) for entry in audit.entries] == [
        ("too few cells", 4, "1 of 2"),
        ("blank line", 5, ""),
        ("too many cells", 6, "3 of 2"),
        ("text after a closing quote", 7, ""),
    ]


def test_lines_are_counted_from_the_first_of_the_file(file: Path) -> None:
    _, audit = read(file, "sep=;\nq;a\n1\n")
    assert audit.entries[0].origin.line == 3


def test_rejected_rows_are_kept_as_they_are(file: Path) -> None:
    kept: list[bytes] = []
    file.write_bytes('q,a\n"é\r\n2"\r\n'.encode())
    audit = Audit()
    audit.save_reject = kept.append
    [source] = open_sources(str(file), "files")
    assert list(read_delimited(source, audit, ReadOptions())) == []
    assert kept == ['"é\r\n2"'.encode()]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("q,,a\n", "column 2 has no name"),
        ("q,a,q \n", "columns 1 and 3 are both named"),
        ('"q" x,a\n', "text after a closing quote in the first row"),
        ('q,a\n1,2\n"3,4\n5,6\n', "in.csv:3: a quoted cell of this row never ends"),
        ('q,a\n1,2\n"3\n4"x,4\n5,6\n', "in.csv:3: text after a closing quote in a row of several"),
    ],
)
def test_a_broken_table_is_refused(file: Path, data: str, message: str) -> None:
    with pytest.raises(FileError, match=message):
        read(file, data)


def test_an_ambiguous_separator_must_be_named(file: Path) -> None:
    with pytest.raises(UsageError, match="a comma or a semicolon; name it as `delimiter`"):
        read(file, "a,b;c\n1,2;3\n")
    assert read(file, "a,b;c\n1,2;3\n", delimiter=";")[0] == [{"a,b": "1,2", "c": "3"}]
    assert read(file, "a|b\n1|2\n", delimiter="|")[0] == [{"a": "1", "b": "2"}]
    assert read(file, "a\tb\n1\t2\n", delimiter="tab")[0] == [{"a": "1", "b": "2"}]
    with pytest.raises(UsageError, match="`delimiter` must be one character"):
        read(file, "a,b\n", delimiter="::")


def test_a_cell_without_an_end_is_refused_in_bounded_memory(file: Path) -> None:
    with pytest.raises(FileError, match=r":2: a row of more than 16,000,000 characters"):
        read(file, b"q,a\n" + b"x" * 17_000_000)
    with pytest.raises(FileError, match=r":2: a row of more than 16,000,000 characters"):
        read(file, b'q,a\n"' + b"x,y\n" * 4_500_000)


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)


@given(rows=st.lists(st.tuples(cells, cells), max_size=8), delimiter=st.sampled_from(",;\t"))
def test_rows_that_csv_wrote_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "property.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerows([("q", "a"), *rows])
    values, _ = read(file, file.read_bytes(), delimiter=delimiter)
    assert values == [{"q": q, "a": a} for q, a in rows]
