"""Chat and text completions from the responses of the generation process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from starlette.requests import Request

from ftkit.server import logprobs
from ftkit.server.completion_choices import ChatChoices, TextChoices
from ftkit.server.completions import ResponseHeader, collect, new_header, stream, wait_for_first
from ftkit.server.disconnects import while_connected
from ftkit.server.errors import (
    DisconnectedError,
    InternalError,
    InvalidRequestError,
    ServiceError,
)
from ftkit.server.prompts import generate_together

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


HALF, OTHER_HALF = "é".encode()[:1], "é".encode()[1:]


def token(
    text: str, logprob: float | None, encoded: bytes, *tops: dict[str, Any]
) -> dict[str, Any]:
    """Return a token as the process sends it."""
    return {"token": text, "logprob": logprob, "bytes": list(encoded), "top_logprobs": list(tops)}


A, B = ({"token": text, "logprob": -1.5, "bytes": [ord(text)]} for text in "ab")
TOKENS = [
    [token("a", -0.5, b"a", A, B)],
    [token("\ufffd", -0.25, HALF), token("\ufffd", -float("inf"), OTHER_HALF)],
    [token("b", -1.5, b"b")],
]
LOGPROBS: Responses = [
    {"index": 0, "text": "a", "logprobs": TOKENS[0]},
    {"index": 0, "text": "é", "logprobs": TOKENS[1]},
    {"index": 0, "text": "b", "logprobs": TOKENS[2]},
    {"index": 0, "finish_reason": "stop", "tokens": 4},
    {"done": True, "prompt_tokens": 4},
]


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


def concatenate(lists: Iterable[list[Any]]) -> list[Any]:
    return [item for items in lists for item in items]


def accumulate(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the chat completion that OpenAI's SDK makes of the chunks, without its new fields."""
    state = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    completion = ChatCompletion.model_validate(state.get_final_completion().to_dict())
    return completion.model_dump(exclude_none=True)


@pytest.mark.parametrize("responses", [CALL_RESPONSES, TWO_CHOICES, TEXT_AND_CALLS, LOGPROBS])
@pytest.mark.parametrize("has_functions", [False, True])
def test_chats_are_those_of_openai_s_published_types(
    responses: Responses, has_functions: bool
) -> None:
    response = complete(responses, ChatChoices(has_functions))
    ChatCompletion.model_validate(response, strict=True)
    for chunk in stream_chunks(responses, ChatChoices(has_functions), with_usage=True):
        ChatCompletionChunk.model_validate(chunk, strict=True)


@pytest.mark.parametrize("responses", [TWO_CHOICES, LOGPROBS])
def test_text_completions_are_those_of_openai_s_published_types(responses: Responses) -> None:
    Completion.model_validate(complete(responses, TextChoices()), strict=True)
    for chunk in stream_chunks(responses, TextChoices()):
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


def test_the_first_response_is_part_of_a_stream_that_waited_for_it() -> None:
    async def read() -> Responses:
        return [response async for response in await wait_for_first(send(TWO_CHOICES))]

    assert asyncio.run(read()) == TWO_CHOICES


def test_a_new_header_has_an_id_of_its_kind() -> None:
    assert new_header("chat", "m", "base").id.startswith("chatcmpl-")
    assert new_header("text", "m", "base").id.startswith("cmpl-")


def test_an_error_before_a_stream_is_raised() -> None:
    with pytest.raises(ServiceError, match="too bad"):
        asyncio.run(wait_for_first(send([{"error": "too bad"}])))


def test_chat_logprobs_have_bytes_and_alternatives() -> None:
    (choice,) = complete(LOGPROBS, ChatChoices())["choices"]
    content = choice["logprobs"]["content"]
    assert content[0] == {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [A, B]}
    assert [item["logprob"] for item in content] == [-0.5, -0.25, -9999.0, -1.5]
    assert bytes(concatenate(item["bytes"] for item in content)).decode() == "aéb"
    chunks = stream_chunks(LOGPROBS, ChatChoices())
    streamed = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert concatenate(item["content"] for item in streamed if item) == content


