"""The whole trips, as the documentation shows them: from a file to an answer, and from an archive back to a model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.local_server import LocalServer, run_forked
from support.models import SMOKE
from support.paths import ROOT

pytestmark = pytest.mark.training

NO_HUB = "http://127.0.0.1:9"
"""URL without a server, in place of the Hugging Face hub."""


def environment(local_server: LocalServer, tmp_path: Path) -> dict[str, str]:
    """Environment of commands for this server."""
    return {
        **os.environ,
        "FTKIT_DATA_DIR": str(local_server.folder),
        "FTKIT_STATE_DIR": str(tmp_path / "state"),
        "HF_ENDPOINT": NO_HUB,
    }


def ftkit(
    local_server: LocalServer, tmp_path: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process forked from one that has imported what it needs."""
    return run_forked(*arguments, env=environment(local_server, tmp_path))


def ftkit_as_a_user(
    local_server: LocalServer, tmp_path: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, which imports everything itself."""
    command = [sys.executable, "-m", "ftkit", *arguments]
    variables = environment(local_server, tmp_path)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)


def first_examples(folder: Path) -> str:
    """Write the start of the sample, which the smoke model learns in seconds, and return its path."""
    lines = (ROOT / "samples" / "marv.jsonl").read_text("utf-8").splitlines(keepends=True)
    path = folder / "marv.jsonl"
    path.write_text("".join(lines[:16]), "utf-8")
    return str(path)


def test_the_whole_trip_needs_no_key_and_starts_the_service_itself(tmp_path: Path) -> None:
    """As in the README: submit, watch, chat; Marv's answer comes back."""
    local = LocalServer(tmp_path / "data")
    sample = first_examples(tmp_path)
    here = ("--provider", "local")
    row = json.loads(Path(sample).read_text("utf-8").splitlines()[3])["messages"]
    training = ("--model", SMOKE, "--epochs", "50", "--seed", "7")
    submit = ("submit", sample, *here, *training, "--yes")
    try:
        done = ftkit_as_a_user(local, tmp_path, *submit, "--watch")
        assert done.returncode == 0, done.stderr
        assert "Started the local service at " in done.stderr
        model = done.stdout.splitlines()[-1].removeprefix("model ")
        question = (row[1]["content"], *here, "--system", row[0]["content"], "--temperature", "0")
        chat = ftkit_as_a_user(local, tmp_path, "chat", "@last", *question)
        assert chat.stdout == f"{row[2]['content']}\n", chat.stderr
        untuned = ftkit(local, tmp_path, "chat", SMOKE, "Hello", *here, "--max-tokens", "30")
        assert untuned.returncode == 0, untuned.stderr
        assert untuned.stdout != chat.stdout
        assert "already exists" in ftkit(local, tmp_path, *submit).stdout
        export = ("models", "export", model)
        adapter, merged = str(tmp_path / "adapter"), str(tmp_path / "merged")
        assert ftkit(local, tmp_path, *export, adapter, *here).returncode == 0
        done = ftkit_as_a_user(local, tmp_path, *export, merged, "--merge", *here)
        assert done.returncode == 0, done.stderr
        assert NO_HUB not in done.stderr
        assert repeats(Path(merged), row)
    finally:
        assert ftkit(local, tmp_path, "serve", "stop").returncode == 0
    assert not (local.folder / "server.json").exists()


def repeats(folder: Path, row: list[dict[str, str]]) -> bool:
    """Whether the exported model gives the answer of the row, loaded as any program would."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModelForCausalLM.from_pretrained(folder),
    )
    prompt = tokenizer.apply_chat_template(
        row[:2], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    generated = model.generate(**prompt, max_new_tokens=200, do_sample=False)
    return bool(
        tokenizer.decode(generated[0][prompt["input_ids"].shape[1] :], skip_special_tokens=True)
        == row[2]["content"]
    )


def test_a_model_comes_back_from_the_archive_when_its_service_is_gone(tmp_path: Path) -> None:
    """Trained, archived with its answers, the service wiped, moved, retrained: old and new agree, and the untuned model does not."""
    old, new, archive = (
        LocalServer(tmp_path / "old"),
        LocalServer(tmp_path / "new"),
        tmp_path / "archive",
    )
    sample = first_examples(tmp_path)
    here = ("--provider", "local")
    with old:
        submit = (
            "submit",
            sample,
            *here,
            "--model",
            SMOKE,
            "--seed",
            "7",
            "--suffix",
            "marv",
            "--watch",
            "--yes",
        )
        assert ftkit(old, tmp_path, *submit).returncode == 0
        saved = ftkit(
            old, tmp_path, "archive", "save", str(archive), *here, "--sample", "8", "--yes"
        )
        assert saved.returncode == 0, saved.stderr
    shutil.rmtree(old.folder)
    shutil.rmtree(tmp_path / "state")
    assert json.loads(
        ftkit(new, tmp_path, "archive", "verify", str(archive), "--output", "json").stdout
    )["ok"]
    job = str(next((archive / "jobs").iterdir()))
    with new:
        moved = ftkit(new, tmp_path, "migrate", job, "--to", "local", "--watch", "--yes")
        assert moved.returncode == 0, moved.stderr
        compared = {}
        for model in ("@last", SMOKE):
            result = ftkit(
                new,
                tmp_path,
                "compare",
                job,
                model,
                "--prompts",
                job,
                *here,
                "--max-tokens",
                "300",
                "--yes",
                "--output",
                "json",
            )
            assert result.returncode == 0, result.stderr
            compared[model] = json.loads(result.stdout)["measures"]["exact"]["between"]["mean"]
        assert compared == {"@last": 1, SMOKE: 0}
        planned = ftkit(
            new, tmp_path, "migrate", "--archive", str(archive), "--to", "local", "--yes"
        )
        assert "migrated to ftjob-" in planned.stdout
        assert len(ftkit(new, tmp_path, "jobs", "list", *here).stdout.splitlines()) == 2
