"""The command `ftkit samples`. In tox, the samples come from the wheel."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ftkit.cli import cli
from ftkit.errors import FtkitError
from support.paths import SAMPLES


def ftkit(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["samples", *arguments])


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_samples_are_those_of_the_project(tmp_path: Path) -> None:
    result = ftkit()
    assert result.output == f"Copied {len(contents(SAMPLES))} files to samples.\n"
    assert contents(tmp_path / "samples") == contents(SAMPLES)
    assert os.listdir(tmp_path) == ["samples"]
    assert oct((tmp_path / "samples" / "marv.jsonl").stat().st_mode & 0o600) == "0o600"


def test_the_folder_can_be_named(tmp_path: Path) -> None:
    result = ftkit(str(tmp_path / "x"), "--output", "json")
    assert json.loads(result.stdout)["folder"] == str(tmp_path / "x")
    assert json.loads(result.stdout)["files"] == sorted(contents(SAMPLES))


@pytest.mark.parametrize("is_empty", [True, False])
def test_nothing_is_overwritten(is_empty: bool, tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    if not is_empty:
        (tmp_path / "samples" / "marv.jsonl").write_text("mine")
    before = contents(tmp_path)
    result = ftkit()
    assert isinstance(result.exception, FtkitError)
    assert str(result.exception) == (
        "samples exists; name another folder, as in `ftkit samples samples2`"
    )
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("folder", "other"),
    [
        ("sp ace", "'sp ace2'"),
        ("e/", "e2"),
        ("./e//", "e2"),
        (".", "samples2"),
        ("../..", "samples2"),
        ("-x", "./-x2"),
    ],
)
def test_the_suggested_command_works(folder: str, other: str, tmp_path: Path) -> None:
    Path(folder).mkdir(exist_ok=True)
    error = str(ftkit("--", folder).exception)
    command = error.split("`")[1]
    assert command.endswith(f" {other}")
    assert ftkit(*shlex.split(command)[2:]).exit_code == 0


def test_the_suggested_folder_does_not_exist() -> None:
    for name in ("samples", "samples2", "samples3"):
        Path(name).mkdir()
    assert "`ftkit samples samples4`" in str(ftkit().exception)


def test_an_empty_name_is_an_error() -> None:
    assert str(ftkit("").exception).startswith("DIR is empty; name a new folder")


def test_a_link_that_leads_nowhere_is_kept(tmp_path: Path) -> None:
    (tmp_path / "samples").symlink_to("nowhere")
    assert isinstance(ftkit().exception, FtkitError)


def test_a_folder_that_cannot_be_made_is_an_error() -> None:
    result = ftkit("none/samples")
    assert isinstance(result.exception, FtkitError)
    assert str(result.exception) == (
        "cannot copy the samples to none/samples: no such file or directory"
    )
