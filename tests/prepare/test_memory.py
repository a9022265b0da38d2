"""Memory of the commands that prepare data, which is that of the rows they hold at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

SMALL, LARGE, WHOLE = 20_000_000, 60_000_000, 1_000_000_000
"""Bytes of two files, and of the one that memory is extrapolated to."""

LIMIT = 300
"""MiB that a command may take for a file of `WHOLE` bytes."""

TEXT = "a word " * 60

CODE = """
import re, sys
from ftkit.cli import run
assert run(sys.argv[1:]) == 0
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""
"""Program that runs a command, and prints its peak memory in kB; `ru_maxrss` has that of its parent."""

Rows = Callable[[], Iterator[Any]]
Write = Callable[[Rows, int], Path]

pytestmark = pytest.mark.slow


def chats() -> Iterator[Any]:
    for number in count():
        texts = (("user", f"Question {number}? {TEXT}"), ("assistant", f"{TEXT} {number}"))
        yield {"messages": [{"role": role, "content": text} for role, text in texts]}


def sharegpt() -> Iterator[Any]:
    for number in count():
        turns = [{"from": role, "value": f"{number} {TEXT}"} for role in ("human", "gpt")]
        yield {"conversations": turns}


def labelled() -> Iterator[Any]:
    """Answers to a prompt in two rows, one behind the other."""
    for number in count():
        yield {"prompt": str(number // 2), "completion": TEXT * 2, "label": number % 2 == 0}


def broken() -> Iterator[Any]:
    """Rows of which some need a fix, which takes time."""
    for number, row in enumerate(chats()):
        yield row if number % 20 else {"mesages": row["messages"]}


RECIPE = """
sources = ["data.jsonl"]
outputs = { file = "out.jsonl", map = "map.jsonl" }
[[steps]]
step = "dedupe"
[[steps]]
step = "filter"
where = "chars > 10"
"""

OUT = "-o out.jsonl --map map.jsonl"

COMMANDS: dict[str, tuple[Rows, str]] = {
    "convert": (sharegpt, f"convert data.jsonl --to chat {OUT}"),
    "convert of rows that belong together": (labelled, f"convert data.jsonl --to preference {OUT}"),
    "fix": (broken, f"fix data.jsonl {OUT}"),
    "split": (chats, "split data.jsonl -o out --map map.jsonl"),
    "dedupe": (chats, f"dedupe data.jsonl {OUT}"),
    "mix": (chats, f"mix data.jsonl=1 {OUT}"),
    "sample": (chats, f"sample data.jsonl --count 9000 {OUT}"),
    "filter": (chats, f"filter data.jsonl --where messages>1 {OUT}"),
    "prepare": (chats, "prepare recipe.toml"),
}
"""Rows of a file, and the arguments of a command, by its name."""


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Write rows to a file of some size, once for all commands."""
    folder = tmp_path_factory.mktemp("data")

    def path_of(rows: Rows, size: int) -> Path:
        path = folder / f"{rows.__name__}-{size}.jsonl"
        if not path.exists():
            with path.open("w") as file:
                for row in rows():
                    file.write(f"{json.dumps(row)}\n")
                    if file.tell() > size:
                        break
        return path

    return path_of


def peak(arguments: str) -> float:
    """Return the peak memory of a command in MiB."""
    command = [sys.executable, "-c", CODE, *arguments.split(" ")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1]) / 1024


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_1_gb_takes_at_most_300_mib(name: str, tmp_path: Path, write: Write) -> None:
    rows, arguments = COMMANDS[name]
    (tmp_path / "recipe.toml").write_text(RECIPE)
    peaks = []
    for size in (SMALL, LARGE):
        data = tmp_path / "data.jsonl"
        data.unlink(missing_ok=True)
        data.symlink_to(write(rows, size))
        peaks.append(peak(arguments))
        for path in tmp_path.glob("out*"):
            path.unlink()  # split replaces no files
    growth = (peaks[1] - peaks[0]) / (LARGE - SMALL)
    whole = peaks[1] + growth * (WHOLE - LARGE)
    print(f"{name}: {peaks[0]:.0f}, {peaks[1]:.0f}, for 1 GB {whole:.0f} MiB")
    assert whole < LIMIT
