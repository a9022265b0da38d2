"""Damaged files: each is read, or refused with a message of one line."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from pyarrow import feather, parquet

from ftkit.dataset.inputs import open_sources
from ftkit.errors import FtkitError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats import file_formats, read_file
from ftkit.prepare.file_formats.base import ReadOptions
from support.chat_exports import CHAT, WHATSAPP
from support.workbooks import HEADER, TEXTS, make

ROWS = [{"q": f"question {number}", "a": [{"b": number, "c": None}]} for number in range(20)]
XLSX_ROWS = "<row><c t='s'><v>1</v></c><c s='1'><v>46053</v></c></row>" * 5

WRITERS: dict[str, Callable[[Path], object]] = {
    "csv": lambda path: path.write_text('q,a\n"x ""y""\nz",1\n2,3\n'),
    "json": lambda path: path.write_text(json.dumps(ROWS, indent=1)),
    "jsonl": lambda path: path.write_text("\n".join(map(json.dumps, ROWS))),
    "parquet": lambda path: parquet.write_table(pyarrow.Table.from_pylist(ROWS), path),
    "arrow": lambda path: feather.write_feather(pyarrow.Table.from_pylist(ROWS), path),
    "xlsx": lambda path: make(path, HEADER + XLSX_ROWS, texts=TEXTS),
    "telegram": lambda path: path.write_text(json.dumps(CHAT)),
    "whatsapp": lambda path: path.write_text(WHATSAPP, "utf-8"),
}

MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    lambda random, data: data[: random.randrange(len(data))],
    lambda random, data: data[random.randrange(len(data)) :],
    lambda random, data: data.replace(data[(at := random.randrange(len(data))) : at + 3], b"\x00"),
    lambda random, data: data.replace(data[(at := random.randrange(len(data))) : at + 1], b'"'),
    lambda random, data: gzip.compress(data)[: random.randrange(10, 60)],
    lambda random, data: bytes(
        byte if random.random() > 0.01 else random.randrange(256) for byte in data
    ),
)


@pytest.mark.parametrize("name", [None, *WRITERS])
@pytest.mark.parametrize("written", WRITERS)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, written: str, name: str | None) -> None:
    path = tmp_path / "data"
    WRITERS[written](path)
    data = path.read_bytes()
    assert set(WRITERS) <= set(file_formats())
    for seed in range(12):
        rng = random.Random(seed)
        path.write_bytes(rng.choice(MUTATIONS)(rng, data))
        audit = Audit()
        try:
            [source] = open_sources(str(path), "files")
            options = ReadOptions()
            rows = list(read_file(source, audit, options, name))
        except FtkitError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            audit.written = len(rows)
            assert audit.is_balanced


HOSTILE = {
    "NUL in CSV": ("csv", b"q,a\n\x00x,y\n", 1, ""),
    "deep JSON": ("json", b"[" * 100_000, 0, "the JSON document does not end"),
    "deep element": ("json", b'[{"a":%s%s}]' % (b"[" * 9999, b"]" * 9999), 0, ""),
    "string without end": ("json", b'[{"a":"' + b"\\" * 100_001, 0, "does not end"),
    "footer of Parquet": ("parquet", b"PAR1" + b"\xff\xff\xff\x7fPAR1", 0, "footer"),
    "length in Arrow": ("arrow", b"\xff" * 7 + b"\x7f" + bytes(99), 0, "Expected to read"),
    "NUL in WhatsApp": ("whatsapp", b"1.1.26, 10:00 - Bob: \x00\n1.1.26, 10:00 - Ann: x", 1, ""),
    "odd Telegram values": (
        "telegram",
        b'{"messages":[{"type":"message","from":{},"text":{"a":1},"date":[]},'
        b'{"type":"message","from":"Ann","text":[1,null,{"text":5}]}]}',
        0,
        "",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_read_or_refused_in_one_line(tmp_path: Path, case: str) -> None:
    name, data, count, message = HOSTILE[case]
    path = tmp_path / "data"
    path.write_bytes(data)
    [source] = open_sources(str(path), "files")
    audit = Audit()
    me = "Ann" if "me" in file_formats()[name].options else None
    rows = read_file(source, audit, ReadOptions(me=me), name)
    if message:
        with pytest.raises(FtkitError, match=f"^[^\n]*{message}[^\n]*$"):
            list(rows)
    else:
        audit.written = len(list(rows))
        assert audit.written == count
        assert audit.is_balanced
