"""Source rows of the lines of prepared files, by their maps, also through several preparations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftkit.errors import FileError, UsageError
from ftkit.prepare.audit import Origin
from ftkit.prepare.source_map import find_map, source_rows
from support.commands import run_ftkit

ROWS = [{"prompt": f"Question {number}", "completion": "Yes."} for number in range(40)]
REFUSED = "This file failed moderation safety checks. Flagged lines: 2, 4"


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> Path:
    """40 questions in a table."""
    path = tmp_path / "faq.csv"
    lines = (f"{row['prompt']},{row['completion']}\n" for row in ROWS)
    path.write_text(f"question,answer\n{''.join(lines)}")
    return path


def run(*arguments: str) -> str:
    done = run_ftkit(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def convert() -> None:
    run("convert", "faq.csv", "--to", "chat", "-o", "faq.jsonl", "--map", "faq.map.jsonl")


@pytest.mark.parametrize(
    ("file", "map", "is_found"),
    [
        ("a.jsonl", "a.map.jsonl", True),
        ("a.train.jsonl", "a.train.map.jsonl", True),
        ("a.train.jsonl", "a.map.jsonl", True),
        ("a.parquet", "a.map.jsonl", True),
        ("a.map.jsonl", "a.map.jsonl", False),
        ("a.jsonl", "b.map.jsonl", False),
        (".jsonl", ".map.jsonl", False),
        ("a.csv", "a.map.jsonl", False),
    ],
)
def test_a_map_is_found_beside_its_file(
    file: str, map: str, is_found: bool, tmp_path: Path
) -> None:
    (tmp_path / map).touch()
    assert find_map(tmp_path / file) == (tmp_path / map if is_found else None)


def test_explain_names_the_source_rows_of_the_lines() -> None:
    convert()
    shown = run("explain", REFUSED, "faq.jsonl")
    assert "faq.jsonl:2 was made of faq.csv:3\nfaq.jsonl:4 was made of faq.csv:5\n" in shown
    moved = Path("faq.map.jsonl").rename("other")
    assert "was made of" not in run("explain", REFUSED, "faq.jsonl")
    shown = run("explain", REFUSED, "--map", str(moved))
    assert "line 2 was made of faq.csv:3\nline 4 was made of faq.csv:5\n" in shown


def test_a_line_is_followed_through_all_preparations() -> None:
    convert()
    options = ("sample", "faq.jsonl", "--count", "20", "-o", "some.jsonl")
    run(*options, "--map", "some.map.jsonl")
    run("split", "some.jsonl", "--map", "some.train.map.jsonl")
    report = json.loads(run("explain", REFUSED, "some.train.jsonl", "--output", "json"))
    questions = [
        json.loads(line)["messages"][0]["content"]
        for line in Path("some.train.jsonl").read_text().splitlines()
    ]
    assert [(source["line"], len(source["rows"])) for source in report["sources"]] == [
        (2, 1),
        (4, 1),
    ]
    for source in report["sources"]:
        (row,) = source["rows"]
        table = Path("faq.csv").read_text().splitlines()
        assert (row["file"], table[row["line"] - 1]) == (
            "faq.csv",
            f"{questions[source['line'] - 1]},Yes.",
        )


def test_a_map_of_several_files_needs_the_name_of_one(tmp_path: Path) -> None:
    run("split", "faq.csv", "-o", "side", "--map", "side.map.jsonl")
    map = tmp_path / "side.map.jsonl"
    with pytest.raises(UsageError, match="the lines of several files"):
        source_rows(map, {1})
    train, test = (source_rows(map, {1}, f"side.{name}.jsonl")[1] for name in ("train", "test"))
    assert train != test


def test_a_line_that_the_map_lacks_is_said() -> None:
    convert()
    shown = run("explain", REFUSED.replace("4", "99"), "faq.jsonl")
    assert "faq.jsonl:2 was made of faq.csv:3\nfaq.jsonl:99 is not in the map.\n" in shown


def test_a_line_of_many_rows_names_the_first(tmp_path: Path) -> None:
    origins = [{"file": "chat.txt", "line": number} for number in range(1, 6)]
    Path("m").write_text(json.dumps({"line": 2, "sources": origins, "steps": []}))
    shown = run("explain", "failed moderation safety checks. Flagged lines: 2", "--map", "m")
    assert "line 2 was made of chat.txt:1, chat.txt:2, chat.txt:3 and 2 more\n" in shown
    assert len(source_rows(Path("m"), {2})[2]) == 5


@pytest.mark.parametrize(
    "content", ["{}\n", "\n", "not JSON\n", '{"line": 1, "sources": 2}', "\xff"]
)
def test_a_file_that_is_no_map_is_named_with_its_line(content: str) -> None:
    Path("m").write_bytes(content.encode("latin-1"))
    with pytest.raises(FileError, match=r"^m:1 is not a line of a map$"):
        source_rows(Path("m"), {1})


def test_files_that_are_made_of_each_other_are_followed_to_an_end() -> None:
    for name, other in (("a", "b"), ("b", "a")):
        Path(f"{name}.jsonl").write_text("{}\n")
        entry = {"line": 1, "sources": [{"file": f"{other}.jsonl", "line": 1}]}
        Path(f"{name}.map.jsonl").write_text(json.dumps(entry))
    (row,) = source_rows(Path("a.map.jsonl"), {1}, "a.jsonl")[1]
    assert isinstance(row, Origin)
