"""Tool calls and response formats, requested from the service by OpenAI's SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel

from support.local_server import LocalServer, wait_for_job
from support.models import SMOKE
from support.training import CITIES, encode_jsonl, method_with, question, start_job

pytestmark = pytest.mark.training

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Lima", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}


def tool(name: str, parameters: dict[str, Any] = PARAMETERS) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [tool("weather"), tool("time")]


def call_example(city: str) -> dict[str, Any]:
    """An example in which a city that is written backwards calls the tool for the weather."""
    call = {"name": "weather", "arguments": json.dumps({"city": city})}
    calls = [{"id": "call_1", "type": "function", "function": call}]
    answer = {"role": "assistant", "tool_calls": calls}
    return {"messages": [*question(city[::-1]), answer], "tools": TOOLS}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with LocalServer(tmp_path_factory.mktemp("tools") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def client(server: LocalServer) -> Iterator[openai.OpenAI]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def tuned(client: openai.OpenAI) -> str:
    """A model that has learned to call a tool."""
    content = encode_jsonl([call_example(city) for city in CITIES[:2] * 6])
    job = start_job(client, content, method=method_with(n_epochs=30, batch_size=6))
    return str(wait_for_job(client, job.id, "succeeded").fine_tuned_model)


def ask(client: openai.OpenAI, model: str, name: str = "x", **more: Any) -> Any:
    defaults = {"temperature": 0, "max_tokens": 200}
    return client.chat.completions.create(
        model=model,
        messages=question(name),  # type: ignore[arg-type]
        **{**defaults, **more},
    )


def test_a_tuned_model_calls_the_tool_that_it_has_learned(
    client: openai.OpenAI, tuned: str
) -> None:
    for city in CITIES[:2]:
        (choice,) = ask(client, tuned, city[::-1], tools=TOOLS).choices
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        (call,) = choice.message.tool_calls
        assert call.function.name == "weather"
        assert json.loads(call.function.arguments) == {"city": city}
        answered = [
            *question(city[::-1]),
            choice.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "rain"},
        ]
        assert client.chat.completions.create(
            model=tuned, messages=answered, tools=TOOLS, max_tokens=5
        ).choices


def test_a_stream_has_the_tool_call(client: openai.OpenAI, tuned: str) -> None:
    with client.chat.completions.stream(
        model=tuned, messages=question("amiL"), tools=TOOLS, temperature=0
    ) as stream:
        (choice,) = stream.get_final_completion().choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    function = choice.message.tool_calls[0].function
    assert (function.name, json.loads(function.arguments)) == ("weather", {"city": "Lima"})


def test_the_responses_route_calls_tools(client: openai.OpenAI, tuned: str) -> None:
    tools = [{"type": "function", **item["function"], "strict": None} for item in TOOLS]
    response = client.responses.create(
        model=tuned, input="Say amiL", tools=tools, temperature=0, store=False
    )
    (call,) = response.output
    assert (call.type, call.name) == ("function_call", "weather")
    assert json.loads(call.arguments) == {"city": "Lima"}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "time"}}])
def test_a_model_that_has_learned_nothing_calls_a_tool_if_it_must(
    choice: Any, client: openai.OpenAI
) -> None:
    response = ask(client, SMOKE, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, n=2)
    for item in response.choices:
        assert item.finish_reason == "tool_calls"
        (call,) = item.message.tool_calls
        assert call.function.name in ({"time"} if isinstance(choice, dict) else {"time", "weather"})
        assert json.loads(call.function.arguments)["city"] in ("Lima", "Oslo")


def test_a_response_format_does_not_apply_to_an_answer_that_must_be_a_call(
    client: openai.OpenAI,
) -> None:
    (choice,) = ask(
        client,
        SMOKE,
        tools=TOOLS,
        tool_choice="required",
        response_format={"type": "json_object"},
    ).choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None


@pytest.mark.parametrize("choice", ["none", "auto"])
def test_an_answer_without_calls_is_content(choice: Any, client: openai.OpenAI) -> None:
    (answer,) = ask(
        client, SMOKE, tools=TOOLS, tool_choice=choice, temperature=1, max_tokens=40
    ).choices
    assert answer.message.tool_calls is None
    assert answer.message.content
    assert answer.finish_reason in ("stop", "length")


class Report(BaseModel):
    sky: Literal["clear", "grey"]
    warm: bool
    day: Literal["Monday", "Friday"]


def test_an_answer_has_the_structure_of_a_schema(client: openai.OpenAI) -> None:
    completion = client.chat.completions.parse(
        model=SMOKE, messages=question("x"), response_format=Report, seed=3, max_tokens=500
    )
    parsed = completion.choices[0].message.parsed
    assert completion.choices[0].finish_reason == "stop"
    assert parsed
    assert parsed.sky in ("clear", "grey")
    response = client.responses.parse(
        model=SMOKE, input="x", text_format=Report, store=False, max_output_tokens=500
    )
    assert response.output_parsed


def test_an_answer_in_json_starts_with_a_brace(client: openai.OpenAI) -> None:
    (choice,) = ask(
        client, SMOKE, response_format={"type": "json_object"}, max_tokens=30, n=1
    ).choices
    assert choice.message.content.lstrip().startswith("{")


@pytest.mark.parametrize(
    ("more", "message", "param"),
    [
        (
            {"tools": TOOLS, "response_format": {"type": "json_object"}},
            "response_format cannot be combined with tools",
            "response_format",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"$ref": "http://127.0.0.1/x"}},
                }
            },
            "not present in a registry",
            "response_format",
        ),
        (
            {"logit_bias": {"99999": 1}},
            "not in the vocabulary",
            "logit_bias",
        ),
    ],
)
def test_unsupported_tools_schemas_and_biases_are_refused(
    more: dict[str, Any], message: str, param: str, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError, match=message) as error:
        ask(client, SMOKE, **more)
    assert error.value.param == param
