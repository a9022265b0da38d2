"""The command `ftkit show`, and its function."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import Result
from pyarrow import Table, parquet

from ftkit import FileError, UsageError
from ftkit.cli import cli
from ftkit.dataset.formats import FORMATS
from ftkit.prepare.show import show
from ftkit.tokens.counting import count
from support.examples import chat_lines
from support.hostile_texts import TEXTS
from support.paths import BAD, MARV, SAMPLES
from support.runner import cli_runner


def ftkit(*arguments: object) -> Result:
    runner = cli_runner()
    return runner.invoke(cli, ["show", *map(str, arguments)], standalone_mode=False)


TOOLS = """\
{file}:1  chat · 227 tokens, 21 trained

tools: find_recipe, convert_units

system  22 tokens
  You help in the kitchen. Use the tools to look up recipes and to convert units.

user  17 tokens
  What can I cook with a pumpkin in under 40 minutes?

assistant  21 tokens, trained
+ find_recipe({{"ingredient": "pumpkin", "max_minutes": 40}})  call_1
"""


def test_the_first_example_is_shown_as_a_conversation() -> None:
    file = SAMPLES / "tool-calls.jsonl"
    assert ftkit(file).stdout == TOOLS.format(file=file)


def test_a_line_and_a_number_of_examples_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\n".join(chat_lines(9, {4: b""})))
    shown = ftkit(f"{path}:3", "-n", 2).stdout
    assert [line.partition("  ")[0] for line in shown.splitlines() if "chat" in line] == [
        f"{path}:3",
        f"{path}:5",
    ]


@pytest.mark.parametrize("name", ["data.json", "data.parquet"])
def test_rows_of_other_files_are_shown_by_their_number(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    rows = list(map(json.loads, chat_lines(9)))
    if path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=2))
    else:
        parquet.write_table(Table.from_pylist(rows), path)
    (shown,) = show(path, line=3)
    (expected,) = show(rows, line=3)
    assert (shown.line, shown.turns) == (3, expected.turns)


def test_outputs_of_a_preference_example_have_headings() -> None:
    shown = ftkit(SAMPLES / "preference.jsonl").stdout
    assert shown.index("\npreferred output\n") < shown.index("\nother output\n")


def test_an_image_is_shown_by_its_size() -> None:
    assert "  [image 16x16]\n" in ftkit(SAMPLES / "images.jsonl").stdout


def test_the_example_as_json() -> None:
    (example,) = json.loads(ftkit(SAMPLES / "tool-calls.jsonl", "--output", "json").stdout)
    assert (example["line"], example["trained_tokens"]) == (1, 21)
    assert example["turns"][2]["calls"] == [
        {
            "name": "find_recipe",
            "arguments": '{"ingredient": "pumpkin", "max_minutes": 40}',
            "id": "call_1",
        }
    ]


def test_tokens_are_those_that_are_billed() -> None:
    format = FORMATS["chat"]
    lines = Path(MARV).read_bytes().splitlines()
    counts = count([format.decode(line) for line in lines], format, "cl100k_base")
    assert [example.tokens for example in show(MARV, count=1000)] == [
        counted.tokens for counted in counts
    ]


def test_a_message_of_weight_0_is_not_marked() -> None:
    example = {
        "messages": [
            {"role": "assistant", "content": "a", "weight": 0},
            {"role": "assistant", "content": "b"},
        ]
    }
    (shown,) = show([example])
    assert [turn.trained for turn in shown.turns] == [False, True]


@pytest.mark.parametrize("text", TEXTS)
def test_hostile_text_is_escaped(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    path = tmp_path / "data.jsonl"
    example = {
        "messages": [
            {"role": "user", "content": text, "name": text},
            {"role": "assistant", "content": text},
        ]
    }
    path.write_text(json.dumps(example) + "\n")
    plain = click.unstyle(ftkit(path).stdout)
    assert all(char.isprintable() or char in "\n\t" for char in plain)


def test_text_is_wrapped_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftkit.cli.show.terminal_width", lambda: 40)
    shown = ftkit(MARV).stdout
    assert max(map(len, shown.splitlines()[1:])) <= 40


def test_a_line_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"`line` is 99, but .* has 58 lines"):
        show(MARV, line=99)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("json-syntax", 5, "json-syntax.jsonl:5 is not JSON; `ftkit validate"),
        ("role-unknown", 4, "role-unknown.jsonl:4 is not a valid chat example; `ftkit validate"),
    ],
)
def test_an_invalid_example_is_an_error(name: str, line: int, message: str) -> None:
    path = Path(BAD).with_name(f"{name}.jsonl")
    with pytest.raises(FileError, match=message):
        show(path, line=line)
    assert show(path, line=line + 1)
