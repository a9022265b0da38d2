"""Training by each method."""

from __future__ import annotations

import time
from typing import Any

import openai
import pytest

from ftkit.jobs.metrics import read_results
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

EPOCHS = 20
"""Number of epochs in which the smoke model memorizes the examples."""


WEIGHTED_EXAMPLES = [
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


@pytest.fixture(scope="module")
def diverging_job(client: openai.OpenAI) -> Any:
    method = method_with(n_epochs=2, batch_size=1, learning_rate_multiplier=1e30)
    return start_job(client, validation=CITY_DATA, method=method)


@pytest.fixture(scope="module")
def weighted_job(client: openai.OpenAI) -> Any:
    return start_job(client, encode_jsonl(WEIGHTED_EXAMPLES), method=method_with(n_epochs=EPOCHS))


@pytest.fixture(scope="module")
def completions_job(client: openai.OpenAI) -> Any:
    content = encode_jsonl([{"prompt": f"{name}: ", "completion": name[::-1]} for name in CITIES])
    return start_job(client, content, method=method_with(n_epochs=EPOCHS))


@pytest.fixture(scope="module")
def dpo_job(client: openai.OpenAI) -> Any:
    content = encode_jsonl(
        [
            {
                "input": {"messages": question(name)},
                "preferred_output": [{"role": "assistant", "content": f"yes {name}"}],
                "non_preferred_output": [{"role": "assistant", "content": f"no {name}"}],
            }
            for name in CITIES
        ]
    )
    method = method_with("dpo", n_epochs=8, beta=0.2)
    return start_job(client, content, validation=content, method=method)


@pytest.fixture(scope="module")
def continued_job(client: openai.OpenAI, tuned_job: Any) -> Any:
    return start_job(client, model=tuned_job.fine_tuned_model, method=method_with(n_epochs=1))


@pytest.fixture(scope="module")
def pickled_job(client: openai.OpenAI) -> Any:
    return start_job(client, model="pickled")


@pytest.fixture(scope="module", autouse=True)
def start_jobs(request: pytest.FixtureRequest) -> None:
    """Start the jobs of the selected tests at once, since the server trains two side by side."""
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.module is request.module:
            for name in item.fixturenames:
                if name.endswith("_job"):
                    request.getfixturevalue(name)


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
    messages = event_messages(client, tuned_job.id)
    total = tuned_job.hyperparameters.n_epochs * 2
    assert (
        tuned_job.hyperparameters.n_epochs,
        tuned_job.hyperparameters.batch_size,
        tuned_job.hyperparameters.learning_rate_multiplier,
    ) == (40, 8, 1.0)
    assert [text.partition(":")[0] for text in messages if "training loss" in text] == [
        f"Step {n}/{total}" for n in range(1, total + 1)
    ]
    assert messages[-2:] == [
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
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(tuned_job.id))
    assert [checkpoint.step_number for checkpoint in checkpoints] == [80, 78, 76]
    last = checkpoints[0]
    assert last.fine_tuned_model_checkpoint.endswith(":ckpt-step-80")
    assert ask_model(client, last.fine_tuned_model_checkpoint, "Lima") == "amiL"
    events: list[Any] = list(client.fine_tuning.jobs.list_events(tuned_job.id, limit=100))
    losses = [event.data["valid_loss"] for event in events if "valid_loss" in (event.data or {})]
    assert len(losses) == 40
    assert losses[0] < losses[-1]  # the newest first
    assert last.metrics.valid_loss == last.metrics.full_valid_loss == losses[0]


def test_a_loss_that_diverges_is_reported_and_does_not_end_the_job(
    client: openai.OpenAI, diverging_job: Any
) -> None:
    wait_for_job(client, diverging_job.id, "succeeded")
    events = client.fine_tuning.jobs.list_events(diverging_job.id, limit=100).data
    assert any("nan" in event.message for event in events)
    assert "nan" not in str([event.data for event in events])


def test_a_finished_job_leaves_only_its_models_and_its_log(
    client: openai.OpenAI, tuned_job: Any, local_server: LocalServer
) -> None:
    folder = local_server.folder / "jobs" / tuned_job.id
    for _ in range(200):  # its process ends a little later than the job
        names = {path.name.partition("-")[0] for path in folder.iterdir()}
        if names == {"adapter", "process.log"}:
            break
        time.sleep(0.05)
    assert names == {"adapter", "process.log"}
    assert "Fatal" not in (folder / "process.log").read_text()


def test_two_runs_with_one_seed_agree_and_another_seed_differs(
    client: openai.OpenAI, seeded_jobs: list[Any]
) -> None:
    first, second, third = (
        [text for text in event_messages(client, job.id) if text.startswith("Step")]
        for job in seeded_jobs
    )
    assert first == second != third


def test_messages_of_weight_0_are_not_learned(client: openai.OpenAI, weighted_job: Any) -> None:
    model = wait_for_job(client, weighted_job.id, "succeeded").fine_tuned_model
    assert "never" not in {ask_model(client, model, name) for name in CITIES}
    response = client.chat.completions.create(
        model=model, messages=WEIGHTED_EXAMPLES[3]["messages"][:3], temperature=0, max_tokens=20
    )
    assert response.choices[0].message.content == "Cairo"


def test_completions_are_trained_and_generated(client: openai.OpenAI, completions_job: Any) -> None:
    model = wait_for_job(client, completions_job.id, "succeeded").fine_tuned_model
    response = client.completions.create(model=model, prompt="Oslo: ", temperature=0, max_tokens=20)
    choice = response.choices[0]
    assert (choice.text, choice.finish_reason) == ("olsO", "stop")


def test_dpo_learns_which_answer_is_preferred(client: openai.OpenAI, dpo_job: Any) -> None:
    job = wait_for_job(client, dpo_job.id, "succeeded")
    assert job.method.dpo.hyperparameters.beta == 0.2
    events: list[Any] = list(client.fine_tuning.jobs.list_events(job.id, limit=100))
    metrics = [event.data for event in events if "train_loss" in (event.data or {})]
    assert metrics[0]["train_mean_token_accuracy"] == 1.0
    assert metrics[0]["train_loss"] < metrics[-1]["train_loss"] / 2


PREFERENCE_METRICS = [
    f"rewards_{name}" for name in ("chosen", "rejected", "margins", "accuracies")
] + ["logps_chosen", "logps_rejected"]


def test_dpo_reports_rewards_margins_and_accuracies(client: openai.OpenAI, dpo_job: Any) -> None:
    job = wait_for_job(client, dpo_job.id, "succeeded")
    train, valid = (
        [f"{split}_{name}" for name in PREFERENCE_METRICS] for split in ("train", "valid")
    )
    events: list[Any] = list(client.fine_tuning.jobs.list_events(job.id, limit=100))
    metrics = [event.data for event in events if event.type == "metrics"]
    last_train = next(data for data in metrics if "train_loss" in data)
    last_valid = next(data for data in metrics if "valid_loss" in data)
    margin = last_train["train_rewards_chosen"] - last_train["train_rewards_rejected"]
    assert last_train["train_rewards_margins"] == pytest.approx(margin, rel=1e-3)
    assert last_valid["valid_rewards_margins"] > 0
    checkpoint = next(iter(client.fine_tuning.jobs.checkpoints.list(job.id)))
    expected = {name: last_train[name] for name in train} | {
        name: last_valid[name] for name in valid
    }
    assert expected.items() <= checkpoint.metrics.to_dict().items()
    results = read_results(client.files.content(job.result_files[0]).read())
    assert results.columns[5:] == (*train, *valid)
    assert {name: results.rows[-1][name] for name in expected} == expected


def test_training_continues_from_a_tuned_model(client: openai.OpenAI, continued_job: Any) -> None:
    job = wait_for_job(client, continued_job.id, "succeeded")
    first = next(text for text in event_messages(client, job.id) if text.startswith("Step 1/"))
    assert float(first.rpartition("=")[2]) < 0.5
    assert job.fine_tuned_model.startswith(f"ft:{SMOKE}::")
    assert ask_model(client, job.fine_tuned_model, "Sofia") == "aifoS"


def test_a_hosted_name_stands_for_another_base_model(
    client: openai.OpenAI, seeded_jobs: list[Any]
) -> None:
    mapped = seeded_jobs[0]
    assert "gpt-3.5-turbo stands for ftkit/smoke here" in event_messages(client, mapped.id)
    response = client.chat.completions.create(
        model=mapped.fine_tuned_model, messages=question("x"), max_tokens=1
    )
    assert (response.model, response.system_fingerprint) == (mapped.fine_tuned_model, SMOKE)


def test_a_base_model_can_be_a_folder(client: openai.OpenAI, folder_job: Any) -> None:
    assert ask_model(client, folder_job.fine_tuned_model, "x") is not None


def test_weights_that_are_not_safetensors_are_not_loaded(
    client: openai.OpenAI, pickled_job: Any, local_server: LocalServer
) -> None:
    job = wait_for_job(client, pickled_job.id, "failed")
    assert job.error.code == "model_not_available"
    assert "cannot be loaded" in job.error.message
    log = local_server.folder / "jobs" / job.id / "process.log"
    assert "(Error no file named model.safetensors" in log.read_text("utf-8")
