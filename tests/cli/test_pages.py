"""Pages that commands write and open, and progress without a terminal."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ftkit.cli import output
from support.commands import run_ftkit
from support.paths import SAMPLES

RECORDED = SAMPLES / "compare"


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which a web browser writes the address that it is given."""
    browser, record = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {record}\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    return record


def compare(*options: str) -> tuple[int, str]:
    files = (str(RECORDED / name) for name in ("tuned.jsonl", "base.jsonl"))
    prompts = ("--prompts", str(RECORDED / "prompts.jsonl"))
    done = run_ftkit("compare", *files, *prompts, *options)
    return done.returncode, done.stderr


def test_a_page_is_named_and_opened(opened: Path, tmp_path: Path) -> None:
    assert compare("--html", "page one.html") == (0, "wrote page one.html\n")
    assert not opened.exists()
    assert compare("--html", "page one.html", "--open") == (0, "wrote page one.html\n")
    assert opened.read_text().strip() == (tmp_path / "page one.html").as_uri()


@pytest.mark.parametrize("command", ["compare", "metrics"])
def test_there_must_be_a_page_to_open(command: str) -> None:
    if command == "compare":
        assert compare("--open") == (2, "ftkit: --open needs --html\n")
    else:
        done = run_ftkit("jobs", "metrics", "ftjob-1", "--open")
        assert (done.returncode, done.stderr) == (2, "ftkit: --open needs --plot\n")


def test_progress_without_a_terminal_is_a_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "PROGRESS_SECONDS", 0.2)
    with output.progress_bar() as update:
        update("asking m", 1, 1200)
        time.sleep(0.2)
        update("asking m", 1100, 1200)
        update("asking m", 1101, 1200)
        time.sleep(0.2)
        update("reading", 5, 0)
    assert capsys.readouterr().err == "asking m: 1,100 of 1,200\nreading: 5\n"
