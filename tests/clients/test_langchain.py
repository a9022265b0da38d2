"""LangChain's `ChatOpenAI`."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from support.models import MINI

pytestmark = pytest.mark.clients


class Weather(BaseModel):
    """The weather in a city."""

    sky: Literal["clear", "grey"] = Field(description="The colour of the sky")
    warm: bool


def chat(model: str, **more: Any) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=model, temperature=0, **more)


@pytest.fixture(params=["chat completions", "responses"])
def tuned_chat(request: pytest.FixtureRequest, tuned: str) -> Any:
    """The tuned model, by one of the two endpoints."""
    return chat(tuned, use_responses_api=request.param == "responses")


def test_a_tuned_model_is_invoked(tuned: str, tuned_chat: Any) -> None:
    message = tuned_chat.invoke("Say Tokyo")
    assert message.text == "oykoT"
    assert message.usage_metadata["output_tokens"] == len("oykoT") + 1
    assert message.response_metadata["model_name"] == tuned
    answers = tuned_chat.batch(["Say Tokyo", "Say Lima"])
    assert [answer.text for answer in answers] == ["oykoT", "amiL"]


def test_an_answer_is_streamed(tuned_chat: Any) -> None:
    texts = [chunk.text for chunk in tuned_chat.stream([("user", "Say Tokyo")])]
    assert "".join(texts) == "oykoT"
    assert len([text for text in texts if text]) > 1


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_an_answer_has_the_structure_of_a_model(method: str) -> None:
    model = chat(MINI, max_tokens=200).with_structured_output(Weather, method=method)
    assert isinstance(model.invoke("Say Lima"), Weather)


def test_a_bound_tool_is_called_and_its_result_is_sent_back() -> None:
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    @tool
    def weather(city: Literal["Lima", "Oslo"]) -> str:
        """Return the weather in a city."""
        return f"rain in {city}"

    model = chat(MINI, max_tokens=100)
    question = HumanMessage("Say Lima")
    answer = model.bind_tools([weather], tool_choice="required").invoke([question])
    (call, *_) = answer.tool_calls
    result = weather.invoke(call)
    assert isinstance(result, ToolMessage)
    assert result.content in ("rain in Lima", "rain in Oslo")
    results = [weather.invoke(call) for call in answer.tool_calls]
    assert model.bind_tools([weather]).invoke([question, answer, *results]).usage_metadata
