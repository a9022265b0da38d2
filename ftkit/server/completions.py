"""Chat and text completions of OpenAI's API, complete or as server-sent events.

`ftkit.server.generation.process` describes the responses from which they are made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

from msgspec import Struct

from ftkit.server.completion_choices import ChatChoices, GeneratedChoice, TextChoices
from ftkit.server.errors import ServiceError
from ftkit.server.logprobs import LogprobCounter
from ftkit.server.objects import new_id, now
from ftkit.server.responses import END_OF_STREAM, error_object, server_sent_event

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
    header: ResponseHeader,
    responses: AsyncIterator[dict[str, Any]],
    choices: ChatChoices | TextChoices,
) -> dict[str, Any]:
    """Return the complete response, once it is generated.

    Args:
        header: Fields of the response.
        responses: Responses of the generation process.
        choices: Converter of the choices.

    Raises:
        ServiceError: The completion cannot be generated, or has too many log probabilities.
    """
    generated: dict[int, GeneratedChoice] = {}
    logprobs, prompt_tokens = LogprobCounter(), 0
    async for response in responses:
        if "index" in response:
            index = response["index"]
            logprobs.add(response.get("logprobs"))
            generated.setdefault(index, GeneratedChoice(index)).add(response)
        else:
            prompt_tokens = response["prompt_tokens"]
    completion_tokens = sum(choice.tokens for choice in generated.values())
    return header.response(
        [choices.complete(choice) for _, choice in sorted(generated.items())],
        usage=_usage(prompt_tokens, completion_tokens),
    )


async def wait_for_first(
    responses: AsyncIterator[dict[str, Any]],
) -> AsyncIterator[dict[str, Any]]:
    """Wait for the first response, and return all of them.

    Raises:
        ServiceError: The request failed before its first response.
    """
    first = await anext(responses)

    async def all_responses() -> AsyncIterator[dict[str, Any]]:
        yield first
        async for response in responses:
            yield response

    return all_responses()


async def stream(
    header: ResponseHeader,
    responses: AsyncIterator[dict[str, Any]],
    choices: ChatChoices | TextChoices,
    with_usage: bool,
) -> AsyncIterator[bytes]:
    """Yield the chunks of a response as server-sent events.

    An error is an event, too, since the status of the HTTP response has been sent by then.

    Args:
        header: Fields of the chunks.
        responses: Responses of the generation process.
        choices: Converter of the choices.
        with_usage: End with a chunk that has the usage; it is null in the others.
    """
    usage = {"usage": None} if with_usage else {}
    completion_tokens = 0
    try:
        async for response in responses:
            completion_tokens += response.get("tokens", 0)
            if "index" in response:
                for choice in choices.chunks(response):
                    yield server_sent_event(header.chunk([choice], **usage))
            elif with_usage:
                total = _usage(response["prompt_tokens"], completion_tokens)
                yield server_sent_event(header.chunk([], usage=total))
    except ServiceError as error:
        yield server_sent_event(error_object(error))
    yield END_OF_STREAM
