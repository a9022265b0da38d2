"""Recommended base models: facts, `ftkit serve bases`, and `ftkit serve --models recommended`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest
from click.testing import CliRunner

from ftkit._local import find_running
from ftkit.catalog import base_models, load_catalog, recommended_bases
from ftkit.cli import cli, run
from ftkit.cli.serve_bases import base_mapping
from ftkit.server.models import HUB_ID

MINI = "gpt-4o-mini-2024-07-18"


def test_every_model_that_openai_fine_tunes_with_examples_has_a_base() -> None:
    tunable = {
        name
        for name, model in load_catalog().models.items()
        if "openai" in model.providers and "supervised" in model.providers["openai"].methods
    }
    assert tunable <= set(recommended_bases())


def test_a_hosted_model_has_one_base() -> None:
    names = [name for base in base_models().values() for name in base.stands_for]
    assert len(names) == len(set(names))


def test_bases_are_ids_of_the_hub_with_an_open_licence() -> None:
    assert all(HUB_ID.fullmatch(id) for id in base_models())
    assert {base.licence for base in base_models().values()} == {"Apache-2.0"}
    assert not [id for id in base_models() if "llama" in id.lower()]


def test_bases_are_listed() -> None:
    text = CliRunner().invoke(cli, ["serve", "bases"], standalone_mode=False).output
    assert all(id in text for id in base_models())
    output = (
        CliRunner()
        .invoke(cli, ["serve", "bases", "--output", "json"], standalone_mode=False)
        .output
    )
    base = json.loads(output)["Qwen/Qwen3.5-4B"]
    assert base["context_length"] == 262_144
    assert base["training_gb"]["value"] == 10
    assert base["training_gb"]["source"]


def test_recommended_bases_are_printed_with_licence_context_and_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert base_mapping([], recommended=True) == recommended_bases()
    line = next(line for line in capsys.readouterr().err.splitlines() if line.startswith(MINI))
    assert line == (
        f"{MINI} stands for Qwen/Qwen3.5-4B, Apache-2.0, context 262,144 tokens,"
        " training takes at least 10 GB"
    )


def test_a_pair_overrides_a_recommended_base(capsys: pytest.CaptureFixture[str]) -> None:
    mapping = base_mapping([f"{MINI}=some/base", "mine=some/other"], recommended=True)
    assert mapping == {**recommended_bases(), MINI: "some/base", "mine": "some/other"}
    assert f"{MINI} stands for some/base\n" in capsys.readouterr().err


def test_pairs_alone_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert base_mapping(["mine=some/base"], recommended=False) == {"mine": "some/base"}
    assert not capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--models", "all"], ["--map", "recommended"]])
def test_other_values_are_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ftkit.cli.serve.PACKAGES", ())
    assert run(["serve", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [(["--models", "recommended"], f"{MINI}=ftkit/smoke"), ([], f"{MINI}=ftkit/smoke,recommended")],
    ids=["option", "variable"],
)
def test_a_service_offers_the_recommended_bases(
    arguments: list[str], variable: str, tmp_path: Path
) -> None:
    # Not the command itself, which would want PyTorch to be installed.
    code = "import ftkit.cli.serve as s; s.PACKAGES = (); from ftkit.cli import run; run()"
    folder = tmp_path / "data"
    command = [sys.executable, "-c", code, "serve", "--port", "0", "--data-dir", str(folder)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *arguments], stderr=log, env={**os.environ, "FTKIT_MODELS": variable}
        )
    try:
        deadline = time.monotonic() + 60
        while not (running := find_running(folder)):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        client = openai.OpenAI(base_url=running.url, api_key="none")
        assert set(recommended_bases()) <= {model.id for model in client.models.list()}
    finally:
        process.terminate()
        process.wait(30)
    log_text = (tmp_path / "log").read_text()
    assert f"{MINI} stands for ftkit/smoke\n" in log_text
    assert "gpt-4.1-2025-04-14 stands for Qwen/Qwen3.5-9B" in log_text
