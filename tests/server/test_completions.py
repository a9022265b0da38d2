"""Chat and text completions from the responses of the generation process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from ftkit.server.completion_choices import ChatChoices, TextChoices
from ftkit.server.completions import ResponseHeader, collect, stream, wait_for_first
from ftkit.server.errors import InternalError, ServiceError

Responses = list[dict[str, Any]]

HEADERS = {
    ChatChoices: ResponseHeader("chat", "m", "base", "chatcmpl-1", 1),
    TextChoices: ResponseHeader("text", "m", "base", "cmpl-1", 1),
}

CALLS = [
    {"name": "weather", "arguments": '{"city": "Lima"}'},
    {"name": "time", "arguments": "{}"},
]
CALL_RESPONSES: Responses = [
    {"index": 0, "tool_calls": CALLS},
    {"index": 0, "finish_reason": "tool_calls", "tokens": 9},
    {"done": True, "prompt_tokens": 4},
]
TWO_CHOICES: Responses = [
    {"index": 1, "text": "b"},
    {"index": 0, "text": "a"},
    {"index": 1, "text": "B"},
    {"index": 1, "finish_reason": "length", "tokens": 2},
    {"index": 0, "finish_reason": "stop", "tokens": 3},
    {"done": True, "prompt_tokens": 4},
]
STOPPED_CHOICES: Responses = [
    {**response, "finish_reason": "stop"} if "finish_reason" in response else response
    for response in TWO_CHOICES
]
"""The SDK raises an error for choices that end with "length"."""
TEXT_AND_CALLS: Responses = [{"index": 0, "text": "Wait."}, *CALL_RESPONSES]


async def send(responses: Responses) -> AsyncIterator[dict[str, Any]]:
    for response in responses:
        if "error" in response:
            raise InternalError(response["error"])
        yield response


def complete(responses: Responses, choices: ChatChoices | TextChoices) -> dict[str, Any]:
    """Return the complete response."""
    return asyncio.run(collect(HEADERS[type(choices)], send(responses), choices))


def stream_chunks(
    responses: Responses, choices: ChatChoices | TextChoices, with_usage: bool = False
) -> list[dict[str, Any]]:
    """Return the chunks of the streamed response."""

    async def read() -> list[bytes]:
        events = stream(HEADERS[type(choices)], send(responses), choices, with_usage)
        return [event async for event in events]

    *events, last = asyncio.run(read())
    assert last == b"data: [DONE]\n\n"
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


def accumulate(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the chat completion that OpenAI's SDK makes of the chunks, without its new fields."""
    state = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    completion = ChatCompletion.model_validate(state.get_final_completion().to_dict())
    return completion.model_dump(exclude_none=True)


@pytest.mark.parametrize("responses", [CALL_RESPONSES, TWO_CHOICES, TEXT_AND_CALLS])
@pytest.mark.parametrize("has_functions", [False, True])
def test_chats_are_those_of_openai_s_published_types(
    responses: Responses, has_functions: bool
) -> None:
    response = complete(responses, ChatChoices(has_functions))
    ChatCompletion.model_validate(response, strict=True)
    for chunk in stream_chunks(responses, ChatChoices(has_functions), with_usage=True):
        ChatCompletionChunk.model_validate(chunk, strict=True)


def test_text_completions_are_those_of_openai_s_published_types() -> None:
    Completion.model_validate(complete(TWO_CHOICES, TextChoices()), strict=True)
    for chunk in stream_chunks(TWO_CHOICES, TextChoices()):
        if chunk["choices"][0]["finish_reason"]:
            Completion.model_validate(chunk, strict=True)


def test_choices_are_ordered_and_their_tokens_are_added() -> None:
    response = complete(TWO_CHOICES, ChatChoices())
    contents = [choice["message"]["content"] for choice in response["choices"]]
    assert contents == ["a", "bB"]
    assert [choice["finish_reason"] for choice in response["choices"]] == ["stop", "length"]
    assert response["usage"] == {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9}
    texts = [choice["text"] for choice in complete(TWO_CHOICES, TextChoices())["choices"]]
    assert texts == ["a", "bB"]


def test_a_message_with_tool_calls_only_has_no_content() -> None:
    (choice,) = complete(CALL_RESPONSES, ChatChoices())["choices"]
    message = choice["message"]
    assert (message["content"], choice["finish_reason"]) == (None, "tool_calls")
    assert [call["function"] for call in message["tool_calls"]] == CALLS
    assert all(call["type"] == "function" for call in message["tool_calls"])
    ids = {call["id"] for call in message["tool_calls"]}
    assert len(ids) == 2
    assert all(id.startswith("call_") for id in ids)


def test_a_message_may_have_content_and_tool_calls() -> None:
    (choice,) = complete(TEXT_AND_CALLS, ChatChoices())["choices"]
    assert choice["message"]["content"] == "Wait."
    assert len(choice["message"]["tool_calls"]) == 2


def test_tool_calls_are_streamed_with_index_id_and_type() -> None:
    chunks = stream_chunks(CALL_RESPONSES, ChatChoices())
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": None, "refusal": None}
    calls = [call for delta in deltas[1:-1] for call in delta["tool_calls"]]
    assert [call["index"] for call in calls] == [0, 1]
    assert [call["function"] for call in calls] == CALLS
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("responses", [CALL_RESPONSES, STOPPED_CHOICES, TEXT_AND_CALLS])
def test_the_sdk_makes_the_same_completion_of_a_stream(responses: Responses) -> None:
    expected = ChatCompletion.model_validate(complete(responses, ChatChoices()))
    streamed = accumulate(stream_chunks(responses, ChatChoices(), with_usage=True))
    assert len(streamed["choices"]) == len(expected.choices)
    for choice, other in zip(streamed["choices"], expected.choices, strict=True):
        message = choice["message"]
        assert (message.get("content") or None) == other.message.content
        assert choice["finish_reason"] == other.finish_reason
        calls = [call["function"] for call in message.get("tool_calls", ())]
        assert [(call["name"], call["arguments"]) for call in calls] == [
            (call.function.name, call.function.arguments)  # type: ignore[union-attr]
            for call in other.message.tool_calls or ()
        ]
    assert expected.usage
    assert streamed["usage"] == expected.usage.model_dump(exclude_none=True)


def test_a_tool_call_is_a_function_call_if_the_request_has_functions() -> None:
    responses = [{"index": 0, "tool_calls": CALLS[:1]}, *CALL_RESPONSES[1:]]
    (choice,) = complete(responses, ChatChoices(has_functions=True))["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == CALLS[0]
    assert "tool_calls" not in choice["message"]
    chunks = stream_chunks(responses, ChatChoices(has_functions=True))
    assert chunks[1]["choices"][0]["delta"] == {"function_call": CALLS[0]}
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"


def test_the_usage_is_null_in_all_chunks_but_the_last() -> None:
    *chunks, last = stream_chunks(TWO_CHOICES, TextChoices(), with_usage=True)
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 5)
    assert all("usage" not in chunk for chunk in stream_chunks(TWO_CHOICES, TextChoices()))


def test_an_error_within_a_stream_is_its_last_event() -> None:
    responses = [{"index": 0, "text": "a"}, {"error": "too bad"}]
    chunks = stream_chunks(responses, ChatChoices())
    assert chunks[-1]["error"]["message"] == "too bad"


def test_an_error_before_a_stream_is_raised() -> None:
    with pytest.raises(ServiceError, match="too bad"):
        asyncio.run(wait_for_first(send([{"error": "too bad"}])))
