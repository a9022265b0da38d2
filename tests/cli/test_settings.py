"""Settings from options, environment variables and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.commands import run_ftkit
from support.paths import MARV, SAMPLES


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            'base-url = "http://models.example/v1"',
            "base-url is not allowed here, since API keys are sent to it; use FTKIT_BASE_URL",
        ),
        (
            'validation-file = "s3://bucket/valid.jsonl"',
            "validation-file must be a local file here, since your keys are sent to URLs; use",
        ),
        ('modle = "x"', "has no setting 'modle'; did you mean 'model'?"),
        ("ignore = 5", "[tool.ftkit]"),
        ("max-findings = true", "[tool.ftkit]"),
        ("model = 3", "[tool.ftkit]: Expected 'str', got 'int' - at 'model'"),
        ("model = [", "cannot read"),
    ],
)
def test_odd_settings_are_one_line_that_names_their_file(
    settings: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.ftkit]\n{settings}\n")
    done = run_ftkit("validate", MARV)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "pyproject.toml" in done.stderr
    assert message in done.stderr


def test_an_odd_value_of_a_variable_names_the_variable() -> None:
    done = run_ftkit("validate", MARV, env={"FTKIT_MAX_FINDINGS": "abc"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "(from FTKIT_MAX_FINDINGS; see `ftkit validate --help`)" in done.stderr
    assert "from " not in run_ftkit("validate", MARV, "--max-findings", "abc").stderr


def test_a_grader_for_files_without_items_is_refused_and_one_of_the_settings_waits_for_others(
    tmp_path: Path,
) -> None:
    (tmp_path / "grader.json").write_text(
        '{"type": "string_check", "input": "{{item.x}}", "name": "a"}'
    )
    done = run_ftkit("validate", MARV, "--grader", "grader.json")
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        f"ftkit: --grader is for reinforcement files; {MARV} is chat\n",
    )
    (tmp_path / "pyproject.toml").write_text('[tool.ftkit]\ngrader = "grader.json"\n')
    assert run_ftkit("validate", MARV).returncode == 0


def test_options_go_before_variables_and_these_before_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.ftkit]\noutput = "json"\nmodel = "gpt-4.1-2025-04-14"\nignore = ["examples-few"]\n'
    )
    shown = json.loads(run_ftkit("validate", str(SAMPLES / "tool-calls.jsonl")).stdout)
    assert (shown["model"], shown["files"][0]["warnings"]) == ("gpt-4.1-2025-04-14", 0)
    variable = {"FTKIT_MODEL": "gpt-3.5-turbo"}
    assert json.loads(run_ftkit("validate", MARV, env=variable).stdout)["model"] == "gpt-3.5-turbo"
    assert (
        json.loads(run_ftkit("validate", MARV, "--model", "gpt-4-0613", env=variable).stdout)[
            "model"
        ]
        == "gpt-4-0613"
    )
