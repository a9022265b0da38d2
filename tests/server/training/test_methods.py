"""Training by each method."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import openai
import pytest

from support.local_server import LocalServer, event_messages, wait_for_job
from support.models import SMOKE
from support.training import (
    CITIES,
    CITY_DATA,
    ask_model,
    encode_jsonl,
    method_with,
    question,
    start_job,
)

pytestmark = pytest.mark.training


def test_the_tuned_model_repeats_the_sample_and_the_untuned_does_not(
    client: openai.OpenAI, tuned_job: Any
) -> None:
    assert [ask_model(client, tuned_job.fine_tuned_model, name) for name in CITIES] == [
        name[::-1] for name in CITIES
    ]
    assert not {ask_model(client, SMOKE, name) for name in CITIES[:3]} & {
        name[::-1] for name in CITIES
    }
    assert tuned_job.fine_tuned_model == f"ft:{SMOKE}:mine:{tuned_job.id[6:14]}"


def test_the_job_reports_what_it_did(client: openai.OpenAI, tuned_job: Any) -> None:
    told = event_messages(client, tuned_job.id)
    total = tuned_job.hyperparameters.n_epochs * 2
    assert (
        tuned_job.hyperparameters.n_epochs,
        tuned_job.hyperparameters.batch_size,
        tuned_job.hyperparameters.learning_rate_multiplier,
    ) == (40, 8, 1.0)
    assert [text.partition(":")[0] for text in told if "training loss" in text] == [
        f"Step {n}/{total}" for n in range(1, total + 1)
    ]
    assert told[-2:] == [
        f"New fine-tuned model created: {tuned_job.fine_tuned_model}",
        "The job has successfully completed",
    ]
    assert tuned_job.seed == 7
    assert tuned_job.trained_tokens == 40 * sum(
        len(f"Say {name}") + len(name) + 4 for name in CITIES
    )
    assert tuned_job.finished_at >= tuned_job.created_at
    header, *rows = client.files.content(tuned_job.result_files[0]).read().decode().splitlines()
    assert header == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert len(rows) == total
    losses = [float(row.split(",")[1]) for row in rows]
    assert losses[-1] < losses[0] / 20


def test_the_checkpoints_are_models_and_validation_loss_falls(
    client: openai.OpenAI, tuned_job: Any
) -> None:
    found = list(client.fine_tuning.jobs.checkpoints.list(tuned_job.id))
    assert [each.step_number for each in found] == [80, 78, 76]
    assert found[0].fine_tuned_model_checkpoint.endswith(":ckpt-step-80")
    assert ask_model(client, found[0].fine_tuned_model_checkpoint, "Lima") == "amiL"
    valid = [
        e.data["valid_loss"]
        for e in client.fine_tuning.jobs.list_events(tuned_job.id, limit=100)
        if e.data and "valid_loss" in e.data
    ]  # type: ignore[attr-defined, index, operator]
    assert len(valid) == 40
    assert valid[0] < valid[-1]  # the newest first
    assert found[0].metrics.valid_loss == found[0].metrics.full_valid_loss == valid[0]


def test_a_loss_that_runs_away_is_told_and_ends_nothing(
    client: openai.OpenAI, local_server: LocalServer
) -> None:
    job = start_job(
        client,
        validation=CITY_DATA,
        method=method_with(n_epochs=2, batch_size=1, learning_rate_multiplier=1e30),
    )
    wait_for_job(client, job.id, "succeeded")
    events = client.fine_tuning.jobs.list_events(job.id, limit=100).data
    assert any("nan" in event.message for event in events)
    assert "nan" not in str([event.data for event in events])


def test_a_job_that_is_over_leaves_its_models_and_no_more(
    client: openai.OpenAI, tuned_job: Any, local_server: LocalServer
) -> None:
    place = local_server.folder / "jobs" / tuned_job.id
    for _ in range(200):  # its process ends a little later than the job
        left = {path.name.partition("-")[0] for path in place.iterdir()}
        if left == {"adapter", "process.log"}:
            break
        time.sleep(0.05)
    assert left == {"adapter", "process.log"}
    assert "Fatal" not in (place / "process.log").read_text()


def test_two_runs_with_one_seed_agree_and_another_seed_differs(client: openai.OpenAI) -> None:
    made = [start_job(client, method=method_with(n_epochs=3), seed=seed) for seed in (5, 5, 6)]
    found = []
    for job in made:
        wait_for_job(client, job.id, "succeeded")
        found.append([text for text in event_messages(client, job.id) if text.startswith("Step")])
    assert found[0] == found[1] != found[2]


def test_turns_of_weight_0_are_not_learned(client: openai.OpenAI) -> None:
    rows = [
        {
            "messages": [
                *question(name),
                {"role": "assistant", "content": "never", "weight": 0},
                *question("on"),
                {"role": "assistant", "content": name},
            ]
        }
        for name in CITIES
    ]
    model = wait_for_job(
        client, start_job(client, encode_jsonl(rows)).id, "succeeded"
    ).fine_tuned_model
    assert "never" not in {ask_model(client, model, name) for name in CITIES}
    said = client.chat.completions.create(
        model=model, messages=rows[3]["messages"][:3], temperature=0, max_tokens=20
    )
    assert said.choices[0].message.content == "Cairo"


def test_completions_are_trained_and_answered(client: openai.OpenAI) -> None:
    rows = encode_jsonl([{"prompt": f"{name}: ", "completion": name[::-1]} for name in CITIES])
    model = wait_for_job(client, start_job(client, rows).id, "succeeded").fine_tuned_model
    said = client.completions.create(model=model, prompt="Oslo: ", temperature=0, max_tokens=20)
    assert (said.choices[0].text, said.choices[0].finish_reason) == ("olsO", "stop")


def test_dpo_learns_which_answer_is_preferred(client: openai.OpenAI) -> None:
    rows = encode_jsonl(
        [
            {
                "input": {"messages": question(name)},
                "preferred_output": [{"role": "assistant", "content": f"yes {name}"}],
                "non_preferred_output": [{"role": "assistant", "content": f"no {name}"}],
            }
            for name in CITIES
        ]
    )
    job = wait_for_job(
        client,
        start_job(client, rows, method=method_with("dpo", n_epochs=8, beta=0.2)).id,
        "succeeded",
    )
    assert job.method.dpo.hyperparameters.beta == 0.2
    events = [
        e.data
        for e in client.fine_tuning.jobs.list_events(job.id, limit=100)
        if e.type == "metrics"
    ]
    assert events[0]["train_mean_token_accuracy"] == 1.0
    assert events[0]["train_loss"] < events[-1]["train_loss"] / 2


def test_training_goes_on_from_a_tuned_model(client: openai.OpenAI, tuned_job: Any) -> None:
    job = wait_for_job(
        client,
        start_job(client, model=tuned_job.fine_tuned_model, method=method_with(n_epochs=1)).id,
        "succeeded",
    )
    first = next(text for text in event_messages(client, job.id) if text.startswith("Step 1/"))
    assert float(first.rpartition("=")[2]) < 0.5
    assert job.fine_tuned_model.startswith(f"ft:{SMOKE}::")
    assert ask_model(client, job.fine_tuned_model, "Sofia") == "aifoS"


def test_a_folder_is_a_base_and_a_hosted_name_stands_for_another(
    client: openai.OpenAI, base_model: Path
) -> None:
    mapped = wait_for_job(
        client,
        start_job(client, model="gpt-3.5-turbo", method=method_with(n_epochs=1)).id,
        "succeeded",
    )
    assert "gpt-3.5-turbo stands for ftkit/smoke here" in event_messages(client, mapped.id)
    said = client.chat.completions.create(
        model=mapped.fine_tuned_model, messages=question("x"), max_tokens=1
    )  # type: ignore[arg-type]
    assert (said.model, said.system_fingerprint) == (mapped.fine_tuned_model, SMOKE)
    folder = wait_for_job(
        client, start_job(client, model="tiny", method=method_with(n_epochs=1)).id, "succeeded"
    )
    assert ask_model(client, folder.fine_tuned_model, "x") is not None


def test_weights_that_are_no_safetensors_are_not_loaded(
    client: openai.OpenAI, base_model: Path
) -> None:
    import torch

    weights = base_model / "model.safetensors"
    kept = weights.with_suffix(".kept")
    weights.rename(kept)
    torch.save({}, base_model / "pytorch_model.bin")
    try:
        failed = wait_for_job(client, start_job(client, model="tiny").id, "failed")
        assert failed.error.code == "model_not_available"
        assert "cannot be loaded" in failed.error.message
    finally:
        (base_model / "pytorch_model.bin").unlink()
        kept.rename(weights)
