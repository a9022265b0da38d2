"""Completion in a shell: scripts, commands, options and values."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ftkit.jobs.journal import Journal
from support.commands import run_ftkit
from support.paths import ROOT


def complete(line: str) -> list[str]:
    """Return the candidates for the last word of a command line."""
    words = line.split(" ")
    done = run_ftkit(
        env={
            "_FTKIT_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
            "FTKIT_STATE_DIR": "state",
        }
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        ("ftkit val", ["plain,validate"]),
        ("ftkit jobs l", ["plain,list"]),
        ("ftkit --ver", ["plain,--version", "plain,--verbose"]),
        ("ftkit jobs list --out", ["plain,--output", "plain,--output-file"]),
        ("ftkit jobs list --provider ne", ["plain,nebius"]),
        ("ftkit migrate x --to az", ["plain,azure"]),
        ("ftkit validate x --model gpt-4o-m", ["plain,gpt-4o-mini-2024-07-18"]),
        ("ftkit estimate x -m gpt-4o-m", ["plain,gpt-4o-mini-2024-07-18"]),
        ("ftkit submit x --provider local -m gpt-4o-m", []),
        ("ftkit models show gpt-4o-m", ["plain,gpt-4o-mini-2024-07-18"]),
        ("ftkit chat @", ["plain,@last"]),
        ("ftkit submit x -m @", []),
        ("ftkit compare @last gpt-4o-m", ["plain,gpt-4o-mini-2024-07-18"]),
        ("ftkit compare ./a", ["file,./a"]),
        ("ftkit rule json-sy", ["plain,json-syntax"]),
        ("ftkit validate x --ignore secret,json-sy", ["plain,secret,json-syntax"]),
        ("ftkit schema ch", ["plain,chat"]),
        ("ftkit validate tr", ["file,tr"]),
        ("ftkit submit tr", ["file,tr"]),
        ("ftkit validate x --facts fa", ["file,fa"]),
        ("ftkit archive save ba", ["dir,ba"]),
        ("ftkit validate x --output si", []),
        ("ftkit completion f", ["plain,fish"]),
    ],
)
def test_words_are_completed(line: str, candidates: list[str]) -> None:
    assert complete(line) == candidates


def test_ids_come_from_the_journal(tmp_path: Path) -> None:
    assert complete("ftkit jobs show f") == []
    assert not (tmp_path / "state").exists()
    journal = Journal(tmp_path / "state")
    for number in "12":
        journal.plan(number, "account", "key", {}, "data.jsonl")
        journal.mark_created(number, f"ftjob-{number}")
    journal.begin_upload("account", "hash", "data.jsonl", 1, "data.jsonl")
    journal.finish_upload("account", "hash", "file-1")
    assert complete("ftkit jobs show f") == ["plain,ftjob-2", "plain,ftjob-1"]
    assert complete("ftkit migrate ftjob-1") == ["plain,ftjob-1"]
    assert complete("ftkit files show f") == ["plain,file-1"]


def test_ids_that_a_shell_would_interpret_are_not_completed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state")
    ids = ("ftjob-1", "ftjob-$(x)\nplain,ftjob-2\x1b[2J", "ftjob-`x`", "ftjob-a b", "ftjob-é")
    for id in ids:
        journal.plan(id, "account", "key", {}, "data.jsonl")
        journal.mark_created(id, id)
    assert complete("ftkit jobs show f") == ["plain,ftjob-1"]


def test_nothing_is_printed_for_a_damaged_journal_or_settings(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "journal.db").write_bytes(b"no database" * 1000)
    (tmp_path / "pyproject.toml").write_text("[tool.ftkit]\nmodle = 1\n")
    assert complete("ftkit jobs show f") == []
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["journal.db"]
    assert complete("ftkit --version jobs l") == ["plain,list"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed_for_each_shell(shell: str) -> None:
    done = run_ftkit("completion", shell)
    assert done.returncode == 0
    assert f"_FTKIT_COMPLETE={shell}_complete" in done.stdout


def test_an_unknown_shell_is_one_line() -> None:
    done = run_ftkit("completion", "csh")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "'csh' is not one of" in done.stderr


def test_bash_completes_with_the_script(tmp_path: Path) -> None:
    program = tmp_path / "ftkit"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m ftkit "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(./ftkit completion bash)"; COMP_WORDS=(ftkit jobs wat); COMP_CWORD=2;'
        ' _ftkit_completion ./ftkit; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.stderr) == ("watch\n", "")