def test_text_logprobs_have_the_offset_of_each_token_in_the_text() -> None:
    (choice,) = complete(LOGPROBS, TextChoices())["choices"]
    assert choice["logprobs"] == {
        "tokens": ["a", "\ufffd", "\ufffd", "b"],
        "token_logprobs": [-0.5, -0.25, -9999.0, -1.5],
        "top_logprobs": [
            {"a": -0.5, "b": -1.5},
            {"\ufffd": -0.25},
            {"\ufffd": -9999.0},
            {"b": -1.5},
        ],
        "text_offset": [0, 1, 1, 2],
    }
    chunks = stream_chunks(LOGPROBS, TextChoices())
    streamed = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    for name, values in choice["logprobs"].items():
        assert concatenate(item[name] for item in streamed if item) == values


def test_the_first_token_of_an_echoed_prompt_has_no_logprob() -> None:
    echoed = {"index": 0, "text": "p", "logprobs": [token("p", None, b"p")]}
    (choice,) = complete([echoed, *LOGPROBS], TextChoices())["choices"]
    assert choice["logprobs"]["token_logprobs"][:2] == [None, -0.5]
    assert choice["logprobs"]["top_logprobs"][0] is None
    assert choice["logprobs"]["text_offset"] == [0, 1, 2, 2, 3]


def test_a_response_has_a_limited_number_of_logprobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logprobs, "MAX_LOGPROBS", 6)
    complete(LOGPROBS, ChatChoices())
    monkeypatch.setattr(logprobs, "MAX_LOGPROBS", 5)
    with pytest.raises(InvalidRequestError, match="more than 5 log probabilities"):
        complete(LOGPROBS, ChatChoices())
    assert stream_chunks(LOGPROBS, ChatChoices())[-1]["choices"][0]["finish_reason"] == "stop"


def test_choices_without_logprobs_have_null() -> None:
    for choices in (ChatChoices(), TextChoices()):
        assert complete(TWO_CHOICES, choices)["choices"][0]["logprobs"] is None


def generate_prompts(number: int, closed: list[int], fails: bool = False) -> Any:
    """Return the responses to some requests, of two choices each, and note which are closed."""

    async def responses(prompt: int) -> AsyncGenerator[dict[str, Any], None]:
        try:
            for index in (1, 0):
                await asyncio.sleep(0)
                yield {"index": index, "text": f"{prompt}.{index}"}
                yield {"index": index, "finish_reason": "stop", "tokens": 1}
            if fails and prompt == 3:
                raise InternalError("too bad")
            yield {"done": True, "prompt_tokens": prompt}
        finally:
            closed.append(prompt)

    return generate_together([responses(prompt) for prompt in range(number)], 2)


def test_several_prompts_have_their_choices_in_the_order_of_the_prompts() -> None:
    closed: list[int] = []
    header = HEADERS[TextChoices]
    response = asyncio.run(collect(header, generate_prompts(40, closed), TextChoices()))
    texts = [choice["text"] for choice in response["choices"]]
    assert texts == [f"{prompt}.{index}" for prompt in range(40) for index in (0, 1)]
    assert [choice["index"] for choice in response["choices"]] == list(range(80))
    assert response["usage"]["prompt_tokens"] == sum(range(40))
    assert response["usage"]["completion_tokens"] == 80
    assert sorted(closed) == list(range(40))


def test_the_error_of_a_prompt_ends_the_others() -> None:
    closed: list[int] = []
    header = HEADERS[TextChoices]
    with pytest.raises(InternalError, match="too bad"):
        asyncio.run(collect(header, generate_prompts(40, closed, fails=True), TextChoices()))
    assert len(closed) < 40


def test_a_cancelled_request_cancels_its_prompts() -> None:
    closed: list[int] = []

    async def read_one() -> None:
        responses = generate_prompts(3, closed)
        await anext(responses)
        await responses.aclose()
        assert sorted(closed) == [0, 1, 2]

    asyncio.run(read_one())


def request_of(*messages: dict[str, Any]) -> Request:
    """Return a request whose client sends some messages and then nothing."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return Request({"type": "http"}, receive)


def test_work_for_a_client_that_stays_is_finished() -> None:
    async def work() -> str:
        await asyncio.sleep(0.01)
        return "result"

    request = request_of({"type": "http.request"})
    assert asyncio.run(while_connected(request, work())) == "result"


def test_work_for_a_client_that_disconnects_is_cancelled() -> None:
    cancelled = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    request = request_of({"type": "http.request"}, {"type": "http.disconnect"})
    with pytest.raises(DisconnectedError):
        asyncio.run(while_connected(request, work()))
    assert cancelled == [True]
