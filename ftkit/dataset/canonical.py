"""Examples as bytes: one spelling of each, its hash, and the number of strings that it has.

Two lines that say the same in another key order, spacing or escaping have one spelling.
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


def spell(value: Any) -> bytes:
    """An example, or a part of one, as bytes that do not depend on key order, spacing or escapes."""
    return _encode(value)


OPTIONAL: dict[type[Struct], tuple[str, ...]] = {
    kind: tuple(name for name in kind.__struct_fields__ if name not in ("content", "tool_call_id"))
    for kind in (System, Developer, User, Answer, Assistant, Tool, Function)
}
"""The fields of each kind of message beside its content."""

_others = {kind: attrgetter(*(names or ("content",))) for kind, names in OPTIONAL.items()}
_plain: dict[type[Struct], Any] = {
    kind: (UNSET,) * len(names) if len(names) > 1 else UNSET
    for kind, names in OPTIONAL.items()
    if kind not in (Tool, Function)
}


def is_plain(message: Any) -> bool:
    """Whether a message has a role and a text and nothing else, as most have."""
    kind = type(message)
    return (
        kind in _plain and type(message.content) is str and _others[kind](message) == _plain[kind]
    )


def strings(line: bytes) -> int:
    """The number of strings, keys among them, in some lines of JSON."""
    if b'\\\\"' in line:
        line = line.replace(b"\\\\", b"")
    return (line.count(b'"') - line.count(b'\\"')) // 2


def has_repeated_key(line: bytes, example: Any) -> bool:
    """Whether the line has more strings than its decoded example, as it does when a key stands twice in an object."""
    extra = 1 if isinstance(example, Graded) else 0
    return strings(line) != strings(spell(example)) - extra


def may_repeat_keys(lines: bytes, others: Sequence[bytes], messages: int) -> bool:
    """Whether a key may stand twice in one of these lines but for `others`; so many plain messages are in them.

    Quotes inside strings are escaped, so `"role"` can only be a key or a whole text, and must occur once for each message.
    A second `"messages"` brings messages of its own, since none may be empty.
    """
    return any(
        lines.count(key) - sum(line.count(key) for line in others) != messages
        for key in (b'"role"', b'"content"')
    )


def digest(data: bytes) -> int:
    """A hash of 64 bits that is the same in every process."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


_MARKS = {kind: b"\xff" + kind.__name__.encode() + b"\xff" for kind in OPTIONAL}


def _spell_message(message: Any) -> bytes:
    """The message as bytes. They begin with 0xFF, which no UTF-8 has, so that messages put together stay apart."""
    if is_plain(message):
        text: str = message.content
        return _MARKS[type(message)] + text.encode()
    return b"\xff" + spell(message)


def chat_fingerprint(example: Chat) -> tuple[int, int]:
    *before, last = map(_spell_message, example.messages)
    if (
        example.tools is not UNSET
        or example.functions is not UNSET
        or example.parallel_tool_calls is not UNSET
    ):
        before.append(
            spell(
                (
                    example.tools or None,
                    example.functions or None,
                    example.parallel_tool_calls or None,
                )
            )
        )
    return digest(b"".join(before)), digest(last)


def plain_fingerprint(example: Chat) -> tuple[int, int]:
    """What `chat_fingerprint` gives, for an example that has plain messages and nothing else."""
    *before, last = [
        _MARKS[type(message)] + message.content.encode()  # type: ignore[union-attr]
        for message in example.messages
    ]
    return digest(b"".join(before)), digest(last)


def fingerprint_cut_at(marker: bytes) -> Callable[[Any], tuple[int, int]]:
    """Fingerprint the spelled line in two parts, cut where its last `marker` begins.

    Inside a string the quotes of the marker would be escaped, so it can only be found where the structure has it.
    """

    def fingerprint(example: Any) -> tuple[int, int]:
        line = spell(example)
        at = line.rfind(marker)
        return digest(line[:at]), digest(line[at:])

    return fingerprint


def graded_fingerprint(example: Graded) -> tuple[int, int]:
    answer = spell(example.fields)
    prompt = spell(example).removesuffix(b',"fields":' + answer + b"}")
    return digest(prompt), digest(answer)
