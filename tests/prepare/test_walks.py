"""People with data in other formats: from their file to one that validates and trains.

They use only commands and options that `--help` shows.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.commands import run_ftkit
from support.local_server import LocalServer
from support.models import SMOKE
from support.walked_files import (
    write_chatgpt_export,
    write_tool_logs,
    write_ultrafeedback,
    write_workbook,
)
from support.walking import User


class Walk(NamedTuple):
    """What a person runs until the data is converted: commands and their exit codes."""

    write: Callable[[Path], str]
    commands: tuple[tuple[str, int], ...]
    method: str = "supervised"


COLUMNS = "--user 'Customers ask' --assistant 'We answer'"

WALKS = {
    "questions in a workbook": Walk(
        write_workbook,
        (
            ("ftkit convert faq.xlsx --to chat -o data.jsonl", 2),
            (f"ftkit convert faq.xlsx --to chat {COLUMNS} -o data.jsonl", 1),
            (f"ftkit convert faq.xlsx --to chat {COLUMNS} --on-loss allow -o data.jsonl", 1),
        ),
    ),
    "ChatGPT export": Walk(
        write_chatgpt_export,
        (
            ("ftkit convert conversations.json --to chat -o data.jsonl", 1),
            ("ftkit convert conversations.json --to chat --on-loss drop-row -o data.jsonl", 0),
        ),
    ),
    "UltraFeedback in Parquet": Walk(
        write_ultrafeedback,
        (
            ("ftkit convert 'train_prefs-*.parquet' --to preference -o data.jsonl", 1),
            (
                "ftkit convert 'train_prefs-*.parquet' --to preference --on-loss allow "
                "-o data.jsonl",
                1,
            ),
        ),
        "dpo",
    ),
    "Anthropic tool logs": Walk(
        write_tool_logs,
        (
            ("ftkit convert tool-logs.jsonl --to chat -o data.jsonl", 1),
            ("ftkit convert tool-logs.jsonl --to chat --on-loss allow -o data.jsonl", 1),
        ),
    ),
}
"""Walks by the data at their start. A conversion that leaves values out has exit code 1."""


def run_from_help(line: str, code: int) -> str:
    """Run a command whose name and options the help has, and return what it prints."""
    _, name, *arguments = shlex.split(line)
    assert re.search(rf"^ +{name} ", run_ftkit("--help").stdout, re.MULTILINE)
    shown = run_ftkit(name, "--help").stdout
    for option in (word for word in arguments if word.startswith("-")):
        assert re.search(rf"(^|[ ,]){option}\b", shown, re.MULTILINE), option
    return User("pipe").run(line, code, fits=False).text


def convert(walk: Walk, folder: Path) -> None:
    walk.write(folder)
    for number, (line, code) in enumerate(walk.commands, 1):
        shown = run_from_help(line, code)
        assert Path("data.jsonl").exists() == (number == len(walk.commands)), shown


@pytest.mark.parametrize("name", WALKS)
def test_data_of_other_formats_becomes_a_file_that_validates_clean(
    name: str, tmp_path: Path
) -> None:
    convert(WALKS[name], tmp_path)
    shown = run_from_help("ftkit validate data.jsonl", 0)
    assert re.search(r"All clear: (54|60) examples in 1 file\.", shown)


def test_the_first_error_about_a_workbook_has_its_columns_and_the_command(tmp_path: Path) -> None:
    write_workbook(tmp_path)
    shown = run_ftkit("convert", "faq.xlsx", "--to", "chat").stderr
    assert "its keys are 'Customers ask, We answer, Seen by'" in shown
    assert shown.endswith(
        "replace COL by the names of your columns: "
        "ftkit convert faq.xlsx --user COL --assistant COL --to chat\n"
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with LocalServer(tmp_path_factory.mktemp("service") / "data") as server:
        yield server


@pytest.mark.training
@pytest.mark.parametrize("name", WALKS)
def test_data_of_other_formats_trains_on_the_local_service(
    name: str, tmp_path: Path, service: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTKIT_DATA_DIR", str(service.folder))
    monkeypatch.setenv("FTKIT_STATE_DIR", str(tmp_path / "state"))
    convert(WALKS[name], tmp_path)
    options = f"--provider local --model {SMOKE} --epochs 1 --batch-size 20 --watch --yes"
    shown = run_from_help(f"ftkit submit data.jsonl {options}", 0)
    with service.client() as client:
        (job,) = client.fine_tuning.jobs.list().data[:1]
    assert (job.status, job.method and job.method.type) == ("succeeded", WALKS[name].method)
    assert "ftkit chat" in shown
