"""Canonical form and fingerprints of examples.

Two lines that differ only in key order, spacing or escapes have the same canonical form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from ftkit.dataset.types import (
    Answer,
    Assistant,
    Chat,
    Developer,
    Function,
    Graded,
    System,
    Tool,
    User,
)

_encode = msgspec.json.Encoder(order="deterministic").encode


def canonical_form(value: Any) -> bytes:
    """Return the canonical form of an example or of a part of one."""
    return _encode(value)


MESSAGE_TYPES = (System, Developer, User, Answer, Assistant, Tool, Function)

OPTIONAL: dict[type[Struct], tuple[str, ...]] = {
    type_: tuple(
        name for name in type_.__struct_fields__ if name not in ("content", "tool_call_id")
    )
    for type_ in MESSAGE_TYPES
}
"""Fields of each message type, except its content and the id of its tool call."""

# A message is plain if all of its fields in OPTIONAL are unset. They are compared in one step.
_get_optional = {type_: attrgetter(*(names or ("content",))) for type_, names in OPTIONAL.items()}
_unset: dict[type[Struct], Any] = {
    type_: (UNSET,) * len(names) if len(names) > 1 else UNSET
    for type_, names in OPTIONAL.items()
    if type_ not in (Tool, Function)
}


def is_plain(message: Any) -> bool:
    """Return True for a message that has a role and a text and nothing else, as most have."""
    type_ = type(message)
    return (
        type_ in _unset
        and type(message.content) is str
        and _get_optional[type_](message) == _unset[type_]
    )


def count_strings(data: bytes) -> int:
    """Return the number of strings, including keys, in lines of JSON."""
    if b'\\\\"' in data:
        data = data.replace(b"\\\\", b"")
    return (data.count(b'"') - data.count(b'\\"')) // 2


def has_repeated_key(line: bytes, example: Any, extra_keys: int = 0) -> bool:
    """Return True if an object in the line has the same key twice.

    The decoder keeps only the last of them, so the line then has more strings than its example.

    Args:
        line: The line.
        example: The decoded example.
        extra_keys: Number of keys of the example that are not in the line.
    """
    return count_strings(line) != count_strings(canonical_form(example)) - extra_keys


def may_repeat_keys(joined: bytes, others: Sequence[bytes], messages: int) -> bool:
    """Return False if no object in some lines of plain messages has the same key twice.

    The quotes inside a string are escaped, so `"role"` is a key or a whole text, and occurs once
    for each message. A second `"messages"` adds messages, since a list of messages is never empty.

    Args:
        joined: The lines.
        others: Those of the lines that are left out.
        messages: The number of messages in the remaining lines.
    """
    return any(
        joined.count(key) - sum(line.count(key) for line in others) != messages
        for key in (b'"role"', b'"content"')
    )


def digest(data: bytes) -> int:
    """Return a 64-bit hash that is the same in every process."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


# UTF-8 has no byte 0xFF, so it separates messages that are joined.
_TYPE_TAGS = {type_: b"\xff" + type_.__name__.encode() + b"\xff" for type_ in MESSAGE_TYPES}


def _tagged_message(message: Any) -> bytes:
    """Return the canonical form of a message, tagged with its type if it is plain."""
    if is_plain(message):
        text: str = message.content
        return _TYPE_TAGS[type(message)] + text.encode()
    return b"\xff" + canonical_form(message)


def chat_fingerprint(example: Chat) -> tuple[int, int]:
    """Return the hashes of all messages but the last and of the last message."""
    *before, last = map(_tagged_message, example.messages)
    options = (example.tools, example.functions, example.parallel_tool_calls)
    if any(option is not UNSET for option in options):
        before.append(canonical_form(tuple(option or None for option in options)))
    return digest(b"".join(before)), digest(last)


def plain_fingerprint(example: Chat) -> tuple[int, int]:
    """Return `chat_fingerprint` of an example that has only plain messages, more quickly."""
    *before, last = [
        _TYPE_TAGS[type(message)] + message.content.encode()  # type: ignore[union-attr]
        for message in example.messages
    ]
    return digest(b"".join(before)), digest(last)


def fingerprint_cut_at(marker: bytes) -> Callable[[Any], tuple[int, int]]:
    """Return a function that hashes the canonical form in two parts.

    The second part begins at the last `marker`. Its quotes would be escaped inside a string, so it
    can only match a key.
    """

    def fingerprint(example: Any) -> tuple[int, int]:
        line = canonical_form(example)
        cut = line.rfind(marker)
        return digest(line[:cut]), digest(line[cut:])

    return fingerprint


def graded_fingerprint(example: Graded) -> tuple[int, int]:
    """Return the hashes of the prompt and of the fields for the grader."""
    answer = canonical_form(example.fields)
    prompt = canonical_form(example).removesuffix(b',"fields":' + answer + b"}")
    return digest(prompt), digest(answer)
