"""`/v1/responses` with a model that answers, by OpenAI's SDK."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from support.models import SMOKE
from support.training import question

pytestmark = pytest.mark.training


def test_a_response_has_the_answer_of_a_chat(client: openai.OpenAI, tuned_job: Any) -> None:
    model = tuned_job.fine_tuned_model
    response = client.responses.create(
        model=model, input="Say Tokyo", temperature=0, metadata={"team": "a"}
    )
    assert (response.output_text, response.status) == ("oykoT", "completed")
    assert response.model == model
    assert response.metadata == {"team": "a"}
    chat = client.chat.completions.create(
        model=model,
        messages=question("Tokyo"),
        temperature=0,  # type: ignore[arg-type]
    )
    assert response.usage
    assert chat.usage
    assert response.usage.input_tokens == chat.usage.prompt_tokens
    assert response.usage.output_tokens == chat.usage.completion_tokens
    cut = client.responses.create(
        model=model,
        input=[question("Tokyo")[0]],
        temperature=0,
        max_output_tokens=2,  # type: ignore[list-item]
    )
    assert (cut.output_text, cut.status) == ("oy", "incomplete")
    assert cut.incomplete_details
    assert cut.incomplete_details.reason == "max_output_tokens"


def test_a_streamed_response_has_the_same_answer(client: openai.OpenAI, tuned_job: Any) -> None:
    request: dict[str, Any] = {"model": tuned_job.fine_tuned_model, "temperature": 0}
    with client.responses.stream(input="Say Tokyo", **request) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        response = stream.get_final_response()
    assert "".join(deltas) == response.output_text == "oykoT"
    events = list(client.responses.create(input="Say Tokyo", stream=True, **request))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]


def test_the_items_of_a_response_can_be_sent_back(client: openai.OpenAI, tuned_job: Any) -> None:
    request: dict[str, Any] = {"model": tuned_job.fine_tuned_model, "temperature": 0}
    first = client.responses.parse(input="Say Tokyo", **request)
    items: Any = [*question("Tokyo"), *first.output, *question("Lima")]
    second = client.responses.create(input=items, **request)
    assert second.usage
    assert first.usage
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_long_inputs_unknown_models_and_storage_are_refused(
    stream: bool, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError, match="context") as refused:
        client.responses.create(model=SMOKE, input="x" * 3000, stream=stream)
    assert refused.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="gpt-4", input="x", stream=stream)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as stored:
        client.responses.create(model=SMOKE, input="x", stream=stream, store=True)
    assert stored.value.param == "store"
