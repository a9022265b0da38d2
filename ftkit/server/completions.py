"""The answers of models, as chat and text completions, whole or as a stream of events."""

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


class Frame(Struct, frozen=True):
    """What all parts of an answer share. `base` is the model that really answers, and stands in `system_fingerprint`."""

    kind: Kind
    model: str
    base: str
    id: str
    created: int

    def object(
        self, choices: list[dict[str, Any]], chunk: bool = False, **more: Any
    ) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": OBJECTS[self.kind][chunk],
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.base,
            "choices": choices,
            **more,
        }


def frame(kind: Kind, model: str, base: str) -> Frame:
    """The frame of a new answer."""
    return Frame(kind, model, base, new_id("chatcmpl-" if kind == "chat" else "cmpl-"), now())


def _usage(prompt: int, answers: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": answers, "total_tokens": prompt + answers}


async def whole(frame: Frame, told: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    """The answer when it is complete."""
    texts: dict[int, list[str]] = {}
    ends: dict[int, dict[str, Any]] = {}
    prompt = 0
    async for each in told:
        if "text" in each:
            texts.setdefault(each["index"], []).append(each["text"])
        elif "finish" in each:
            ends[each["index"]] = each
        else:
            prompt = each["prompt_tokens"]
    choices = []
    for index, end in sorted(ends.items()):
        text = "".join(texts.get(index, ()))
        said: dict[str, Any] = (
            {"message": {"role": "assistant", "content": text, "refusal": None, "annotations": []}}
            if frame.kind == "chat"
            else {"text": text}
        )
        choices.append({"index": index, **said, "finish_reason": end["finish"], "logprobs": None})
    return frame.object(choices, usage=_usage(prompt, sum(end["tokens"] for end in ends.values())))


async def begun(told: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    """The same, once it has begun; raises `ServiceError` where it does not."""
    first = await anext(told)

    async def all_of_it() -> AsyncIterator[dict[str, Any]]:
        yield first
        async for each in told:
            yield each

    return all_of_it()


async def stream(
    frame: Frame, told: AsyncIterator[dict[str, Any]], with_usage: bool
) -> AsyncIterator[bytes]:
    """The answer as events, as it comes. A failure on the way is an event, too, since the status was sent already."""
    begun: set[int] = set()
    answers = 0
    try:
        async for each in told:
            index = each.get("index", 0)
            if frame.kind == "chat" and "index" in each and index not in begun:
                begun.add(index)
                yield _event(
                    frame.object([_chunk(frame, index, None, role="assistant", text="")], True)
                )
            if "text" in each:
                yield _event(frame.object([_chunk(frame, index, None, text=each["text"])], True))
            elif "finish" in each:
                answers += each["tokens"]
                yield _event(frame.object([_chunk(frame, index, each["finish"])], True))
            elif with_usage:
                yield _event(frame.object([], True, usage=_usage(each["prompt_tokens"], answers)))
    except ServiceError as error:
        yield _event(error_object(error))
    yield b"data: [DONE]\n\n"


def _chunk(
    frame: Frame, index: int, finish: str | None, text: str | None = None, role: str = ""
) -> dict[str, Any]:
    said: dict[str, Any] = {"text": text or ""}
    if frame.kind == "chat":
        delta = {
            **({"role": role} if role else {}),
            **({"content": text} if text is not None else {}),
        }
        said = {"delta": delta}
    return {"index": index, **said, "finish_reason": finish, "logprobs": None}


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"
