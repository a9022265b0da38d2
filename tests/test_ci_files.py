"""The CI files of the docs: they parse, and their commands check a repository with training data."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from support.paths import ROOT

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed here; tox -e docs has it")

GITHUB = ROOT / "docs" / "ci" / "github.yml"
GITLAB = ROOT / "docs" / "ci" / "gitlab.yml"
PUBLISH = ROOT / ".github" / "workflows" / "docs.yml"


def read(path: Path) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    return document


def github_commands() -> tuple[dict[str, str], list[str]]:
    (job,) = read(GITHUB)["jobs"].values()
    return job["env"], [step["run"] for step in job["steps"] if "run" in step]


def gitlab_commands() -> tuple[dict[str, str], list[str]]:
    (job,) = (value for value in read(GITLAB).values() if "script" in value)
    return job["variables"], job["script"]


COMMANDS = {"github": github_commands, "gitlab": gitlab_commands}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with training data, a recipe and `ftkit` on the path."""
    shutil.copy(ROOT / "samples" / "questions.csv", tmp_path)
    recipe = (ROOT / "samples" / "recipe.toml").read_text("utf-8")
    (tmp_path / "recipe.toml").write_text(recipe, "utf-8")
    (tmp_path / "data").mkdir()
    shutil.copy(ROOT / "samples" / "marv.jsonl", tmp_path / "data" / "train.jsonl")
    command = tmp_path / "bin" / "ftkit"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ftkit "$@"\n')
    command.chmod(0o755)
    subprocess.run([command, "prepare", "recipe.toml"], cwd=tmp_path, check=True)
    return tmp_path


def run(service: str, repository: Path) -> Iterator[subprocess.CompletedProcess[str]]:
    """Run the commands of a CI file as the service does, until one fails."""
    variables, commands = COMMANDS[service]()
    environment = os.environ | variables
    environment |= {
        "PATH": f"{repository / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GITHUB_STEP_SUMMARY": str(repository / "summary.md"),
    }
    for command in commands:
        if command.startswith("pip install"):
            continue
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", command],
            cwd=repository,
            env=environment,
            capture_output=True,
            text=True,
        )
        yield done
        if done.returncode:
            return


@pytest.mark.parametrize("service", COMMANDS)
def test_a_repository_with_clean_data_passes(service: str, repository: Path) -> None:
    results = list(run(service, repository))
    assert [done.returncode for done in results] == [0, 0, 0], results[-1].stderr


@pytest.mark.parametrize("service", COMMANDS)
def test_a_line_with_an_error_stops_the_pipeline(service: str, repository: Path) -> None:
    shutil.copy(ROOT / "samples" / "bad" / "role-unknown.jsonl", repository / "data")
    (done,) = run(service, repository)
    assert done.returncode == 1
    report = repository / "codequality.json"
    shown = report.read_text("utf-8") if report.exists() else done.stdout
    assert "data/role-unknown.jsonl" in shown


@pytest.mark.parametrize("service", COMMANDS)
def test_an_estimate_above_the_maximum_stops_the_pipeline(
    service: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables, commands = COMMANDS[service]()
    cheap = [re.sub(r"--max-cost \d+", "--max-cost 0.001", command) for command in commands]
    monkeypatch.setitem(COMMANDS, service, lambda: (variables, cheap))
    assert [done.returncode for done in run(service, repository)] == [0, 1]


@pytest.mark.parametrize("service", COMMANDS)
def test_a_file_that_the_recipe_would_change_stops_the_pipeline(
    service: str, repository: Path
) -> None:
    with (repository / "questions.csv").open("a", encoding="utf-8") as file:
        file.write("Is there a lift?,Yes. It is behind the stairs.,building\n")
    assert [done.returncode for done in run(service, repository)] == [0, 0, 1]


def test_the_summary_of_the_job_has_the_estimate(repository: Path) -> None:
    list(run("github", repository))
    summary = (repository / "summary.md").read_text("utf-8")
    assert summary.startswith("```text\n")
    assert summary.endswith("```\n")
    assert "cost" in summary


def test_the_site_is_published_from_the_folder_that_tox_builds() -> None:
    jobs = read(PUBLISH)["jobs"]
    steps = jobs["build"]["steps"]
    assert "tox -e docs" in [step.get("run") for step in steps]
    (folder,) = [step["with"]["path"] for step in steps if "pages-artifact" in step.get("uses", "")]
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    build = tox["testenv:docs"]["commands"].split()[2]
    assert build == "{tox_root}{/}" + folder.replace("/", "{/}")
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"pages": "write", "id-token": "write"}
