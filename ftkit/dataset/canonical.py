"""Canonical form and fingerprints of examples.

Two lines that differ only in key order, spacing or escapes have the same canonical form.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, Struct
from xxhash import xxh3_64_intdigest

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

# A message is bare if all of its fields in OPTIONAL are unset. They are compared in one step.
_get_optional = {type_: attrgetter(*(names or ("content",))) for type_, names in OPTIONAL.items()}
_unset: dict[type[Struct], Any] = {
    type_: (UNSET,) * len(names) if len(names) > 1 else UNSET
    for type_, names in OPTIONAL.items()
    if type_ not in (Tool, Function)
}


def is_bare(message: Any) -> bool:
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


def has_repeated_key(line: bytes, value: Any) -> bool:
    """Return True if an object in a line of JSON has the same key twice.

    The decoder keeps only the last of them, so the line then has more strings than its value.
    """
    return count_strings(line) != count_strings(canonical_form(value))


def fingerprint(part: bytes, seed: int) -> int:
    """Return a 64-bit hash of a prompt or an answer.

    XXH3 is not cryptographic: whoever knows the seed can write different parts with the same hash.
    """
    value: int = xxh3_64_intdigest(part, seed)
    return value


# Tags of texts, as in `plain.PlainLine`.
_ROLE_TAGS = {
    type_: b"\xff%b\xff" % str(type_.__struct_config__.tag).encode() for type_ in MESSAGE_TYPES
}
_WEIGHT_TAGS = {0: b"\xffassistant0\xff", 1: b"\xffassistant1\xff"}

_get_unweighted = attrgetter(*(name for name in OPTIONAL[Assistant] if name != "weight"))
_unweighted = (UNSET,) * (len(OPTIONAL[Assistant]) - 1)


def _canonical_message(message: Any) -> bytes:
    """Return the tagged text of a message if it has no more, else 0xFF and its canonical form."""
    if is_bare(message):
        text: str = message.content
        return text.encode() + _ROLE_TAGS[type(message)]
    if (
        type(message) is Assistant
        and type(message.content) is str
        and message.weight is not UNSET
        and _get_unweighted(message) == _unweighted
    ):
        return message.content.encode() + _WEIGHT_TAGS[message.weight]
    return b"\xff" + canonical_form(message)


def chat_parts(example: Chat) -> tuple[bytes, bytes]:
    """Return the bytes that identify all messages but the last, and the last message.

    They are tagged texts, and the canonical form of whatever else the messages have.
    """
    *before, last = map(_canonical_message, example.messages)
    options = (example.tools, example.functions, example.parallel_tool_calls)
    if any(option is not UNSET for option in options):
        before.append(canonical_form(tuple(option or None for option in options)))
    return b"".join(before), last


def cut_at(marker: bytes) -> Callable[[Any, bytes], tuple[bytes, bytes]]:
    """Return a function that cuts the canonical form of an example at the last `marker`.

    Its quotes would be escaped inside a string, so it can only match a key.
    """

    def parts(example: Any, line: bytes) -> tuple[bytes, bytes]:
        cut = line.rfind(marker)
        return line[:cut], line[cut:]

    return parts


def graded_parts(example: Graded, line: bytes) -> tuple[bytes, bytes]:
    """Return the canonical form of the prompt and of the fields for the grader.

    Args:
        example: The example.
        line: Its canonical form.
    """
    answer = canonical_form(example.fields)
    prompt = line.removesuffix(b',"fields":' + answer + b"}")
    return prompt, answer
