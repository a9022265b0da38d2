"""Settings of recipes in real training: adapters, quantization, packing, attention, memory."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ftkit.errors import RecipeError
from support.local_server import LocalServer, event_messages, wait_for_job
from support.processes import wait_for_end, wait_for_worker
from support.training import CITIES, ask_model, city_example, encode_jsonl, method_with, start_job

pytestmark = pytest.mark.training

EXAMPLES = encode_jsonl([city_example(name, name[::-1] * (len(name) % 3 + 1)) for name in CITIES])
"""Examples of unequal length, so that batches of them are padded."""


def run_job(
    folder: Path,
    base: Path,
    recipe: str,
    status: str = "succeeded",
    content: bytes = EXAMPLES,
    answers: bool = False,
) -> tuple[Any, list[float], Path]:
    """Return a job at a service with a recipe, its losses, and the folder of the service.

    With `answers`, its model must answer.
    """
    path = folder / "recipe.toml"
    path.write_text(recipe, "utf-8")
    settings = {"seed": 3, "method": method_with(n_epochs=2, batch_size=4)}
    with LocalServer(folder / "data", {"base": str(base)}, recipe=path) as server:
        client = server.client()
        job = start_job(client, content, model="base", **settings)
        job = wait_for_job(client, job.id, status)
        events = client.fine_tuning.jobs.list_events(job.id, limit=100)
        metrics = sorted(
            (event.data for event in events if event.type == "metrics"),
            key=lambda data: data["step"],
        )
        if answers:
            ask_model(client, job.fine_tuned_model, "Lima", max_tokens=4)
    return job, [item["train_loss"] for item in metrics], folder / "data"


@pytest.fixture(scope="module")
def plain_losses(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Losses without dropout, which is drawn in another order for other batches."""
    return run_job(tmp_path_factory.mktemp("plain"), base_model, "[default]\ndropout = 0.0")[1]


def test_the_adapter_has_the_rank_and_the_targets_of_the_recipe(
    base_model: Path, tmp_path: Path
) -> None:
    recipe = '[default]\nrank = 2\nalpha = 6\ntargets = ["q_proj", "v_proj"]\ndropout = 0.1'
    _, _, data = run_job(tmp_path, base_model, recipe)
    path = next(data.rglob("adapter_config.json"))
    config = json.loads(path.read_text("utf-8"))
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (2, 6, 0.1)
    assert set(config["target_modules"]) == {"q_proj", "v_proj"}


@pytest.mark.parametrize(
    "setting",
    [
        "packing = true\nmicro_batch = 4",
        'gradient_checkpointing = false\nattention = "eager"',
    ],
    ids=["packing", "gradient checkpointing"],
)
def test_what_saves_time_or_memory_changes_neither_steps_nor_losses(
    setting: str, base_model: Path, tmp_path: Path, plain_losses: list[float]
) -> None:
    _, losses, _ = run_job(tmp_path, base_model, f"[default]\ndropout = 0.0\n{setting}")
    assert losses == pytest.approx(plain_losses, abs=1e-4)


def test_a_model_in_4_bits_learns_and_answers(
    base_model: Path, tmp_path: Path, plain_losses: list[float]
) -> None:
    recipe = '[default]\ndropout = 0.0\nquantization = "4bit"'
    _, losses, _ = run_job(tmp_path, base_model, recipe, answers=True)
    assert losses[-1] < losses[0]
    # It is another model, with rounded weights, but not a random one.
    assert losses != pytest.approx(plain_losses, abs=1e-4)
    assert losses == pytest.approx(plain_losses, rel=0.5)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ('attention = "flash_attention_2"', "needs CUDA and the package flash-attn"),
        ("tokens = 4", "no example of data.jsonl has anything to learn within 4 tokens"),
    ],
)
def test_a_job_that_the_recipe_does_not_allow_fails_before_training(
    base_model: Path, tmp_path: Path, setting: str, reason: str
) -> None:
    job, losses, _ = run_job(tmp_path, base_model, f"[default]\n{setting}", status="failed")
    assert reason in job.error.message
    assert losses == []


def test_packing_is_refused_for_a_model_that_mixes_packed_sequences() -> None:
    import torch
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    from ftkit.server.training.packing import check_packing

    torch.manual_seed(0)
    config = Qwen3_5TextConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        layer_types=["linear_attention", "full_attention"],
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
    )
    with pytest.raises(RecipeError, match="set packing = false"):
        check_packing(Qwen3_5ForCausalLM(config), list(range(20)), list(range(30, 50)))


def test_packing_is_accepted_for_a_model_that_keeps_sequences_apart() -> None:
    from ftkit.server.training.packing import check_packing
    from ftkit.server.training.smoke import build_model

    check_packing(build_model(), list(range(20)), list(range(30, 50)))


@pytest.mark.parametrize("examples", [12, 11])
def test_two_processes_train_as_one_does(base_model: Path, tmp_path: Path, examples: int) -> None:
    content = b"".join(EXAMPLES.splitlines(keepends=True)[:examples])
    losses, tokens = [], []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        recipe = f"[default]\ndropout = 0.0\nmicro_batch = 1\nprocesses = {processes}"
        job, job_losses, _ = run_job(folder, base_model, recipe, content=content)
        tokens.append(job.trained_tokens)
        losses.append(job_losses)
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert tokens[1] == tokens[0]


def wait_for_steps(client: Any, job: str, steps: int) -> None:
    deadline = time.monotonic() + 240
    while sum(text.startswith("Step") for text in event_messages(client, job)) < steps:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_job_of_two_processes_survives_the_loss_of_either_and_a_pause(
    base_model: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[default]\nprocesses = 2", "utf-8")
    with LocalServer(tmp_path / "data", {"base": str(base_model)}, recipe=recipe) as server:
        client = server.client()
        method = method_with(n_epochs=30, batch_size=4)
        job = start_job(client, EXAMPLES, model="base", method=method).id
        for task, steps in (("rank", 5), ("train", 20)):
            wait_for_steps(client, job, steps)
            os.kill(wait_for_worker(server.folder, task, job), signal.SIGKILL)
        wait_for_steps(client, job, 30)
        client.fine_tuning.jobs.pause(job)
        wait_for_job(client, job, "paused")
        wait_for_end(server.folder, "rank", 5, job)
        client.fine_tuning.jobs.resume(job)
        wait_for_job(client, job, "succeeded")
        events = client.fine_tuning.jobs.list_events(job, limit=100)
        steps = {event.data["step"] for event in events if event.type == "metrics"}
    assert steps == set(range(1, 91))
