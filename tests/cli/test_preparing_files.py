"""Files that are not JSON Lines: all commands that prepare data read and write them."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import Table, parquet

from support.commands import run_ftkit
from support.paths import SAMPLES
from support.workbooks import make

ROWS = [{"prompt": f"Question {number}", "completion": "Yes."} for number in range(20)]

COMMANDS = {
    "split": ("split", "{}", "-o", "{out}"),
    "dedupe": ("dedupe", "{}", "-o", "{out}"),
    "dedupe against": ("dedupe", "other.jsonl", "--against", "{}", "-o", "{out}"),
    "decontaminate": ("decontaminate", "{}", "--against", "other.jsonl", "-o", "{out}"),
    "decontaminate against": ("decontaminate", "other.jsonl", "--against", "{}", "-o", "{out}"),
    "mix": ("mix", "{}=1", "-o", "{out}"),
    "sample": ("sample", "{}", "--fraction", "1", "-o", "{out}"),
    "filter": ("filter", "{}", "--where", "$.prompt != null", "-o", "{out}"),
}
"""Commands that keep all rows of a file, or that compare another one with it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the rows in files of several formats."""
    lines = "".join(f"{row['prompt']},{row['completion']}\n" for row in ROWS)
    Path("rows.csv").write_text(f"prompt,completion\n{lines}")
    Path("rows.json").write_text(json.dumps(ROWS, indent=2))
    parquet.write_table(Table.from_pylist(ROWS), "rows.parquet")
    Path("other.jsonl").write_text('{"prompt": "Another one", "completion": "No."}\n')
    return tmp_path


def fill(arguments: tuple[str, ...], name: str, output: str) -> list[str]:
    return [argument.format(name, out=output) for argument in arguments]


def lines(path: Path) -> list[Any]:
    return list(map(json.loads, path.read_text().splitlines()))


def in_order(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: int(row["prompt"].split()[-1]))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.parquet"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_reads_files_of_all_formats(command: str, name: str) -> None:
    done = run_ftkit(*fill(COMMANDS[command], name, "out"))
    assert (done.returncode, done.stderr) == (0, "")
    rows = [row for path in sorted(Path().glob("out*")) for row in lines(path)]
    other = lines(Path("other.jsonl"))
    assert rows == other if command.endswith("against") else in_order(rows) == ROWS


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", [name for name in COMMANDS if " " not in name])
def test_a_command_writes_parquet(command: str) -> None:
    done = run_ftkit(*fill(COMMANDS[command], "rows.csv", "out.parquet"))
    assert (done.returncode, done.stderr) == (0, "")
    tables = [parquet.read_table(path).to_pylist() for path in Path().glob("out*.parquet")]
    assert len(tables) == (3 if command == "split" else 1)
    assert in_order([row for table in tables for row in table]) == ROWS


def test_split_writes_no_file_if_one_of_them_cannot_be_parquet(tmp_path: Path) -> None:
    rows = [{"prompt": str(number), "value": number} for number in range(20)]
    mixed = [*rows, *({**row, "value": [1]} for row in rows)]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in mixed))
    done = run_ftkit("split", "data.jsonl", "-o", "out.parquet")
    assert done.returncode == 2
    assert "Parquet cannot hold the values of 'value' in one column" in done.stderr
    assert list(tmp_path.iterdir()) == [data]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", ["dedupe", "sample", "filter", "decontaminate"])
def test_a_table_is_not_replaced_by_json_lines(command: str) -> None:
    before = Path("rows.csv").read_bytes()
    done = run_ftkit(*fill(COMMANDS[command][:-2], "rows.csv", ""), "--in-place")
    assert done.returncode == 2
    assert "--in-place writes JSON Lines, but rows.csv is csv; use -o" in done.stderr
    assert Path("rows.csv").read_bytes() == before


@pytest.mark.parametrize("name", ["out.jsonl.gz", "out.csv", "out.XLSX"])
def test_a_name_that_promises_another_format_is_refused(name: str, folder: Path) -> None:
    done = run_ftkit("sample", "rows.csv", "-n", "1", "-o", name)
    assert (done.returncode, "ftkit writes JSON Lines, or Parquet" in done.stderr) == (2, True)
    assert not (folder / name).exists()


def test_fix_refuses_to_write_parquet(folder: Path) -> None:
    done = run_ftkit("fix", "other.jsonl", "-o", "out.parquet")
    assert (done.returncode, "fix writes JSON Lines" in done.stderr) == (2, True)
    assert not (folder / "out.parquet").exists()


def test_a_chat_must_be_converted_first(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "convert" / "chat.txt", tmp_path)
    done = run_ftkit("sample", "chat.txt", "-n", "1")
    assert done.returncode == 2
    assert "ftkit convert chat.txt --to chat --me NAME -o chat.jsonl" in done.stderr


UNCONVERTED = {
    "qa.csv": (
        "question,answer\nWhat?,That.\n",
        "(CSV or TSV); run `ftkit convert qa.csv --to chat -o qa.jsonl` first",
    ),
    "own.csv": (
        "Frage,Antwort\nWas?,Das.\n",
        "(CSV or TSV); run `ftkit convert own.csv --to chat -o own.jsonl` first",
    ),
    "talk.jsonl": (
        '{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hey"}]}\n',
        "(ShareGPT conversations); run "
        "`ftkit convert talk.jsonl --to chat -o talk-chat.jsonl` first",
    ),
    "pairs.jsonl": (
        '{"prompt": "Hi", "chosen": "Hey", "rejected": "No"}\n',
        "(TRL preference rows); run "
        "`ftkit convert pairs.jsonl --to preference -o pairs-preference.jsonl` first",
    ),
}
"""Files without examples: their content, and the end of the message."""


@pytest.mark.parametrize("command", [("show",), ("filter", "--where", "tokens < 9", "-o", "x")])
@pytest.mark.parametrize("name", UNCONVERTED)
def test_a_file_without_examples_must_be_converted_first(
    name: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    content, end = UNCONVERTED[name]
    Path(name).write_text(content)
    done = run_ftkit(*command, name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"ftkit: {name} has no examples of a known format {end}\n"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_with_some_examples_is_filtered(tmp_path: Path) -> None:
    content, _ = UNCONVERTED["talk.jsonl"]
    Path("mixed.jsonl").write_text(f'{content}{{"prompt": "a", "completion": "b"}}\n')
    done = run_ftkit("filter", "mixed.jsonl", "--where", "tokens < 9", "--rejects", "x")
    assert (done.returncode, done.stdout) == (1, '{"prompt": "a", "completion": "b"}\n')
    assert (tmp_path / "x").read_text() == content


def sheets(path: Path) -> None:
    row = "<row><c t='str'><v>prompt</v></c><c t='str'><v>completion</v></c></row>"
    make(path, row, row + row.replace("prompt", "a"))


NEEDS_OPTION: dict[str, tuple[str, Callable[[Path], object]]] = {
    "latin.csv": (
        "latin.csv:2: the text is not UTF-8; run `ftkit convert latin.csv --encoding cp1252",
        lambda path: path.write_bytes(b"prompt,completion\ncaf\xe9,x\n"),
    ),
    "two.csv": (
        "two.csv: cells may be separated by a comma or a semicolon; run `ftkit convert two.csv "
        "--delimiter ';'",
        lambda path: path.write_text("prompt,;completion\na,;b\n"),
    ),
    "sheets.xlsx": (
        "sheets.xlsx: it has several sheets; run `ftkit convert sheets.xlsx --sheet S1",
        sheets,
    ),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", NEEDS_OPTION)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_needs_an_option_must_be_converted_first(command: str, name: str) -> None:
    message, write = NEEDS_OPTION[name]
    write(Path(name))
    done = run_ftkit(*fill(COMMANDS[command], name, "out"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"ftkit: {message} --to chat -o ")


def test_the_command_that_is_named_converts_the_file(tmp_path: Path) -> None:
    Path("latin.csv").write_bytes(b"prompt,completion\ncaf\xe9,x\n")
    error = run_ftkit("dedupe", "latin.csv").stderr
    named = shlex.split(error.split("`")[1])
    assert run_ftkit(*named[1:]).returncode == 0
    assert lines(tmp_path / "latin.jsonl")[0]["messages"][0]["content"] == "café"
