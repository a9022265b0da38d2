"""Memory of conversions, which does not depend on the size of the file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CODE = """\
import re, sys
from pathlib import Path
from ftkit.prepare.convert.convert import convert
prepared = convert(sys.argv[1], to=sys.argv[2])
assert prepared.write(Path(sys.argv[3]), Path(sys.argv[4])) and prepared.audit.is_balanced
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""
"""Program that prints its own peak memory in kB; `ru_maxrss` begins with that of its parent."""

SIZE = 200_000_000


def sharegpt_rows() -> Iterator[dict[str, Any]]:
    while True:
        turns = [{"from": role, "value": "a word " * 30} for role in ("human", "gpt")]
        yield {"conversations": turns}


def labelled_rows() -> Iterator[dict[str, Any]]:
    number = 0
    while True:
        number += 1
        text = "a word " * 60
        yield {"prompt": str(number // 2), "completion": text, "label": number % 2 == 0}


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "to"), [(sharegpt_rows, "chat"), (labelled_rows, "preference")])
def test_a_large_file_takes_little_memory(rows: Any, to: str, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    with path.open("w") as file:
        for row in rows():
            file.write(f"{json.dumps(row)}\n")
            if file.tell() > SIZE:
                break
    outputs = [str(tmp_path / name) for name in ("out", "map")]
    process = subprocess.run(
        [sys.executable, "-c", CODE, str(path), to, *outputs],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(process.stdout) < 160 * 1024
