"""What an assistant's message says: text, refusal, tool calls, JSON. What is odd in it counts as absent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.dataset.lenient_json import depth

DEEPEST = 100
"""Levels of JSON that are looked into; what is nested deeper counts as no JSON."""

NOTHING = object()
"""Stands for text that is no JSON."""


class Reply(Struct, frozen=True):
    """An answer as it is compared.

    `calls` are the names of the tools called and their arguments in canonical JSON, sorted, since calls made together have no
    order. `fields` are the leaves of a text that is a JSON object or array, by path, in canonical JSON; None for any other text.
    """

    text: str
    refusal: str
    calls: tuple[tuple[str, str], ...]
    fields: dict[str, str] | None
    top: dict[str, str]


def read_reply(message: dict[str, Any]) -> Reply:
    """The reply that an assistant's message is."""
    text = text_of(message)
    value = parse(text)
    is_json = isinstance(value, (dict, list))
    return Reply(
        text=text,
        refusal=refusal_of(message),
        calls=tuple(sorted(_calls(message))),
        fields=dict(_leaves(value, "$")) if is_json else None,
        top={key: canonical(inner) for key, inner in value.items()}
        if isinstance(value, dict)
        else {},
    )


def text_of(message: dict[str, Any]) -> str:
    """The text of a message; that of its parts, one after the other, where it has parts."""
    return _said(message.get("content"), "text")


def refusal_of(message: dict[str, Any]) -> str:
    """Why the model refused, in its `refusal` field or in parts of that type; empty where it did not. Nothing is guessed."""
    return _said(message.get("refusal"), "") or _said(
        message.get("content"), "refusal", string=False
    )


def _said(content: Any, kind: str, string: bool = True) -> str:
    if isinstance(content, str):
        return content if string else ""
    parts = content if isinstance(content, list) else []
    said = (part.get(kind) for part in parts if isinstance(part, dict) and part.get("type") == kind)
    return "".join(text for text in said if isinstance(text, str))


def _calls(message: dict[str, Any]) -> Iterator[tuple[str, str]]:
    calls = message.get("tool_calls")
    made = (
        [call.get("function") for call in calls if isinstance(call, dict)]
        if isinstance(calls, list)
        else []
    )
    for function in (*made, message.get("function_call")):
        if isinstance(function, dict):
            given = function.get("arguments")
            value = parse(given) if isinstance(given, str) else given
            yield (
                str(function.get("name")),
                f"not JSON: {given}" if value is NOTHING else canonical(value),
            )


def parse(text: str) -> Any:
    """The JSON value that a text is, or `NOTHING`."""
    try:
        raw = text.encode()
        deep = raw.count(b"[") + raw.count(b"{") > DEEPEST and depth(raw) > DEEPEST
        return NOTHING if deep else msgspec.json.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return NOTHING


def canonical(value: Any) -> str:
    """A JSON value as text that is the same for equal values: keys sorted, 1.0 as 1. `true` is not 1."""
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The values that hold no others, each with its path; an empty object or array is one."""
    if not isinstance(value, (dict, list)) or not value:
        yield path, canonical(value)
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(inner, f"{path}[{json.dumps(key)}]")
