"""A cheap necessary condition for the rules on text, so that most lines need not be looked at.

The residue of some bytes is what remains when the most common ones are deleted: lower-case letters, spaces, most
punctuation. It is a tenth of ordinary prose, and making it costs less than a nanosecond a byte. Bytes that are adjacent in
the text and not deleted are adjacent in the residue, so a rule whose pattern needs `<|` can only fire where the residue has
`<|`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

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
        self._ascii: list[Finder] = []
        self._other: list[Finder] = []
        for rule in rules:
            for pattern in rule.prefilter:
                beyond = pattern.startswith(("\\x", "\\\\"))
                (self._other if beyond else self._ascii).append(_finder(rule, pattern))

    def suspects(self, remains: bytes, lines: Sequence[bytes]) -> dict[int, list[Rule]]:
        """The indices of the lines that may break rules, each with those rules. `remains` is the residue of the lines."""
        found: dict[int, list[Rule]] = {}
        _collect(self._ascii, remains.translate(None, BEYOND_ASCII), lines, found)
        if not remains.isascii() or b"\\00" in remains or b"\x7f" in remains:
            _collect(self._other, remains.translate(None, PLAIN), lines, found)
        return found


class Finder(NamedTuple):
    """A pattern of a rule's screen: where it is first found at or after a place (-1: nowhere), and what confirms it."""

    rule: Rule
    find: Callable[[bytes, int], int]
    confirm: Callable[[bytes], object]


_LITERAL = re.compile(r"(?:[A-Z<>_]|\\[\[\]{}|]|\\x[0-9a-f]{2})+")
_ESCAPE = re.compile(r"\\(?:x(..)|(.))")


def _finder(rule: Rule, pattern: str) -> Finder:
    confirm = re.compile(rule.confirm.get(pattern, "").encode()).search
    if _LITERAL.fullmatch(pattern):
        encoded = _ESCAPE.sub(
            lambda found: chr(int(found[1], 16)) if found[1] else found[2], pattern
        ).encode("latin-1")
        return Finder(rule, lambda data, start: data.find(encoded, start), confirm)
    search = re.compile(pattern.encode("latin-1")).search

    def find(data: bytes, start: int) -> int:
        found = search(data, start)
        return found.start() if found else -1

    return Finder(rule, find, confirm)


def _collect(
    finders: Iterable[Finder], remains: bytes, lines: Sequence[bytes], found: dict[int, list[Rule]]
) -> None:
    ends: list[int] = []
    for rule, find, confirm in finders:
        at = find(remains, 0)
        while at >= 0:
            ends = ends or [*_line_ends(remains), len(remains)]
            index = bisect_left(ends, at)
            if confirm(lines[index]):
                rules = found.setdefault(index, [])
                if rule not in rules:
                    rules.append(rule)
            at = find(remains, ends[index])


def _line_ends(data: bytes) -> Iterator[int]:
    at = data.find(b"\n")
    while at >= 0:
        yield at
        at = data.find(b"\n", at + 1)
