"""Jobs of the local server."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from ftkit.server.results import results_csv
from support.examples import chat_lines
from support.local_server import LocalServer, event_messages, wait_for_job
from support.models import SMOKE
from support.server_requests import raw_request, upload_file

BAD = {
    "role": (
        chat_lines(12, {3: {"messages": [{"role": "human", "content": "x"}]}}),
        "invalid_training_file",
        "line 3",
    ),
    "json": (chat_lines(12, {5: b"oops"}), "invalid_file_format", "line 5"),
    "few": (chat_lines(4), "invalid_n_examples", "needs at least 10"),
    "extra": (
        chat_lines(12, {2: {"messages": json.loads(chat_lines(1)[0])["messages"], "extra": 1}}),
        "invalid_file_format",
        "line 2",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_job_on_an_invalid_file_fails_with_the_service_s_code_and_names_lines(
    name: str, client: openai.OpenAI
) -> None:
    bad, code, message = BAD[name]
    file = upload_file(client, b"\n".join(bad), "mine.jsonl")
    job = client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id)
    failed = wait_for_job(client, job.id, "failed")
    assert failed.error.code == code
    assert failed.error.param == "training_file"
    assert message in failed.error.message
    assert "mine.jsonl" in failed.error.message
    assert event_messages(client, job.id)[-1] == f"The job failed: {failed.error.message}"


def test_a_file_for_another_method_fails_the_job(client: openai.OpenAI) -> None:
    job = client.fine_tuning.jobs.create(
        model=SMOKE, training_file=upload_file(client).id, method={"type": "dpo"}
    )
    assert (
        "job's method is 'dpo', not 'supervised'"
        in wait_for_job(client, job.id, "failed").error.message
    )


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "model", "missing_required_parameter"),
        ({"model": SMOKE}, "training_file", "missing_required_parameter"),
        ({"model": SMOKE, "training_file": "file-none"}, "training_file", "file_not_found"),
        ({"model": "gpt-4o-mini", "training_file": "FILE"}, "model", "model_not_found"),
        ({"model": "ft:gpt-4o:a::b", "training_file": "FILE"}, "model", "model_not_found"),
        ({"model": "../../etc/x", "training_file": "FILE"}, "model", "model_not_found"),
        ({"model": SMOKE, "training_file": "FILE", "suffix": "x" * 65}, "suffix", "invalid_value"),
        ({"model": SMOKE, "training_file": "FILE", "suffix": "a\nb"}, "suffix", "invalid_value"),
        ({"model": SMOKE, "training_file": "FILE", "seed": -1}, "seed", "invalid_value"),
        ({"model": SMOKE, "training_file": "FILE", "nonsense": 1}, "nonsense", "unknown_parameter"),
        (
            {"model": SMOKE, "training_file": "FILE", "hyperparameters": {"n_epochs": 51}},
            "hyperparameters.n_epochs",
            "invalid_value",
        ),
        (
            {"model": SMOKE, "training_file": "FILE", "method": {"type": "reinforcement"}},
            "method",
            "unsupported_method",
        ),
        (
            {"model": SMOKE, "training_file": "FILE", "integrations": [{"type": "wandb"}]},
            "integrations[0].wandb",
            "missing_required_parameter",
        ),
        (
            {"model": SMOKE, "training_file": "FILE", "metadata": {str(n): "x" for n in range(17)}},
            "metadata",
            "invalid_value",
        ),
    ],
)
def test_a_job_that_cannot_be_is_refused_with_the_parameter(
    body: dict[str, Any], param: str, code: str, client: openai.OpenAI
) -> None:
    file = upload_file(client)
    status, answer = raw_request(
        client,
        "POST",
        "fine_tuning/jobs",
        {**body, **({"training_file": file.id} if body.get("training_file") == "FILE" else {})},
    )
    assert status == 400
    assert (answer["error"]["param"], answer["error"]["code"]) == (param, code)
    assert answer["error"]["type"] == "invalid_request_error"


def test_a_hosted_name_that_stands_for_nothing_says_how_to_map_it(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"--map gpt-4o-mini=Qwen/Qwen3-0\.6B"):
        client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=upload_file(client).id)


def test_jobs_are_paged_and_found_by_metadata(client: openai.OpenAI) -> None:
    file = upload_file(client)
    created = [
        client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id, metadata={"n.n": str(n)})
        for n in range(5)
    ]
    for job in created:
        client.fine_tuning.jobs.cancel(job.id)
    listed = [job.id for job in client.fine_tuning.jobs.list(limit=2)][:5]
    assert listed == [job.id for job in created][::-1]
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"n.n": "3"})] == [
        created[3].id
    ]
    status, answer = raw_request(client, "GET", "fine_tuning/jobs?after=ftjob-none")
    assert (status, answer["error"]["param"]) == (404, "after")
    assert raw_request(client, "GET", "fine_tuning/jobs?limit=0")[0] == 400


def test_a_job_whose_process_dies_fails_in_the_end_and_never_hangs(
    client: openai.OpenAI, local_server: LocalServer
) -> None:
    """A base that is a folder with nothing in it, which only the training process can find out."""
    job = client.fine_tuning.jobs.create(
        model="no/such-model-anywhere", training_file=upload_file(client).id
    )
    failed = wait_for_job(client, job.id, "failed")
    assert failed.error.message
    assert failed.finished_at


def test_the_result_file_has_a_row_for_each_step() -> None:
    metrics = [
        {"step": 2, "total_steps": 2, "train_loss": 1.5, "train_mean_token_accuracy": 0.5},
        {"step": 1, "total_steps": 2, "train_loss": 2.0, "train_mean_token_accuracy": 0.25},
        {"step": 2, "total_steps": 2, "valid_loss": 1.75, "valid_mean_token_accuracy": 0.5},
    ]
    assert results_csv(metrics).decode() == (
        "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,2.0,0.25,,\n2,1.5,0.5,1.75,0.5\n"
    )


def test_the_result_file_of_a_preference_job_has_the_columns_of_its_rewards() -> None:
    metrics = [
        {"step": 1, "train_loss": 0.7, "train_rewards_margins": 0.0},
        {"step": 2, "train_loss": 0.5, "train_rewards_margins": 0.25},
        {"step": 2, "valid_loss": 0.6, "valid_logps_chosen": -3.0},
    ]
    assert results_csv(metrics).decode().splitlines() == [
        "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
        ",train_rewards_margins,valid_logps_chosen",
        "1,0.7,,,,0.0,",
        "2,0.5,,0.6,,0.25,-3.0",
    ]
