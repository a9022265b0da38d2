"""The steps of OpenAI's cookbook for fine-tuning, with OpenAI's SDK and nothing of ftkit."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from support.models import MINI
from support.training import CITIES, city_example, question

# `tox -e clients` has openai 2 because of the other tools, `tox -e training` has openai 3.
pytestmark = [pytest.mark.clients, pytest.mark.training]

ENDED = ("succeeded", "failed", "cancelled")


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    """A client with the settings of the environment, closed at the end."""
    with openai.OpenAI() as client:
        yield client


def chat_examples() -> list[dict[str, Any]]:
    return [city_example(name, name[::-1]) for name in CITIES]


def preference_examples() -> list[dict[str, Any]]:
    """Examples in which the city is preferred to the city written backwards."""
    return [
        {
            "input": {"messages": question(name)},
            "preferred_output": [{"role": "assistant", "content": name}],
            "non_preferred_output": [{"role": "assistant", "content": name[::-1]}],
        }
        for name in CITIES
    ]


def write_jsonl(path: Path, examples: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(example) + "\n")
    return path


def count_format_errors(path: Path) -> Counter[str]:
    """Count the errors that the cookbook's check of chat files looks for."""
    errors: Counter[str] = Counter()
    for line in path.read_text("utf-8").splitlines():
        messages = json.loads(line).get("messages")
        if not messages:
            errors["missing_messages_list"] += 1
            continue
        for message in messages:
            errors["message_missing_key"] += not {"role", "content"} <= message.keys()
            errors["unrecognized_role"] += message["role"] not in ("system", "user", "assistant")
            errors["missing_content"] += not isinstance(message["content"], str)
        if not any(message["role"] == "assistant" for message in messages):
            errors["example_missing_assistant_message"] += 1
    return +errors


def upload(client: openai.OpenAI, path: Path) -> str:
    with path.open("rb") as file:
        return client.files.create(file=file, purpose="fine-tune").id


def poll(client: openai.OpenAI, id: str) -> Any:
    """Return the job after it has ended, and print its new events meanwhile."""
    seen: set[str] = set()
    while True:
        job = client.fine_tuning.jobs.retrieve(id)
        for event in reversed(client.fine_tuning.jobs.list_events(id, limit=10).data):
            if event.id not in seen:
                print(event.created_at, event.level, event.message)
            seen.add(event.id)
        if job.status in ENDED:
            return job
        time.sleep(0.2)


def test_the_steps_for_chat_models(
    client: openai.OpenAI, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = chat_examples()
    random.Random(1).shuffle(examples)
    train = write_jsonl(tmp_path / "train.jsonl", examples)
    valid = write_jsonl(tmp_path / "valid.jsonl", examples[:3])
    assert not count_format_errors(train)
    job = client.fine_tuning.jobs.create(
        training_file=upload(client, train),
        validation_file=upload(client, valid),
        model=MINI,
        suffix="cities",
        hyperparameters={"n_epochs": 2, "batch_size": 6},
    )
    assert job.status == "validating_files"
    job = poll(client, job.id)
    assert job.status == "succeeded", job.error
    assert "New fine-tuned model created" in capsys.readouterr().out
    assert job.trained_tokens
    assert job.fine_tuned_model == f"ft:{MINI}:cities:{job.fine_tuned_model.split(':')[-1]}"
    results = client.files.content(job.result_files[0]).read().decode()
    assert results.splitlines()[0].startswith("step,train_loss")
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert [checkpoint.step_number for checkpoint in checkpoints] == [4, 2]
    for model in (job.fine_tuned_model, checkpoints[-1].fine_tuned_model_checkpoint):
        response = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Say Lima"}],
            temperature=0,
            max_tokens=8,
        )
        assert response.choices[0].message.role == "assistant"
        assert response.usage
    assert client.models.delete(job.fine_tuned_model).deleted


def test_the_steps_for_preferences(client: openai.OpenAI, tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "preferences.jsonl", preference_examples())
    job = client.fine_tuning.jobs.create(
        training_file=upload(client, train),
        model=MINI,
        method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 2, "beta": 0.2}}},
    )
    job = poll(client, job.id)
    assert job.status == "succeeded", job.error
    assert job.method
    assert job.method.dpo
    assert job.method.dpo.hyperparameters
    assert job.method.dpo.hyperparameters.beta == 0.2
    response = client.chat.completions.create(
        model=job.fine_tuned_model,
        messages=[{"role": "user", "content": "Say Lima"}],
        temperature=0,
        max_tokens=8,
    )
    assert response.usage
    assert response.usage.completion_tokens


def test_a_file_with_errors_fails_the_job(client: openai.OpenAI, tmp_path: Path) -> None:
    examples = [*chat_examples(), {"messages": question("Oslo")}]
    train = write_jsonl(tmp_path / "train.jsonl", examples)
    assert count_format_errors(train) == {"example_missing_assistant_message": 1}
    job = client.fine_tuning.jobs.create(training_file=upload(client, train), model=MINI)
    job = poll(client, job.id)
    assert (job.status, job.error.code) == ("failed", "invalid_training_file")
