"""Parquet and Arrow files."""

from __future__ import annotations

import datetime
import gzip
import json
import math
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, ipc, parquet

from ftkit.dataset.inputs import open_sources
from ftkit.errors import FileError, UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats import detect_file, read_file
from ftkit.prepare.file_formats.base import ReadOptions
from ftkit.prepare.prepared import prepare_files

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CHAT: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
            {"role": "assistant", "content": "b", "weight": 1},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    },
]


def table(rows: list[dict[str, Any]]) -> pyarrow.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return pyarrow.table({name: [row.get(name) for row in rows] for name in names})


def read(path: Path) -> tuple[list[Any], Audit]:
    [source] = open_sources(str(path), "files")
    audit = Audit()
    rows = [row.value for row in read_file(source, audit, ReadOptions())]
    audit.written = len(rows)
    assert audit.is_balanced
    return rows, audit


def write_stream(table: pyarrow.Table, path: Path) -> None:
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def write_file(table: pyarrow.Table, path: Path) -> None:
    with ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)


@pytest.mark.parametrize(
    "write", [parquet.write_table, feather.write_feather, write_file, write_stream]
)
def test_nulls_that_arrow_added_are_not_in_the_rows(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "data"
    write(table(CHAT), path)
    rows, audit = read(path)
    assert rows == CHAT
    assert audit.entries == []


def test_nulls_in_arguments_are_kept_and_noted(tmp_path: Path) -> None:
    rows = [{"calls": [{"arguments": {"a": 1}}, {"arguments": {"b": None, "c": 2}}]}]
    path = tmp_path / "data"
    parquet.write_table(table(rows), path)
    _, audit = read(path)
    assert [(entry.effect, entry.pointer) for entry in audit.entries] == [
        ("note", "/calls/0/arguments/b"),
        ("note", "/calls/0/arguments/c"),
        ("note", "/calls/1/arguments/a"),
        ("note", "/calls/1/arguments/b"),
    ]


PARAMETERS = {
    "properties": {"a": {"type": "integer"}, "b": {"type": ["string", "null"]}, "n": {"enum": [1]}},
    "required": ["n"],
}
SIZES = {"properties": {"size": {"type": "string"}, "n": {"type": "string"}}, "required": ["n"]}
TOOLS = [
    {"type": "function", "function": {"name": "f", "parameters": PARAMETERS}},
    {"type": "function", "function": {"name": "g", "parameters": SIZES}},
]


def test_nulls_in_arguments_that_the_tools_do_not_allow_are_removed(tmp_path: Path) -> None:
    calls = [{"a": 1, "b": "x", "n": 1, "size": None}, {"a": None, "b": None, "n": None}]
    rows = [
        {
            "calls": [
                *({"function": {"name": "f", "arguments": call}} for call in calls),
                {"function": {"name": "g", "arguments": {"size": None, "n": None}}},
                {"function": {"name": "h", "arguments": {"size": None}}},
            ],
            "tools": json.dumps(TOOLS),
        }
    ]
    path = tmp_path / "data"
    parquet.write_table(table(rows), path)
    [row], audit = read(path)
    assert [call["function"]["arguments"] for call in row["calls"]] == [
        {"a": 1, "b": "x", "n": 1},
        {"b": None, "n": None},
        {"n": None},
        {"a": None, "b": None, "n": None, "size": None},
    ]
    assert len(audit.entries) == 7


@pytest.mark.parametrize(
    ("values", "result"),
    [
        (pyarrow.array(["00501"]), "00501"),
        (pyarrow.array(["NA"]).dictionary_encode(), "NA"),
        (pyarrow.array([2**63 - 1]), 2**63 - 1),
        (pyarrow.array([True]), True),
        (pyarrow.array([0.1]), 0.1),
        (pyarrow.array([datetime.date(2026, 1, 31)]), "2026-01-31"),
        (pyarrow.array([datetime.datetime(2026, 1, 31, 10)]), "2026-01-31T10:00:00"),
        (pyarrow.array([[None, "x"]]), [None, "x"]),
        (pyarrow.array([[("k", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())), {"k": 1}),
        (pyarrow.array([[[{"a": None, "b": [1.5]}]]]), [[{"b": [1.5]}]]),
    ],
)
def test_a_value_becomes_json(tmp_path: Path, values: Any, result: Any) -> None:
    path = tmp_path / "data"
    parquet.write_table(pyarrow.table({"x": values}), path)
    assert read(path)[0] == [{"x": result}]


def test_values_that_json_cannot_hold_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "data"
    parquet.write_table(pyarrow.table({"x": [1.0, float("nan")], "y": [b"\xff", None]}), path)
    rows, audit = read(path)
    assert rows == [{"x": 1.0, "y": None}]
    assert [(entry.effect, entry.reason, entry.origin.row) for entry in audit.entries] == [
        ("loss", "binary value", 1),
        ("rejected", "a number that JSON cannot hold", 2),
    ]


def test_rejected_rows_are_objects(tmp_path: Path) -> None:
    path = tmp_path / "data"
    lines: list[bytes] = []
    columns = {"x": [{"a": [math.nan]}], "day": [datetime.date(2026, 1, 31)], "y": [b"\xff"]}
    parquet.write_table(pyarrow.table(columns), path)
    [source] = open_sources(str(path), "files")
    audit = Audit()
    audit.save_reject = lines.append
    assert list(read_file(source, audit, ReadOptions())) == []
    assert json.loads(lines[0]) == {"x": {"a": ["nan"]}, "day": "2026-01-31", "y": "/w=="}


def test_broken_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data"
    parquet.write_table(table(CHAT), path)
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    with pytest.raises(FileError, match=r"cannot read .*; is the file complete\?"):
        read(path)
    path.write_bytes(gzip.compress(data))
    with pytest.raises(FileError, match="is compressed; unpack it with gunzip to read Parquet"):
        read(path)
    path.write_bytes(data)
    with path.open("rb") as file:
        [source] = open_sources(file, "files")
        with pytest.raises(FileError, match="is a stream; write it to a file first"):
            list(read_file(source, Audit(), ReadOptions()))
    parquet.write_table(pyarrow.table([[1], [2]], names=["a", "a"]), path)
    with pytest.raises(FileError, match="several columns named 'a'"):
        read(path)


def test_without_pyarrow_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        UsageError, match=r"need pyarrow; install it with: pip install '.*\[tables\]'"
    ):
        read(path)
    with pytest.raises(UsageError, match="need pyarrow"):
        prepare_files([{"a": 1}], []).write(tmp_path / "x.parquet")


def test_what_is_written_to_parquet_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    assert prepare_files(CHAT, []).write(path)
    [source] = open_sources(str(path), "files")
    assert detect_file(source).name == "parquet"
    assert read(path)[0] == CHAT


rows = st.lists(
    st.fixed_dictionaries(
        {"a": st.text(max_size=3)},
        optional={
            "b": st.integers(-(2**63), 2**63 - 1),
            "c": st.lists(
                st.fixed_dictionaries(
                    {}, optional={"d": st.text(max_size=3), "e": st.booleans()}
                ).filter(bool),
                max_size=3,
            ),
        },
    ),
    min_size=1,
    max_size=5,
)


@given(rows=rows)
def test_rows_of_one_shape_survive_parquet(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "property.parquet"
    prepare_files(rows, []).write(path)
    assert read(path)[0] == rows


def test_types_that_parquet_cannot_hold_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    with pytest.raises(FileError, match="Parquet cannot hold the values of 'a' in one column"):
        prepare_files([{"a": "x"}, {"a": ["y"]}], []).write(path)
    assert not path.exists()
    with pytest.raises(FileError, match="write JSON Lines instead"):
        prepare_files([{"a": {}}], []).write(path)
    assert list(tmp_path.iterdir()) == []
