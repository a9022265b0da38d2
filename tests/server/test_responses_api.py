"""`/v1/responses`: its requests to the generation process, its events and responses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pydantic
import pytest
from openai.lib._parsing._responses import parse_response
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent

from ftkit.server.bodies import read_body
from ftkit.server.errors import InternalError, InvalidRequestError, LimitReachedError, ServiceError
from ftkit.server.response_bodies import ResponseBody
from ftkit.server.response_events import collect_response, stream_response

Responses = list[dict[str, Any]]

BODY: dict[str, Any] = {"model": "m", "input": "x"}
USER = {"role": "user", "content": "x"}
ABSENT: dict[str, Any] = {
    "messages": [USER],
    "n": 1,
    "max_tokens": None,
    "temperature": None,
    "top_p": None,
    "stop": [],
    "seed": None,
}
"""Request for the process for a body without optional parameters."""

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
CHAT_TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": SCHEMA, "strict": False},
}
FORMAT = {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}
CHAT_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
}
LOGPROBS = ["message.output_text.logprobs"]


def read(**parameters: Any) -> ResponseBody:
    return read_body(msgspec.json.encode({**BODY, **parameters}), ResponseBody)


@pytest.mark.parametrize(
    "parameters",
    [
        {"store": None},
        {"store": False},
        {"background": False, "conversation": None, "previous_response_id": None, "prompt": None},
        {"reasoning": None},
        {"reasoning": {}},
        {"reasoning": {"effort": None, "summary": None}},
        {"truncation": "disabled", "context_management": []},
        {"include": []},
        {"include": ["reasoning.encrypted_content"]},
        {"text": {}},
        {"text": {"format": {"type": "text"}, "verbosity": "medium"}},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "max_tool_calls": 3},
        {"metadata": {"team": "a"}, "user": "me", "safety_identifier": "a"},
        {"prompt_cache_key": "a", "prompt_cache_retention": "24h", "service_tier": "auto"},
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"instructions": None, "temperature": None, "top_p": None, "max_output_tokens": None},
    ],
)
def test_parameters_without_effect_do_not_reach_the_process(parameters: dict[str, Any]) -> None:
    assert read(**parameters).request() == ABSENT


@pytest.mark.parametrize(
    ("parameters", "fields"),
    [
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}),
        ({"max_output_tokens": 7}, {"max_tokens": 7}),
        (
            {"instructions": "Be brief."},
            {"messages": [{"role": "system", "content": "Be brief."}, USER]},
        ),
        ({"include": LOGPROBS}, {"logprobs": 0}),
        ({"include": LOGPROBS, "top_logprobs": 2}, {"logprobs": 2}),
        ({"tools": [TOOL]}, {"tools": [CHAT_TOOL], "tool_choice": "auto"}),
        (
            {
                "tools": [TOOL],
                "tool_choice": {"type": "function", "name": "weather"},
                "parallel_tool_calls": False,
            },
            {
                "tools": [CHAT_TOOL],
                "tool_choice": {"type": "function", "function": {"name": "weather"}},
                "parallel_tool_calls": False,
            },
        ),
        (
            {"text": {"format": {"type": "json_object"}}},
            {"response_format": {"type": "json_object"}},
        ),
        ({"text": {"format": FORMAT}}, {"response_format": CHAT_FORMAT}),
    ],
)
def test_parameters_with_an_effect_reach_the_process(
    parameters: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert read(**parameters).request() == {**ABSENT, **fields}


def test_a_function_may_have_no_parameters() -> None:
    for tool in ({**TOOL, "parameters": None}, {"type": "function", "name": "weather"}):
        body = read(tools=[tool])
        assert "parameters" not in body.request()["tools"][0]["function"]
        assert body.echo()["tools"][0]["parameters"] is None


def test_functions_are_strict_unless_the_request_says_otherwise() -> None:
    tool = {name: value for name, value in TOOL.items() if name != "strict"}
    assert read(tools=[tool]).request()["tools"][0]["function"]["strict"] is True
    tool["strict"] = None
    assert "strict" not in read(tools=[tool]).request()["tools"][0]["function"]


def call(id: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": "weather", "arguments": "{}"}


def chat_call(id: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "weather", "arguments": "{}"}}


ANSWER = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Wait.", "annotations": [], "logprobs": []}],
}


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([USER], [USER]),
        ([{"type": "message", **USER}], [USER]),
        (
            [{"role": "developer", "content": [{"type": "input_text", "text": "a"}]}],
            [{"role": "developer", "content": [{"type": "text", "text": "a"}]}],
        ),
        (
            [{"role": "user", "content": [{"type": "input_image", "image_url": "data:a"}]}],
            [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "data:a"}}],
                }
            ],
        ),
        (
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
        ),
        (
            [ANSWER, call("a"), call("b"), {**call("a"), "type": "function_call_output", "output": "1"}],
            [
                {
                    "role": "assistant",
                    "content": [{"type": "text", "text": "Wait."}],
                    "tool_calls": [chat_call("a"), chat_call("b")],
                },
                {"role": "tool", "tool_call_id": "a", "content": "1"},
            ],
        ),
        (
            [USER, call("a")],
            [USER, {"role": "assistant", "content": None, "tool_calls": [chat_call("a")]}],
        ),
    ],
)  # fmt: skip
def test_items_are_messages_of_a_chat(items: Any, messages: Any) -> None:
    assert read(input=items).request()["messages"] == messages


@pytest.mark.parametrize(
    ("parameters", "param", "code"),
    [
        ({"store": True}, "store", "unsupported_value"),
        ({"background": True}, "background", "unsupported_value"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "invalid_value"),
        ({"reasoning": {"effort": "low"}}, "reasoning", "unsupported_value"),
        ({"truncation": "auto"}, "truncation", "unsupported_value"),
        ({"include": ["file_search_call.results"]}, "include[0]", "invalid_value"),
        ({"top_logprobs": 1}, "top_logprobs", "invalid_value"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "invalid_value"),
        ({"tools": [{"type": "mcp", "server_label": "a"}]}, "tools[0].type", "invalid_value"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice.type", "invalid_value"),
        ({"tool_choice": {"type": "function", "name": "a"}}, "tool_choice", "invalid_value"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name", "missing_required_parameter"),
        ({"text": {"verbosity": "high"}}, "text.verbosity", "invalid_value"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": [{"type": "item_reference", "id": "a"}]}, "input[0].type", "unsupported_value"),
        ({"input": [USER, {"type": "reasoning"}]}, "input[1].type", "unsupported_value"),
        ({"input": [{"type": []}]}, "input[0].type", "invalid_value"),
        ({"input": ["x"]}, "input[0]", "invalid_value"),
        ({"tools": [{**TOOL, "parameters": []}]}, "tools[0].parameters", "invalid_value"),
        ({"text": {"format": {**FORMAT, "schema": 1}}}, "text.format.schema", "invalid_value"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "invalid_value"),
        ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "a"}]}]},
            "input[0].content[0].type",
            "invalid_value",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "a"}]}]},
            "input[0].content[0].file_id",
            "invalid_value",
        ),
        ({"n": 2}, "n", "unknown_parameter"),
    ],
)  # fmt: skip
def test_unsupported_parameters_are_refused(
    parameters: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(InvalidRequestError) as error:
        read(**parameters).request()
    assert (error.value.param, error.value.code) == (param, code)
    assert "\n" not in str(error.value)


TEXT: Responses = [
    {"index": 0, "text": '{"city":'},
    {"index": 0, "text": ' "Lima"}'},
    {"index": 0, "finish_reason": "stop", "tokens": 5},
    {"done": True, "prompt_tokens": 4},
]
CUT: Responses = [*TEXT[:2], {"index": 0, "finish_reason": "length", "tokens": 5}, TEXT[3]]
CALLS: Responses = [
    {
        "index": 0,
        "tool_calls": [
            {"name": "weather", "arguments": '{"city": "Lima"}'},
            {"name": "time", "arguments": "{}"},
        ],
    },
    {"index": 0, "finish_reason": "tool_calls", "tokens": 5},
    TEXT[3],
]
EMPTY: Responses = TEXT[2:]
WITH_LOGPROBS: Responses = [
    {
        "index": 0,
        "text": "a",
        "logprobs": [
            {
                "token": "a",
                "logprob": -0.5,
                "bytes": [97],
                "top_logprobs": [{"token": "a", "logprob": -0.5, "bytes": [97]}],
            }
        ],
    },
    *TEXT[2:],
]

ECHO = read(instructions="Be brief.", tools=[TOOL], metadata={"a": "b"}).echo()


async def send(responses: Responses, error: ServiceError | None) -> AsyncIterator[dict[str, Any]]:
    for response in responses:
        yield response
    if error:
        raise error


def complete(responses: Responses, echo: dict[str, Any] = ECHO) -> dict[str, Any]:
    return asyncio.run(collect_response(echo, send(responses, None)))


def stream_events(responses: Responses, error: ServiceError | None = None) -> list[dict[str, Any]]:
    async def run() -> list[bytes]:
        return [event async for event in stream_response(ECHO, send(responses, error))]

    events = []
    for encoded in asyncio.run(run()):
        name, data, *rest = encoded.decode().split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert (name, rest) == (f"event: {event['type']}", ["", ""])
        events.append(event)
    return events


ALL = [TEXT, CUT, CALLS, [TEXT[0], *CALLS], EMPTY, WITH_LOGPROBS]


@pytest.mark.parametrize("responses", ALL)
def test_responses_are_those_of_openai_s_published_types(responses: Responses) -> None:
    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)
    Response.model_validate(complete(responses))
    for event in stream_events(responses):
        adapter.validate_python(event)


@pytest.mark.parametrize("responses", ALL)
def test_the_last_event_has_the_complete_response(responses: Responses) -> None:
    def without_ids(value: Any) -> Any:
        if isinstance(value, list):
            return [without_ids(item) for item in value]
        if isinstance(value, dict):
            ids = ("id", "call_id", "created_at", "completed_at")
            return {name: without_ids(item) for name, item in value.items() if name not in ids}
        return value

    last = stream_events(responses)[-1]["response"]
    assert without_ids(last) == without_ids(complete(responses))


@pytest.mark.parametrize("responses", ALL)
def test_events_are_numbered(responses: Responses) -> None:
    events = stream_events(responses)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


MESSAGE_EVENTS = [
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]
CALL_EVENTS = [
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
]


@pytest.mark.parametrize(
    ("responses", "expected", "end"),
    [
        (TEXT, MESSAGE_EVENTS, "response.completed"),
        (CUT, MESSAGE_EVENTS, "response.incomplete"),
        (CALLS, CALL_EVENTS * 2, "response.completed"),
        ([*TEXT[:2], *CALLS], MESSAGE_EVENTS + CALL_EVENTS * 2, "response.completed"),
    ],
)
def test_events_have_openai_s_order(responses: Responses, expected: list[str], end: str) -> None:
    types = [event["type"] for event in stream_events(responses)]
    assert types == ["response.created", "response.in_progress", *expected, end]


@pytest.mark.parametrize("responses", [TEXT, CALLS, [TEXT[0], *CALLS], EMPTY, WITH_LOGPROBS])
def test_the_sdk_makes_the_same_response_of_the_events(responses: Responses) -> None:
    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)
    state: Any = ResponseStreamState(input_tools=openai.omit, text_format=openai.omit)
    deltas = {"response.output_text.delta": "", "response.function_call_arguments.delta": ""}
    final = None
    for event in stream_events(responses):
        for parsed in state.handle_event(adapter.validate_python(event)):
            if parsed.type in deltas:
                deltas[parsed.type] += parsed.delta
            final = getattr(parsed, "response", final)
    assert final
    expected = Response.model_validate(complete(responses))
    assert final.output_text == expected.output_text == deltas["response.output_text.delta"]
    calls = [item.arguments for item in final.output if item.type == "function_call"]
    assert "".join(calls) == deltas["response.function_call_arguments.delta"]
    assert [item.type for item in final.output] == [item.type for item in expected.output]
    assert final.usage == expected.usage


def test_the_sdk_parses_structured_output() -> None:
    class City(pydantic.BaseModel):
        city: str

    echo = read(text={"format": FORMAT}).echo()
    response = Response.model_validate(complete(TEXT, echo))
    parsed = parse_response(text_format=City, input_tools=None, response=response)
    assert parsed.output_parsed == City(city="Lima")
    assert echo["text"]["format"] == FORMAT


def test_a_response_repeats_the_request() -> None:
    response = complete(TEXT)
    assert (response["instructions"], response["metadata"]) == ("Be brief.", {"a": "b"})
    assert response["tools"] == [{**TOOL, "description": None}]
    assert (response["status"], response["store"]) == ("completed", False)
    assert response["usage"]["total_tokens"] == 9


def test_an_answer_that_is_cut_is_incomplete() -> None:
    response = complete(CUT)
    assert response["status"] == response["output"][0]["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}


def test_the_log_probabilities_are_those_of_the_text() -> None:
    (part,) = complete(WITH_LOGPROBS)["output"][0]["content"]
    assert part["logprobs"] == WITH_LOGPROBS[0]["logprobs"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InternalError("bad"), "server_error"),
        (LimitReachedError("bad"), "rate_limit_exceeded"),
        (InvalidRequestError("bad"), "invalid_prompt"),
    ],
)
def test_an_error_within_a_stream_is_a_failed_response(error: ServiceError, code: str) -> None:
    last = stream_events(TEXT[:1], error)[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": code, "message": "bad"}
    Response.model_validate(last["response"])


def test_an_error_before_the_response_is_raised() -> None:
    with pytest.raises(InternalError, match="bad"):
        asyncio.run(collect_response(ECHO, send([], InternalError("bad"))))


def test_a_response_cannot_be_retrieved(client: openai.OpenAI) -> None:
    for request in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(openai.NotFoundError, match="does not store completions and responses"):
            request("resp_1")


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_for_an_unknown_model_is_not_found(stream: bool, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        client.responses.create(model="gpt-4o", input="x", stream=stream)
    assert (error.value.code, error.value.param) == ("model_not_found", "model")
