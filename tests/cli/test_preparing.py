"""The commands that split, deduplicate, sample and mix files: outputs, reports and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.commands import run_ftkit

ROWS = [{"prompt": f"Question {number}", "completion": "Yes."} for number in range(20)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file of 20 rows and a copy of the first one."""
    path = tmp_path / "data.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*ROWS, ROWS[0]]))
    return path


def lines(name: str) -> list[Any]:
    return list(map(json.loads, Path(name).read_text().splitlines()))


def test_split_writes_a_file_for_each_side(data: Path) -> None:
    done = run_ftkit("split", "data.jsonl", "--near", "1", "--map", "map.jsonl")
    sides = {side: lines(f"data.{side}.jsonl") for side in ("train", "validation", "test")}
    counts = [f"{len(rows):,} to data.{side}.jsonl" for side, rows in sides.items()]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"Read 21 rows, wrote {', '.join(counts)}.\n"
        "Leak-free: no prompt is on two sides, nor are prompts with a similarity of 1 or more.\n"
    )
    assert len(lines("map.jsonl")) == 21
    assert sorted(str(row) for side in sides.values() for row in side) == sorted(
        map(str, [*ROWS, ROWS[0]])
    )


def test_split_reads_standard_input_and_compressed_files(data: Path) -> None:
    done = run_ftkit("split", "-", input=data.read_bytes())
    assert (done.returncode, "`--output-prefix` is needed" in done.stderr) == (2, True)
    options = ("-o", "x", "--report", "json", "--ratio", "0.5,0.5", "--exact-size")
    done = run_ftkit("split", "-", *options, input=data.read_bytes())
    report = json.loads(done.stdout)
    assert report["outputs"] == {"train": "x.train.jsonl", "validation": "x.validation.jsonl"}
    assert sorted(report["sizes"].values()) == [10, 11]
    assert (report["leak_free"], report["read"], report["written"]) == (True, 21, 21)


def test_split_keeps_sides_with_a_lock_file(data: Path) -> None:
    assert run_ftkit("split", "data.jsonl", "--lock", "x.lock").returncode == 0
    before = lines("data.train.jsonl")
    data.write_text('{"prompt": "new"}\n' + data.read_text())
    done = run_ftkit("split", "data.jsonl", "--lock", "x.lock")
    assert done.returncode == 0
    assert [row for row in lines("data.train.jsonl") if row in before] == before
    assert len(lines("x.lock")) == 1 + 21


def test_split_writes_nothing_if_rows_are_rejected(data: Path) -> None:
    data.write_text(data.read_text() + "{\n")
    done = run_ftkit("split", "data.jsonl")
    assert (done.returncode, list(data.parent.iterdir())) == (1, [data])
    assert "use --rejects FILE to go on" in done.stderr
    assert "Leak-free" not in done.stdout
    assert run_ftkit("split", "data.jsonl", "--rejects", "bad").returncode == 1
    assert Path("bad").read_text() == "{\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ratio", "a"), "Invalid value for '--ratio': 'a' is not a list of numbers"),
        (("--ratio", "0.5,0.4"), "the numbers of `--ratio` must add up to 1, not 0.9"),
        (("--near", "0.1"), "`--near` must be from 0.7 to 1, not 0.1"),
        (("--map", "data.jsonl"), "data.jsonl is an input; name another file to write"),
        (("--lock", "data.jsonl"), "data.jsonl is an input"),
        (("--lock", "data.test.jsonl"), "is named for two outputs"),
        (("--lock", "nowhere/lock"), "cannot write nowhere/lock: no such file or directory"),
        (("--stratify", "prompt", "--exact-size", "--ratio", "0.5,0.5"), None),
    ],
)
def test_split_refuses_what_it_cannot_do(
    arguments: tuple[str, ...], message: str | None, data: Path
) -> None:
    done = run_ftkit("split", "data.jsonl", *arguments)
    if message is None:
        assert done.returncode == 0
    else:
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert list(data.parent.iterdir()) == [data]


def test_dedupe_writes_the_remaining_rows(data: Path) -> None:
    done = run_ftkit("dedupe", "data.jsonl")
    assert (done.returncode, list(map(json.loads, done.stdout.splitlines()))) == (0, ROWS)
    assert done.stderr == (
        "Read 21 rows, wrote 20 to standard output, dropped 1.\n"
        "  dropped by dedupe: duplicate: 1 (data.jsonl:21 'of data.jsonl:1')\n"
    )


def test_dedupe_checks_without_writing(data: Path) -> None:
    done = run_ftkit("dedupe", "data.jsonl", "--check")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("Read 21 rows, 20 remain, dropped 1.\n")
    assert run_ftkit("dedupe", "data.jsonl", "--in-place", "--report", "json").returncode == 0
    done = run_ftkit("dedupe", "-", "--check", input=data.read_bytes())
    assert (done.returncode, done.stdout) == (0, "Read 20 rows, 20 remain.\n")
    done = run_ftkit("dedupe", "data.jsonl", "--check", "-o", "x")
    assert done.stderr == "ftkit: `--check` writes nothing; leave out `--output-file`\n"


def test_dedupe_compares_with_other_files(data: Path) -> None:
    Path("other.jsonl").write_text(json.dumps(ROWS[3]))
    done = run_ftkit("dedupe", "data.jsonl", "--against", "other.*", "--near", "0.7", "-o", "x")
    assert done.returncode == 0
    assert "dropped by dedupe: duplicate of the other files: 1 (data.jsonl:4" in done.stdout
    done = run_ftkit("dedupe", "data.jsonl", "--against", "other.jsonl", "-o", "other.jsonl")
    assert (done.returncode, "other.jsonl is an input" in done.stderr) == (2, True)
