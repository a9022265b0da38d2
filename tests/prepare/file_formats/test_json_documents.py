"""JSON documents that are not JSON Lines."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.dataset.inputs import open_sources
from ftkit.errors import FileError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats.base import ReadOptions
from ftkit.prepare.file_formats.json_documents import find_layout, read_json, recognizes_json
from ftkit.prepare.file_formats.shared import json_scan
from ftkit.prepare.file_formats.shared.json_scan import Layout, split_json
from ftkit.prepare.rows import Row

NUMBERS = '{"a":1.10,"b":1E5,"c":123456789012345678901234567890,"d":-0,"e":0.1e-7}'


def read(path: Path, data: bytes | str) -> list[Row]:
    """Return the rows of a file with this content."""
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    [source] = open_sources(str(path), "files")
    audit = Audit()
    rows = list(read_json(source, audit, ReadOptions()))
    audit.written = len(rows)
    assert audit.is_balanced
    return rows


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "in.json"


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        ('[{"a":1},{"a":2}]', [1, 1]),
        ('[\n  {"a": 1},\n  {"a": 2}\n]\n', [2, 3]),
        ('[{\n"a":\n1}\n,\n{"a"\n:2}]', [1, 5]),
        ('{\n"a": 1\n}\n{\n"a": 2\n}\n', [1, 4]),
        ('{"a":1}{"a":2}', [1, 1]),
        ('{"n": {"x": {}}, "v": [1], "data": [{"a": 1}], "w": [{}]}', None),
        ('{"version": "1]", "data":\n[\n{"a": 1},\n{"a": 2}\n], "more": {"b": [2]}}\n', [3, 4]),
    ],
)
def test_every_layout_gives_its_objects(file: Path, data: str, lines: list[int] | None) -> None:
    if lines is None:
        with pytest.raises(FileError, match='two arrays of objects, "data" and "w"'):
            read(file, data)
        return
    rows = read(file, data)
    assert [row.value for row in rows] == [{"a": 1}, {"a": 2}]
    assert [row.origin.line for row in rows] == lines
    assert [row.origin.row for row in rows] == [1, 2]


@pytest.mark.parametrize("data", [f"[{NUMBERS}]", NUMBERS.replace(",", ",\n\t ")])
def test_numbers_are_written_as_they_were_read(file: Path, data: str) -> None:
    [row] = read(file, data)
    assert row.encode().decode() == NUMBERS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_names_the_encoding(file: Path, encoding: str) -> None:
    [row] = read(file, '[{"a": "é日"}]'.encode(encoding))
    assert row.value == {"a": "é日"}


def test_one_object_with_messages_is_a_row(file: Path) -> None:
    value = {"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function"}]}
    assert [row.value for row in read(file, json.dumps(value, indent=2))] == [value]


@pytest.mark.parametrize("data", ["[]", " [ ] \n", '{"data": []}'])
def test_a_document_may_have_no_rows(file: Path, data: str) -> None:
    rows = read(file, data)
    assert [row.value for row in rows] == ([{"data": []}] if "data" in data else [])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('[{"a":1},\n{"a":2}', ":2: the JSON document does not end"),
        ('[{"a":1},\n{"a":"2', ":2: the JSON document does not end"),
        ('[{"a":1},\n{"a":2}] {}', ":2: text behind the end of the JSON document"),
        ('[{"a":1}\n{"a":2}]', ":1: expected JSON objects separated by commas"),
        ('[{"a":1},\n7]', ":1: expected JSON objects separated by commas, not ',\\\\n7]'"),
        ('[{"a":1},]', ":1: expected JSON objects separated by commas"),
        ('[{"a":1}]]', "a closing bracket without an opening one"),
        ('{"data": [{"a":1}, 2]}', "expected JSON objects separated by commas"),
    ],
)
def test_a_broken_document_is_refused_with_its_line(file: Path, data: str, message: str) -> None:
    with pytest.raises(FileError, match=message):
        read(file, data)


def test_a_broken_element_is_rejected_with_its_line(file: Path) -> None:
    file.write_text('[{"a": 1},\n{"a": "x\ny"},\n{"a": tru\ne}, {"a": 2}]')
    [source] = open_sources(str(file), "files")
    audit = Audit()
    values = [row.value for row in read_json(source, audit, ReadOptions())]
    assert values == [{"a": 1}, {"a": 2}]
    assert [(entry.reason, entry.origin.line) for entry in audit.entries] == [
        ("not JSON", 2),
        ("not JSON", 4),
    ]


def test_an_element_without_an_end_is_refused_in_bounded_memory(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_scan, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(json_scan, "PIECE_BYTES", 100)
    with pytest.raises(FileError, match="an element has more than 1,000 bytes"):
        read(file, '[{"a": "' + "x" * 2000 + '"}]')


@pytest.mark.parametrize(
    ("path", "data", "is_document"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": 2}\n', False),
        ("a.json", b'{"a": 1}\n{"a": 2}\n', False),
        ("a.jsonl", b'{"a": 1', False),
        ("a.jsonl", b'{\n"a": 1\n}', True),
        ("a.jsonl", b'{"data": [{"a": 1}]}', False),
        ("a.jsonl", b"[]", False),
        ("a.jsonl", b'[{"a": 1}]', True),
        ("a.jsonl", b'[\n{"a": 1}\n]', True),
        ("a.jsonl", b'[{"role": "user"}]', False),
        ("a", b'[{"role": "user"}]\n[{"role": "user"}]\n', False),
        ("a", b'[{"role": "user"}]', True),
        ("a.json", b'{"data": [{"a": 1}]}', True),
        ("a.json", b'{\n"a": 1}', True),
        ("a.jsonl", b'{"a": tru}\n{"a": 2}\n', False),
        ("a.csv", b"a,b\n", False),
    ],
)
def test_documents_are_told_from_json_lines(path: str, data: bytes, is_document: bool) -> None:
    assert recognizes_json(path, data) == is_document


values = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=5,
    ),
    max_size=3,
)


@given(
    rows=st.lists(values, max_size=5), indent=st.none() | st.integers(0, 2), size=st.integers(1, 9)
)
def test_pieces_of_any_size_give_the_same_elements(
    rows: list[Any], indent: int | None, size: int
) -> None:
    class Pieces(io.BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            return super().read(size)

    array = json.dumps(rows, indent=indent, ensure_ascii=False).encode()
    elements = split_json(Pieces(array), "x", Layout.ARRAY)
    assert [json.loads(element.data) for element in elements] == rows
    wrapped = json.dumps({"[": [1, [2]], "data": [{}, *rows]}, indent=indent).encode()
    elements = split_json(Pieces(wrapped), "x", Layout.WRAPPED, b'"data"')
    assert find_layout(wrapped)[0] in (Layout.WRAPPED, Layout.VALUES)
    assert [json.loads(element.data) for element in elements][1:] == rows
