"""Memory of the readers of large files."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow
import pytest
from pyarrow import ipc, parquet

SIZE = 200_000_000
"""Bytes of text in each file."""

CHAT_ROWS = 60_000
"""Questions and answers in a chat, whose messages take longer to read."""

LIMIT = 300
"""MiB that a reader may take."""

TEXT = "A sentence that stands for an answer. " * 20

pytestmark = pytest.mark.slow


def rows() -> Iterator[tuple[str, str]]:
    """Yield questions and answers, `SIZE` characters together."""
    return ((f"Question {number}?", f"{number} {TEXT}") for number in range(SIZE // 790))


def write_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *rows()])


def write_json(path: Path) -> None:
    with path.open("w") as file:
        for number, (question, answer) in enumerate(rows()):
            row = json.dumps({"question": question, "answer": answer}, indent=1)
            file.write(f"{',' if number else '['}\n{row}")
        file.write("]")


def write_telegram(path: Path) -> None:
    with path.open("w") as file:
        file.write('{"name": "Bob", "type": "personal_chat", "id": 1, "messages": [{"id": 0}')
        for number, (question, answer) in enumerate(islice(rows(), CHAT_ROWS)):
            for author, text in (("Bob", question), ("Ann", answer)):
                message = {"type": "message", "from": author, "text": text}
                file.write(",\n" + json.dumps({**message, "date_unixtime": str(1800 * number)}))
        file.write("]}")


def write_whatsapp(path: Path) -> None:
    with path.open("w") as file:
        for number, (question, answer) in enumerate(islice(rows(), CHAT_ROWS)):
            opening = f"{number // 400 % 28 + 1}.12.25, {number // 20 % 24}:{number % 60:02} - "
            file.write(f"{opening}Bob: {question}\n{opening}Ann: {answer}\n")


def write_xlsx(path: Path) -> None:
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    relation = f'<Relationship Id="r1" Type="{office}/'
    parts = {
        "_rels/.rels": f'<Relationships xmlns="{package}">{relation}officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}">{relation}worksheet" '
        'Target="sheet.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>',
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
        with archive.open("xl/sheet.xml", "w", force_zip64=True) as sheet:
            sheet.write(f'<worksheet xmlns="{main}"><sheetData>'.encode())
            for cells in (("question", "answer"), *rows()):
                texts = "".join(f'<c t="inlineStr"><is><t>{text}</t></is></c>' for text in cells)
                sheet.write(f"<row>{texts}</row>".encode())
            sheet.write(b"</sheetData></worksheet>")


def table() -> pyarrow.Table:
    questions, answers = zip(*rows(), strict=True)
    return pyarrow.table({"question": list(questions), "answer": list(answers)})


def write_parquet(path: Path) -> None:
    parquet.write_table(table(), path, row_group_size=20_000)


def write_arrow(path: Path) -> None:
    data = table()
    with ipc.new_file(path, data.schema) as writer:
        writer.write_table(data, max_chunksize=10_000)


READ = """
import re, sys, time
from ftkit.dataset.inputs import open_sources
from ftkit.prepare.file_formats import read_file
from ftkit.prepare.file_formats.base import ReadOptions
from ftkit.prepare.audit import Audit
start = time.process_time()
[source] = open_sources(sys.argv[1], "files")
options = ReadOptions(me="Ann" if sys.argv[2] == "chat" else None)
count = sum(1 for row in read_file(source, Audit(), options))
status = open("/proc/self/status").read()
print(count, int(re.search("VmHWM:[^0-9]*([0-9]+)", status)[1]) // 1024, time.process_time() - start)
"""


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("data.csv", write_csv),
        ("data.json", write_json),
        ("data.xlsx", write_xlsx),
        ("data.parquet", write_parquet),
        ("data.arrow", write_arrow),
        ("chat.json", write_telegram),
        ("chat.txt", write_whatsapp),
    ],
)
def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    path = tmp_path / name
    write(path)
    command = [sys.executable, "-c", READ, str(path), path.stem]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    count, peak, seconds = out.split()
    print(name, count, f"{peak} MiB, {path.stat().st_size / float(seconds) / 1e6:.0f} MB/s")
    assert int(count) == SIZE // 790 or path.stem == "chat"
    assert int(peak) < LIMIT
