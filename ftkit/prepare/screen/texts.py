"""Texts of a row with their places, and texts that are JSON themselves, such as tool arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ftkit.prepare.paths import pointer_of
from ftkit.prepare.similarity.content import NOT_TEXT

FIXED_KEYS = NOT_TEXT | {"name", "url", "file_id", "model"}
"""Keys of strings that are no text, and would be broken by a placeholder."""

MAX_JSON_DEPTH = 4
"""Maximum number of JSON texts within one another that are read as JSON."""

_DATA_URL = "data:"
"""Start of the address of a file that is in the address itself."""

_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\]++|\\.)*+")(?!\s*+:)|(?P<key>"(?:[^"\\]++|\\.)*+")'
    r"|(?P<number>-?[0-9]++)(?![.eE])"
)
"""A string in JSON that is no key, a key, or a whole number."""


class Place(NamedTuple):
    """A string, a whole number or a key in a row, and where it is."""

    value: str | int
    holder: Any
    """The object or the array that has it."""
    key: str | int
    steps: Any
    """The keys and indices that lead to it, as nested pairs."""
    is_key: bool = False

    @property
    def pointer(self) -> str:
        """JSON pointer (RFC 6901)."""
        return pointer_of(_flat(self.steps))

    @property
    def is_text(self) -> bool:
        """True if the value is a text that may be replaced by another."""
        is_fixed = self.is_key or self.key in FIXED_KEYS
        return isinstance(self.value, str) and not is_fixed


def _flat(steps: Any) -> Iterator[str | int]:
    keys: list[str | int] = []
    while steps:
        steps, key = steps
        keys.append(key)
    return reversed(keys)


def places(value: Any) -> Iterator[Place]:
    """Yield the strings, whole numbers and keys of a value, without files in URLs."""
    stack: list[tuple[Any, Any, Any, Any]] = [(value, [value], 0, ())]
    while stack:  # values may nest more deeply than Python's stack allows
        item, holder, key, steps = stack.pop()
        if isinstance(item, dict):
            yield from (Place(name, item, name, (steps, name), is_key=True) for name in item)
            stack += [(item[key], item, key, (steps, key)) for key in reversed(item)]
        elif isinstance(item, list):
            indices = range(len(item) - 1, -1, -1)
            stack += [(item[index], item, index, (steps, index)) for index in indices]
        elif isinstance(item, str):
            if not item.startswith(_DATA_URL):
                yield Place(item, holder, key, steps)
        elif isinstance(item, int) and not isinstance(item, bool):
            yield Place(item, holder, key, steps)


Replace = Callable[[str, bool], str]
"""A function that returns what replaces a text. The flag is False if it must stay as it is."""


def replace_text(text: str, replace: Replace, depth: int = 0) -> str:
    """Return a text after replacements. A text that is JSON stays JSON with the same layout.

    Args:
        text: The text.
        replace: Called with the text, or with the strings, keys and whole numbers of JSON.
        depth: Number of JSON texts that it is in.
    """
    if depth == MAX_JSON_DEPTH or not _is_json(text):
        return replace(text, True)

    def token(match: re.Match[str]) -> str:
        if match["number"]:
            replace(match["number"], False)
        if match["key"]:
            replace(json.loads(match["key"]), False)
        if not match["string"]:
            return match[0]
        old = json.loads(match["string"])
        new = replace_text(old, replace, depth + 1)
        return match[0] if new == old else json.dumps(new, ensure_ascii=match[0].isascii())

    return _TOKEN.sub(token, text)


def _is_json(text: str) -> bool:
    """Return True if a text is an object or an array in JSON."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text, parse_int=str)  # unlike msgspec, it takes 1e400
    except (ValueError, RecursionError):
        return False
    return True
