"""Chat and text completions of OpenAI's API, complete or as server-sent events.

The functions take the responses of the generation process (`ftkit.server.generation.process`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

from msgspec import Struct

from ftkit.server.errors import ServiceError
from ftkit.server.objects import new_id, now
from ftkit.server.responses import error_object

Kind = Literal["chat", "text"]

OBJECTS = {
    "chat": ("chat.completion", "chat.completion.chunk"),
    "text": ("text_completion", "text_completion"),
}
"""Values of `object` in a complete response and in a chunk."""


class ResponseHeader(Struct, frozen=True):
    """Fields that all chunks of a response share.

    Attributes:
        model: Model of the request.
        base: Base model that generates the completion, which is the `system_fingerprint`.
    """

    kind: Kind
    model: str
    base: str
    id: str
    created: int

    def response(self, choices: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
        """Return a complete response with these choices and further fields."""
        return self._object(OBJECTS[self.kind][0], choices, fields)

    def chunk(self, choices: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
        """Return a chunk of a stream with these choices and further fields."""
        return self._object(OBJECTS[self.kind][1], choices, fields)

    def _object(
        self, name: str, choices: list[dict[str, Any]], fields: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": name,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.base,
            "choices": choices,
            **fields,
        }


def new_header(kind: Kind, model: str, base: str) -> ResponseHeader:
    """Return the header of a new response, with an id and the present time."""
    prefix = "chatcmpl-" if kind == "chat" else "cmpl-"
    return ResponseHeader(kind, model, base, new_id(prefix), now())


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


async def collect(
    header: ResponseHeader, responses: AsyncIterator[dict[str, Any]]
) -> dict[str, Any]:
    """Return the complete response, once it is generated.

    Raises:
        ServiceError: The completion cannot be generated.
    """
    texts: dict[int, list[str]] = {}
    ends: dict[int, dict[str, Any]] = {}
    prompt_tokens = 0
    async for response in responses:
        if "text" in response:
            texts.setdefault(response["index"], []).append(response["text"])
        elif "finish_reason" in response:
            ends[response["index"]] = response
        else:
            prompt_tokens = response["prompt_tokens"]
    choices = [
        {
            "index": index,
            **_content(header.kind, "".join(texts.get(index, ()))),
            "finish_reason": end["finish_reason"],
            "logprobs": None,
        }
        for index, end in sorted(ends.items())
    ]
    completion_tokens = sum(end["tokens"] for end in ends.values())
    return header.response(choices, usage=_usage(prompt_tokens, completion_tokens))


def _content(kind: Kind, text: str) -> dict[str, Any]:
    if kind == "text":
        return {"text": text}
    return {"message": {"role": "assistant", "content": text, "refusal": None, "annotations": []}}


async def wait_for_first(
    responses: AsyncIterator[dict[str, Any]],
) -> AsyncIterator[dict[str, Any]]:
    """Return the same responses once there is a first one.

    Raises:
        ServiceError: There is an error instead.
    """
    first = await anext(responses)

    async def all_responses() -> AsyncIterator[dict[str, Any]]:
        yield first
        async for response in responses:
            yield response

    return all_responses()


async def stream(
    header: ResponseHeader, responses: AsyncIterator[dict[str, Any]], with_usage: bool
) -> AsyncIterator[bytes]:
    """Yield the chunks of a response as server-sent events.

    An error is an event, too, since the status of the HTTP response has been sent by then.
    """
    started: set[int] = set()
    completion_tokens = 0
    try:
        async for response in responses:
            index = response.get("index", 0)
            if header.kind == "chat" and "index" in response and index not in started:
                started.add(index)
                yield _event(header.chunk([_first_choice(index)]))
            if "text" in response:
                yield _event(header.chunk([_choice(header.kind, index, text=response["text"])]))
            elif "finish_reason" in response:
                completion_tokens += response["tokens"]
                finish_reason = response["finish_reason"]
                yield _event(header.chunk([_choice(header.kind, index, finish_reason)]))
            elif with_usage:
                usage = _usage(response["prompt_tokens"], completion_tokens)
                yield _event(header.chunk([], usage=usage))
    except ServiceError as error:
        yield _event(error_object(error))
    yield b"data: [DONE]\n\n"


def _first_choice(index: int) -> dict[str, Any]:
    """Return a choice of a chat chunk that starts an assistant message."""
    delta = {"role": "assistant", "content": ""}
    return {"index": index, "delta": delta, "finish_reason": None, "logprobs": None}


def _choice(
    kind: Kind, index: int, finish_reason: str | None = None, text: str | None = None
) -> dict[str, Any]:
    """Return a choice of a chunk, with further text or with the finish reason."""
    if kind == "text":
        content: dict[str, Any] = {"text": text or ""}
    else:
        content = {"delta": {} if text is None else {"content": text}}
    return {"index": index, **content, "finish_reason": finish_reason, "logprobs": None}


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"
