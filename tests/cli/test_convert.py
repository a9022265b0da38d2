"""The command `ftkit convert`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ftkit.cli import cli
from ftkit.cli.convert import WRITTEN
from ftkit.errors import UsageError
from ftkit.prepare.row_formats import row_formats
from support.paths import SAMPLES
from support.runner import cli_runner

SHAREGPT = str(SAMPLES / "convert" / "sharegpt.jsonl")
FAQ = str(SAMPLES / "convert" / "faq.jsonl")


def ftkit(*arguments: str) -> Result:
    return cli_runner().invoke(cli, ["convert", *arguments], standalone_mode=False)


def rows(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_file_is_converted(tmp_path: Path) -> None:
    result = ftkit(SHAREGPT, "--to", "chat", "-o", "out.jsonl", "--map", "map.jsonl")
    assert result.return_value == 0
    assert result.stdout.startswith("Read 3 rows, wrote 3 to out.jsonl.\n  noted by convert: ")
    assert len(rows((tmp_path / "out.jsonl").read_text())) == 3
    assert rows((tmp_path / "map.jsonl").read_text())[2]["sources"] == [
        {"file": SHAREGPT, "line": 3}
    ]


def test_rows_go_to_standard_output_and_the_report_to_standard_error() -> None:
    result = ftkit(SHAREGPT, "--to", "chat", "--report", "json")
    assert len(rows(result.stdout)) == 3
    assert json.loads(result.stderr)["note"] == 4


def test_lost_values_are_findings_and_nothing_is_written(tmp_path: Path) -> None:
    result = ftkit(FAQ, "--to", "chat", "--user", "q", "--assistant", "a", "-o", "out.jsonl")
    assert result.return_value == 1
    assert f"{FAQ}:1 /ctx" in result.stdout
    assert result.stderr == (
        "ftkit: nothing was written, since column 'ctx' is not used; use "
        "--on-loss allow to leave it out\n"
    )
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(("on_loss", "count", "code"), [("allow", 3, 1), ("drop-row", 0, 1)])
def test_what_happens_to_losses_can_be_chosen(on_loss: str, count: int, code: int) -> None:
    fields = ("--user", "q", "--field", "assistant=$.a", "--system", "Be brief.")
    result = ftkit(FAQ, "--to", "chat", *fields, "--on-loss", on_loss)
    assert result.return_value == code
    converted = rows(result.stdout)
    assert len(converted) == count
    for row in converted:
        assert row["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_mapping_file_names_the_fields_and_options_outweigh_it(tmp_path: Path) -> None:
    Path("mapping.toml").write_text('user = "q"\nassistant = "q"\n')
    result = ftkit(
        *(FAQ, "--to", "chat", "--mapping", "mapping.toml"),
        *("--assistant", "a", "--on-loss", "allow", "--prove"),
    )
    assert rows(result.stdout)[2]["messages"][1]["content"] == "No, but they need a lead."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--field", "user"], "--field must be ROLE=PATH, such as user=$.question, not 'user'"),
        (["--user", "q", "--from", "chat"], "exclude each other"),
        (["--from", "chats"], "did you mean 'chat'"),
    ],
)
def test_a_wrong_option_is_an_error(arguments: list[str], message: str) -> None:
    result = ftkit(FAQ, "--to", "chat", *arguments)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_an_unknown_format_of_rows_names_the_options() -> None:
    result = ftkit(FAQ, "--to", "chat")
    assert "set `--from` to the format, or `--field` to the path" in str(result.exception)


def test_the_help_names_all_formats_that_are_written() -> None:
    assert set(WRITTEN) == {name for name, format in row_formats().items() if format.write}
