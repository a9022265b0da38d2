"""Assistant messages as comparable values: text, refusal, tool calls and JSON.

Malformed parts of a message count as absent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.dataset.lenient_json import nests_deeper

MAX_DEPTH = 100
"""Maximum nesting of JSON. Text that is nested deeper counts as not JSON."""

NOT_JSON = object()
"""Result of `parse` for text that is not JSON."""


class Reply(Struct, frozen=True):
    """An assistant message in the form in which it is compared.

    Attributes:
        text: The text; texts of several parts are joined.
        refusal: The refusal, or "".
        calls: Names of the called tools with their arguments as canonical JSON. They are sorted,
            because parallel calls have no order.
        fields: Leaves of a text that is a JSON object or array: canonical JSON by path. None for
            any other text.
        top: Values of a text that is a JSON object: canonical JSON by key.
    """

    text: str
    refusal: str
    calls: tuple[tuple[str, str], ...]
    fields: dict[str, str] | None
    top: dict[str, str]


def read_reply(message: dict[str, Any]) -> Reply:
    """Return the reply in an assistant message."""
    text = text_of(message)
    value = parse(text)
    is_json = isinstance(value, (dict, list))
    items = value.items() if isinstance(value, dict) else ()
    return Reply(
        text=text,
        refusal=refusal_of(message),
        calls=tuple(sorted(_calls(message))),
        fields=dict(_leaves(value, "$")) if is_json else None,
        top={key: canonical(inner) for key, inner in items},
    )


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message; texts of several parts are joined."""
    content = message.get("content")
    return content if isinstance(content, str) else _joined_parts(content, "text")


def refusal_of(message: dict[str, Any]) -> str:
    """Return the refusal of a message, or "".

    It is read from the `refusal` field or from parts of type `refusal`, not guessed from the text.
    """
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        return refusal
    return _joined_parts(message.get("content"), "refusal")


def _joined_parts(content: Any, kind: str) -> str:
    parts = content if isinstance(content, list) else []
    objects = (part for part in parts if isinstance(part, dict))
    texts = (part.get(kind) for part in objects if part.get("type") == kind)
    return "".join(text for text in texts if isinstance(text, str))


def _calls(message: dict[str, Any]) -> Iterator[tuple[str, str]]:
    calls = message.get("tool_calls")
    calls = calls if isinstance(calls, list) else []
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    for function in (*functions, message.get("function_call")):
        if isinstance(function, dict):
            yield str(function.get("name")), _arguments(function.get("arguments"))


def _arguments(arguments: Any) -> str:
    value = parse(arguments) if isinstance(arguments, str) else arguments
    return f"not JSON: {arguments}" if value is NOT_JSON else canonical(value)


def parse(text: str) -> Any:
    """Return the value of a JSON text, or `NOT_JSON`."""
    try:
        raw = text.encode()
        # Counting brackets is a cheap prefilter for measuring the depth.
        is_deep = nests_deeper(raw, MAX_DEPTH)
        return NOT_JSON if is_deep else msgspec.json.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return NOT_JSON


def canonical(value: Any) -> str:
    """Return JSON that is the same for equal values: keys sorted, 1.0 as 1, but `true` not as 1."""
    return json.dumps(_with_integers(value), sort_keys=True, ensure_ascii=False)


def _with_integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_integers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_integers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and value of each leaf. An empty object or array is a leaf."""
    if not isinstance(value, (dict, list)) or not value:
        yield path, canonical(value)
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(inner, f"{path}[{json.dumps(key)}]")
