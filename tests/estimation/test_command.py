"""The command `ftkit estimate`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ftkit._text import money
from ftkit.catalog import load_catalog
from ftkit.estimation.quote import quote
from ftkit.report.catalog import render_catalog_text
from ftkit.report.estimate import render_estimate_text
from support.commands import run_ftkit
from support.estimates import TODAY
from support.fixture_types import Write
from support.models import GPT_35, MINI, NANO
from support.paths import GOLDEN, ROOT, SAMPLES

MARV = str(SAMPLES / "marv.jsonl")
PROBLEMS = {
    "a file that is not there": ("no.jsonl", "no such file"),
    "an empty file": ("empty.jsonl", "is empty"),
    "a file that is something else": ("alpaca.jsonl", "see `ftkit validate alpaca.jsonl`"),
    "a file without an example": (
        "bad.jsonl",
        "bad.jsonl: no example could be read; run `ftkit validate bad.jsonl` to see why",
    ),
    "an unknown model": (f"{MARV} --model gpt-4o-mini", "did you mean 'gpt-4o-mini-2024-07-18'"),
    "an unknown provider": (f"{MARV} --provider azur", "did you mean 'azure'"),
    "a number of epochs that is none": (f"{MARV} --epochs 0", "not auto or a number from 1 to 50"),
    "a date that is none": (f"{MARV} --on tomorrow", "write it as YYYY-MM-DD"),
    "a prompt that is not there": (f"{MARV} --base-prompt no.txt", "cannot open no.txt"),
    "facts that are not there": (f"{MARV} --facts no.toml", "cannot open no.toml"),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_is_one_line_and_2(problem: str, write: Write) -> None:
    write(b"", "empty.jsonl")
    write([b'{"instruction": "a", "input": "", "output": "b"}'] * 12, "alpaca.jsonl")
    write([b'{"messages": 3}'] * 12, "bad.jsonl")
    arguments, message = PROBLEMS[problem]
    done = run_ftkit("estimate", *arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


WITHOUT_MODEL = {
    "completions": ("completions.jsonl", "openai", "2026-11-20"),
    "reinforcement": ("reinforcement.jsonl", "openai", "2026-11-20"),
    "chat, after the last job": ("marv.jsonl", "openai", "2027-02-01"),
    "a provider without known models": ("marv.jsonl", "nebius", "2026-11-20"),
}


@pytest.mark.parametrize("model", [[], ["--model", "o4-mini-2025-04-16"]])
def test_billed_tokens_are_conditional_where_training_is_billed_by_the_hour(
    model: list[str],
) -> None:
    arguments = ["estimate", str(SAMPLES / "reinforcement.jsonl"), *model, "--price", "5"]
    lines = run_ftkit(*arguments).stdout.splitlines()
    rows = [line for line in lines if line.startswith(("  billed ", "  cost "))]
    assert len(rows) == 2
    assert all(row.endswith(", if billed by the token") for row in rows)


@pytest.mark.parametrize("case", WITHOUT_MODEL)
def test_a_file_that_no_model_can_be_trained_on_is_counted(case: str) -> None:
    name, provider, day = WITHOUT_MODEL[case]
    arguments = ["estimate", str(SAMPLES / name), "--provider", provider, "--on", day]
    done = run_ftkit(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    rows = dict(reversed(re.findall(r"^  ([a-z]+) +(\S+)", done.stdout, re.MULTILINE)))
    billed = int(rows["billed"].replace(",", ""))
    assert billed == int(rows["epochs"]) * int(rows["tokens"].replace(",", ""))
    assert f"unknown  {money(billed / 1e6)} for each dollar per million tokens" in done.stdout
    assert re.search(r"trainable +no  no model is known that .* trains on", done.stdout)
    priced = json.loads(run_ftkit(*arguments, "--price", "6", "--output", "json").stdout)
    assert priced["models"] == []
    assert priced["without_model"]["cost"]["usd"] == pytest.approx(billed * 6 / 1e6)
    assert priced["distributions"]["tokens"]["max"] > 0
    over = run_ftkit(*arguments, "--price", "6", "--max-cost", "0")
    assert (over.returncode, "training would cost" in over.stderr) == (1, True)
    unknown = run_ftkit(*arguments, "--max-cost", "1")
    assert unknown.returncode == 2
    assert "the cost of training is unknown: no model is known" in unknown.stderr


def test_a_validation_file_is_counted_without_a_model() -> None:
    path = str(SAMPLES / "completions.jsonl")
    shown = run_ftkit("estimate", path, "--validation-file", path, "--epochs", "2").stdout
    assert "completions.jsonl: 14 examples, 476 tokens, not billed" in shown
    assert "tokens: 2 x 476" in shown


def test_max_cost_decides_the_exit_code() -> None:
    assert run_ftkit("estimate", MARV, "--model", MINI, "--max-cost", "0.04").returncode == 0
    done = run_ftkit("estimate", MARV, "--model", MINI, "--max-cost", "0.01")
    assert done.returncode == 1
    assert "more than $0.01" in done.stderr
    done = run_ftkit("estimate", MARV, "--model", MINI, "--max-cost", "1", "--provider", "azure")
    assert done.returncode == 2
    assert "--max-cost cannot be checked" in done.stderr
    done = run_ftkit("estimate", MARV, "--model", MINI, "--max-cost", "nan")
    assert (done.returncode, "must be a number" in done.stderr) == (2, True)


def test_the_json_has_the_keys_that_are_documented() -> None:
    arguments = (
        MARV,
        "--all-models",
        "--requests",
        "10",
        "--validation-file",
        str(SAMPLES / "sports-headlines.jsonl"),
    )
    output = json.loads(
        run_ftkit("estimate", *arguments, "--output", "json", "--on", "2026-11-20").stdout
    )
    page = (
        (ROOT / "docs" / "output.md")
        .read_text("utf-8")
        .partition("## The estimate as JSON")[2]
        .partition("\n## ")[0]
    )
    path = str(SAMPLES / "completions.jsonl")
    without = json.loads(run_ftkit("estimate", path, "--output", "json").stdout)
    for value in (
        output,
        without["without_model"],
        output["models"][0],
        output["usage"][MINI],
        output["validation"],
        output["distributions"]["tokens"],
    ):
        assert all(f"`{key}`" in page for key in value)
    assert output["models"][0]["model"] == MINI
    assert output["models"][0]["cost"] == {
        "usd": 0.03456,
        "price_per_million": 3.0,
        "source": "OpenAI pricing page (copy)",
        "as_of": "2025-07",
    }


def test_settings_of_the_project_hold_for_the_estimate(write: Write) -> None:
    write(
        b'[tool.ftkit]\nmodel = "gpt-4.1-2025-04-14"\noutput = "github"\nignore = ["FT1"]\n',
        "pyproject.toml",
    )
    shown = run_ftkit("estimate", MARV).stdout
    assert "gpt-4.1-2025-04-14 at openai" in shown
    assert MINI not in shown


def test_all_the_models_and_one_of_them_do_not_go_together_but_a_setting_gives_way(
    write: Write,
) -> None:
    done = run_ftkit("estimate", MARV, "--model", GPT_35, "--all-models")
    assert (done.returncode, done.stdout) == (2, "")
    assert "give one of the two" in done.stderr
    write(b'[tool.ftkit]\nmodel = "gpt-3.5-turbo"\n', "pyproject.toml")
    assert MINI in run_ftkit("estimate", MARV, "--all-models", "--on", "2026-11-20").stdout


@pytest.mark.parametrize(
    "options", [["--format", "chat"], ["--validation-file", MARV], ["--format", "reinforcement"]]
)
def test_a_file_of_another_format_than_was_asked_for_is_not_read_as_its_own(
    options: list[str],
) -> None:
    done = run_ftkit("estimate", str(SAMPLES / "preference.jsonl"), "--provider", "local", *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "format and cannot be read as" in done.stderr


REAL = {"marv": 13_271, "preference": 3_792, "completions": 2_002}
"""Samples, and the `trained_tokens` of real jobs of one epoch that trained ftkit/smoke on them."""


@pytest.mark.parametrize("name", REAL)
def test_the_tiny_model_is_estimated_to_train_as_many_tokens_as_its_jobs_tell(name: str) -> None:
    result = quote(
        SAMPLES / f"{name}.jsonl", ["ftkit/smoke"], provider="local", epochs=1, today=TODAY
    ).models[0]
    assert (result.encoding, result.billed_tokens) == ("bytes", REAL[name])


def test_a_file_that_may_be_of_two_formats_is_read_as_the_one_asked_for(write: Write) -> None:
    path = write([b'{"messages": [{"role": "user", "content": "Hi"}]}'] * 12)
    assert (
        quote(path, ["o4-mini-2025-04-16"], format="reinforcement", today=TODAY).format
        == "reinforcement"
    )
    assert quote(path, [MINI], format="chat", today=TODAY).format == "chat"


def test_standard_input_is_estimated_and_named() -> None:
    command = [sys.executable, "-m", "ftkit", "estimate", "-", "--model", MINI]
    done = subprocess.run(command, input=Path(MARV).read_bytes(), capture_output=True, check=True)
    assert done.stdout.startswith(b"-  chat")


PRINTED = {
    "estimate-one.txt": lambda: render_estimate_text(
        quote(MARV, [MINI], requests=1000, today=TODAY)
    ),
    "estimate-several.txt": lambda: render_estimate_text(
        quote(
            SAMPLES / "images.jsonl",
            [MINI, NANO, "gpt-4o-2024-08-06"],
            validation_file=MARV,
            today=TODAY,
        )
    ),
    "estimate-without-model.txt": lambda: render_estimate_text(
        quote(SAMPLES / "completions.jsonl", today=TODAY)
    ),
    "estimate-hour.txt": lambda: render_estimate_text(
        quote(SAMPLES / "reinforcement.jsonl", ["o4-mini-2025-04-16"], epochs=2, today=TODAY)
    ),
    "catalog.txt": lambda: render_catalog_text(load_catalog(), None, TODAY),
}


@pytest.mark.parametrize("name", PRINTED)
def test_what_is_printed_is_as_it_was_looked_at(name: str) -> None:
    shown = PRINTED[name]().replace(str(SAMPLES), "samples")
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / name).write_text(shown, "utf-8")
    assert shown == (GOLDEN / name).read_text("utf-8")


def test_an_error_about_standard_input_names_no_temporary_file() -> None:
    done = run_ftkit("estimate", "-", input='{"messages": 3}\n')
    assert done.returncode == 2
    assert done.stderr.startswith("ftkit: -: no example could be read; run `ftkit validate -` to")
