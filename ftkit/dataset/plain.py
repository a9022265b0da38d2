"""Optional reader of plain lines, an extension module in C that is faster than the decoder.

A plain line is a chat example with the key `messages` alone, whose messages have a role, a text
that is not blank and, if they are the assistant's, perhaps a weight. Most lines of most files are.
The reader refuses any other line, and the decoder and the rules take it. Without the extension all
lines go that way, with the same findings.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec

from ftkit.dataset.types import Chat

PlainLine = tuple[bytes, bytes, bytes]
"""Roles, and the tagged texts of all messages but the last, and of the last message.

The role of a message is a byte: its initial, or the weight, 0 or 1, of an assistant message. A
tagged text is the text, 0xFF, the name of the role with the weight, and 0xFF; UTF-8 has no byte
0xFF. So the line of a user's "Hi" and an assistant's "Hello" of weight 1 is

    (b"u1", b"Hi\\xffuser\\xff", b"Hello\\xffassistant1\\xff")

`canonical.chat_parts` gives the same tagged texts, so that lines have the same fingerprints
whichever reader took them.
"""

ReadPlain = Callable[[bytes], PlainLine | None]
"""Function that reads a line without its line feed, or returns None if it is not plain."""

ROLES: dict[int, dict[str, Any]] = {
    **{ord(role[0]): {"role": role} for role in ("system", "developer", "user", "assistant")},
    **{ord(str(weight)): {"role": "assistant", "weight": weight} for weight in (0, 1)},
}
"""Role and weight of a message by their byte."""

MAX_PLAIN_BYTES = 8 << 20
"""Maximum bytes of a line to read as a plain one. The decoder holds fewer copies of a line."""

VARIABLE = "FTKIT_PURE_PYTHON"
"""Environment variable that turns the extension off."""


def refuse(line: bytes) -> None:
    """Refuse every line."""


def _load() -> ReadPlain:
    if os.environ.get(VARIABLE):
        return refuse
    try:
        from ftkit.dataset._plain import read_plain
    except ImportError:
        return refuse
    return read_plain


read_plain = _load()
"""The reader in C if it was compiled, else `refuse`."""


def is_compiled() -> bool:
    """Return True if the extension was compiled and is not turned off."""
    return read_plain is not refuse


def placeholder(roles: bytes) -> Chat:
    """Return an example with these roles, whose texts are all the same."""
    messages = [{**ROLES[role], "content": "?"} for role in roles]
    return msgspec.convert({"messages": messages}, Chat)


def texts_of(tagged: bytes) -> list[str]:
    """Return tagged texts without their tags."""
    return [text.decode() for text in tagged.split(b"\xff")[:-1:2]]
