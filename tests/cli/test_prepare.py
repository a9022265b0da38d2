"""`ftkit prepare`: its report, its exit codes, and what its help leads to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from support.commands import run_ftkit
from support.paths import SAMPLES


@pytest.fixture(autouse=True)
def samples(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLES, tmp_path / "samples"))


def test_the_help_leads_to_a_recipe_that_runs() -> None:
    shown = run_ftkit("prepare", "--help").stdout
    assert "ftkit samples" in shown
    assert "samples/recipe.toml" in shown
    done = run_ftkit("prepare", "samples/recipe.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == [
        "read     32 rows → 32",
        "convert  32 rows → 32, lost 32",
    ]
    assert "Leak-free" in done.stdout
    assert "Found 1 warning in 2 files (31 examples)." in done.stdout


def test_a_check_of_current_outputs_has_exit_code_0(samples: Path) -> None:
    done = run_ftkit("prepare", "samples/recipe.toml", "--check")
    assert done.returncode == 1
    assert "Would change: samples/questions.train.jsonl, " in done.stdout
    assert run_ftkit("prepare", "samples/recipe.toml").returncode == 0
    done = run_ftkit("prepare", "samples/recipe.toml", "--check")
    assert (done.returncode, "The outputs are up to date." in done.stdout) == (0, True)
    with (samples / "questions.csv").open("a") as file:
        file.write("May I?,No.,services\n")
    assert run_ftkit("prepare", "samples/recipe.toml", "--check").returncode == 1


def test_the_report_as_json_has_each_step(samples: Path) -> None:
    done = run_ftkit("prepare", "samples/recipe.toml", "--report", "json")
    report = json.loads(done.stdout)
    assert [step["step"] for step in report["steps"]] == ["read", "convert", "dedupe", "split"]
    assert [step["read"] for step in report["steps"]] == [32, 32, 32, 31]
    assert [step["written"] for step in report["steps"]] == [32, 32, 31, 31]
    assert [output["rows"] for output in report["outputs"]] == [26, 5]
    assert (report["ok"], report["leaks"], report["validation"]["ok"]) == (True, 0, True)


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        ('to = "chat"', 'too = "chat"', 2, "step 1 (convert) has no key 'too'; did you mean 'to'?"),
        ("ratio = [0.8, 0.2]", "ratio = [0.8, 0.8]", 2, "add up to 1"),
        ('on_loss = "allow"', "", 1, "nothing was written, since values were lost; set on_loss"),
        ("questions.csv", "nowhere.csv", 2, "nowhere.csv"),
        ("questions.map.jsonl", "nowhere/map", 2, "cannot write samples/nowhere/map"),
        ("questions.map.jsonl", "recipe.toml", 2, "samples/recipe.toml is an input"),
    ],
)
def test_a_problem_is_one_line(old: str, new: str, code: int, message: str, samples: Path) -> None:
    recipe = samples / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(old, new))
    before = set(samples.rglob("*"))
    done = run_ftkit("prepare", str(recipe.relative_to(samples.parent)))
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert message in done.stderr
    assert set(samples.rglob("*")) == before


def test_rejected_rows_need_a_file_for_them(samples: Path) -> None:
    with (samples / "questions.csv").open("a") as file:
        file.write("too few cells\n")
    done = run_ftkit("prepare", "samples/recipe.toml")
    assert (done.returncode, "Wrote nothing." in done.stdout) == (1, True)
    assert "name a file for `rejects`" in done.stderr
    recipe = samples / "recipe.toml"
    recipe.write_text(recipe.read_text() + 'rejects = "rejects.csv"\n')
    done = run_ftkit("prepare", "samples/recipe.toml")
    assert (done.returncode, "Wrote 26 to" in done.stdout) == (1, True)
    assert (samples / "rejects.csv").read_text() == "too few cells\n"
