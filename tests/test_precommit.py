"""The hook, run by the real pre-commit on a real repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from support.paths import ROOT

CONFIG = """\
repos:
  - repo: {repo}
    rev: {rev}
    hooks:
      - id: ftkit-validate
"""


def git(folder: Path, *arguments: str) -> str:
    identity = [
        "-c",
        "user.name=Test",
        "-c",
        "user.email=test@example.org",
        "-c",
        "commit.gpgsign=false",
    ]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("pre-commit") is None,
    reason="pre-commit is not installed here; tox -e slow has it",
)
def test_pre_commit_stops_the_bad_file_and_lets_the_good_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "pre-commit"))
    hook = tmp_path / "ftkit"
    ignored = shutil.ignore_patterns(
        ".git", ".tox", ".venv*", "build", "*.egg-info", "__pycache__", ".hypothesis"
    )
    shutil.copytree(ROOT, hook, ignore=ignored)
    git(hook, "init", "-q")
    git(hook, "add", "-A")
    git(hook, "commit", "-qm", "ftkit")
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "-q")
    (project / ".pre-commit-config.yaml").write_text(
        CONFIG.format(repo=hook, rev=git(hook, "rev-parse", "HEAD"))
    )
    shutil.copy(ROOT / "samples" / "marv.jsonl", project / "good.jsonl")
    shutil.copy(ROOT / "samples" / "bad" / "role-unknown.jsonl", project / "bad.jsonl")
    git(project, "add", "-A")

    failed = subprocess.run(
        ["pre-commit", "run"], cwd=project, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert "bad.jsonl:4: error FT307 role-unknown" in failed.stdout
    assert "good.jsonl" not in failed.stdout

    git(project, "rm", "-qf", "bad.jsonl")
    passed = subprocess.run(
        ["pre-commit", "run"], cwd=project, capture_output=True, text=True, check=False
    )
    assert passed.returncode == 0
    assert "Passed" in passed.stdout
