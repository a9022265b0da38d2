"""A cheap necessary condition for the rules on text, so that most lines need not be looked at.

The residue of some bytes is what remains when the most common ones are deleted: lower-case letters, spaces, most
punctuation. It is a tenth of ordinary prose, and making it costs less than a nanosecond a byte. Bytes that are adjacent in
the text and not deleted are adjacent in the residue, so a rule whose pattern needs `<|` can only fire where the residue has
`<|`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from ftkit.rules.base import Rule

DELETED = b"abcdefghijklmnopqrstuvwxyz ,;:'\"!?()=+*/%#&$^~`\t"
BEYOND_ASCII = bytes(range(0x80, 0x100))
PLAIN = bytes(set(range(0x7F)) - set(b"\n\\01"))
"""ASCII, but for the line feed and what an escaped control character leaves (`\\u0000` → `\\0000`)."""


def residue(data: bytes) -> bytes:
    """What remains of the bytes without `DELETED`. Line feeds, brackets and backslashes stay."""
    return data.translate(None, DELETED)


class Screen:
    """The screens of some rules, ready to be held against the lines of a block.

    Patterns with bytes beyond ASCII are held against what is left without ASCII, the others against what is left of ASCII.
    Each alternative is a pattern of its own that begins with a literal, or is one: literals are found at memory speed,
    alternations one byte at a time.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._ascii: list[tuple[Rule, Find]] = []
        self._other: list[tuple[Rule, Find]] = []
        for rule in rules:
            for pattern in rule.screen:
                beyond = pattern.startswith(("\\x", "\\\\"))
                (self._other if beyond else self._ascii).append((rule, _finder(pattern)))

    def suspects(self, remains: bytes) -> dict[int, list[Rule]]:
        """The indices of the lines that may break rules, each with those rules. `remains` is the residue of whole lines."""
        found: dict[int, list[Rule]] = {}
        _collect(self._ascii, remains.translate(None, BEYOND_ASCII), found)
        if not remains.isascii() or b"\\00" in remains or b"\x7f" in remains:
            _collect(self._other, remains.translate(None, PLAIN), found)
        return found


Find = Callable[[bytes, int], int]
"""Where a pattern is first found at or after a place; -1 if it is not."""


_LITERAL = re.compile(r"(?:[A-Z<>_]|\\[\[\]{}|])+")


def _finder(pattern: str) -> Find:
    if _LITERAL.fullmatch(pattern):
        encoded = pattern.replace("\\", "").encode()
        return lambda data, start: data.find(encoded, start)
    search = re.compile(pattern.encode("latin-1")).search

    def find(data: bytes, start: int) -> int:
        found = search(data, start)
        return found.start() if found else -1

    return find


def _collect(finders: Iterable[tuple[Rule, Find]], remains: bytes, found: dict[int, list[Rule]]) -> None:
    ends: list[int] = []
    for rule, find in finders:
        at = find(remains, 0)
        while at >= 0:
            ends = ends or [*_line_ends(remains), len(remains)]
            index = bisect_left(ends, at)
            rules = found.setdefault(index, [])
            if rule not in rules:
                rules.append(rule)
            at = find(remains, ends[index])


def _line_ends(data: bytes) -> Iterator[int]:
    at = data.find(b"\n")
    while at >= 0:
        yield at
        at = data.find(b"\n", at + 1)
