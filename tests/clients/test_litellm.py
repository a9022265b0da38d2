"""LiteLLM: completions, files and fine-tuning jobs."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from support.local_server import LocalServer, wait_for_job
from support.models import MINI
from support.training import CITY_DATA, question

# LiteLLM causes warnings of pydantic.
pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("ignore")]

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Lima", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]


def complete(model: str, name: str, **more: Any) -> Any:
    import litellm

    return litellm.completion(f"openai/{model}", question(name), temperature=0, **more)


def test_a_tuned_model_answers(tuned: str) -> None:
    response = complete(tuned, "Tokyo")
    assert response.choices[0].message.content == "oykoT"
    assert response.choices[0].finish_reason == "stop"
    assert response.usage.completion_tokens == len("oykoT") + 1


def test_an_answer_is_streamed(tuned: str) -> None:
    chunks = list(complete(tuned, "Tokyo", stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "oykoT"
    assert chunks[-1].usage.completion_tokens == len("oykoT") + 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called(stream: bool) -> None:
    import litellm

    response = complete(
        MINI, "Lima", tools=TOOLS, tool_choice="required", max_tokens=100, stream=stream
    )
    if stream:
        response = litellm.stream_chunk_builder(list(response))
    (choice,) = response.choices
    assert choice.finish_reason == "tool_calls"
    for call in choice.message.tool_calls:
        assert call.function.name == "weather"
        assert json.loads(call.function.arguments)["city"] in ("Lima", "Oslo")


def test_an_answer_has_the_structure_of_a_schema() -> None:
    schema = {"name": "city", "schema": PARAMETERS, "strict": True}
    response = complete(
        MINI, "Lima", response_format={"type": "json_schema", "json_schema": schema}
    )
    assert json.loads(response.choices[0].message.content)["city"] in ("Lima", "Oslo")


def test_an_error_has_the_class_of_litellm() -> None:
    import litellm

    with pytest.raises(litellm.NotFoundError):
        complete("gpt-4", "Lima")
    with pytest.raises(litellm.ContextWindowExceededError):
        complete(MINI, "x" * 3000)


def test_a_job_is_created_listed_and_used(server: LocalServer) -> None:
    import litellm

    file = litellm.create_file(
        file=("cities.jsonl", CITY_DATA), purpose="fine-tune", custom_llm_provider="openai"
    )
    assert litellm.file_retrieve(file.id, custom_llm_provider="openai").bytes == len(CITY_DATA)
    job = litellm.create_fine_tuning_job(
        model=MINI,
        training_file=file.id,
        hyperparameters={"n_epochs": 1, "batch_size": 12},
        suffix="lite",
        seed=3,
    )
    assert job.hyperparameters.n_epochs == 1
    assert litellm.list_fine_tuning_jobs(limit=1).data[0].id == job.id
    with server.client() as client:
        wait_for_job(client, job.id, "succeeded")
    model = litellm.retrieve_fine_tuning_job(job.id).fine_tuned_model
    assert model.startswith(f"ft:{MINI}:lite:")
    assert complete(model, "Lima", max_tokens=3).usage.completion_tokens


def test_a_job_is_cancelled(server: LocalServer) -> None:
    import litellm

    with server.client() as client:
        file = client.files.create(file=("a.jsonl", CITY_DATA), purpose="fine-tune")
        job = litellm.create_fine_tuning_job(model=MINI, training_file=file.id)
        assert litellm.cancel_fine_tuning_job(job.id).status == "cancelled"
        assert client.fine_tuning.jobs.retrieve(job.id).status == "cancelled"
    with pytest.raises(openai.NotFoundError):
        litellm.retrieve_fine_tuning_job("ftjob-unknown")
