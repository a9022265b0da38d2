"""Prefilter for the rules on text: a cheap necessary condition that most lines do not meet.

The residue of some bytes is what remains after deleting the most common ones: lower-case letters,
spaces and most punctuation. It is a tenth of ordinary prose and takes less than a nanosecond per
byte. Bytes that are adjacent in the text and not deleted stay adjacent, so a rule whose pattern
needs `<|` can only match where the residue has `<|`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ftkit.rules.base import Rule

DELETED = b"abcdefghijklmnopqrstuvwxyz ,;:'\"!?()=+*/%#&$^~`\t"
"""Bytes that the residue does not have."""

BEYOND_ASCII = bytes(range(0x80, 0x100))

PLAIN = bytes(set(range(0x7F)) - set(b"\n\\01"))
"""ASCII without the line feed and what escaped control characters leave (`\\u0000` → `\\0000`)."""


def residue(data: bytes) -> bytes:
    """Return the bytes without `DELETED`. Line feeds, brackets and backslashes stay."""
    return data.translate(None, DELETED)


class Prefilter:
    """Prefilter of some rules, for the lines of a block.

    Patterns with bytes beyond ASCII are searched in the rest of the residue without ASCII, the
    others in its ASCII part. Each alternative of a pattern is searched on its own and is a literal
    or begins with one, since `bytes.find` is far faster than an alternation of a regular
    expression.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._ascii: list[Finder] = []
        self._other: list[Finder] = []
        for rule in rules:
            for pattern in rule.prefilter:
                beyond = pattern.startswith(("\\x", "\\\\"))
                (self._other if beyond else self._ascii).append(_finder(rule, pattern))

    def suspects(self, remains: bytes, lines: Sequence[bytes]) -> dict[int, list[Rule]]:
        """Return the rules that each line may violate, by the index of the line.

        Args:
            remains: The residue of the lines, joined by line feeds.
            lines: The lines.
        """
        suspects: dict[int, list[Rule]] = {}
        _collect(self._ascii, remains.translate(None, BEYOND_ASCII), lines, suspects)
        if not remains.isascii() or b"\\00" in remains or b"\x7f" in remains:
            _collect(self._other, remains.translate(None, PLAIN), lines, suspects)
        return suspects


class Finder(NamedTuple):
    """Search for one pattern of a rule."""

    rule: Rule
    find: Callable[[bytes, int], int]
    """Return the index of the first match in a residue from a start index, or -1."""
    confirm: Callable[[bytes], object]
    """Return something true if the line itself may violate the rule."""


_LITERAL = re.compile(r"(?:[A-Z<>_]|\\[\[\]{}|]|\\x[0-9a-f]{2})+")
_ESCAPE = re.compile(r"\\(?:x(..)|(.))")


def _finder(rule: Rule, pattern: str) -> Finder:
    confirm = re.compile(rule.confirm.get(pattern, "").encode()).search
    if _LITERAL.fullmatch(pattern):
        literal = _ESCAPE.sub(_unescape, pattern).encode("latin-1")
        return Finder(rule, lambda data, start: data.find(literal, start), confirm)
    search = re.compile(pattern.encode("latin-1")).search

    def find(data: bytes, start: int) -> int:
        match = search(data, start)
        return match.start() if match else -1

    return Finder(rule, find, confirm)


def _unescape(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else escape[2]


def _collect(
    finders: Iterable[Finder],
    remains: bytes,
    lines: Sequence[bytes],
    suspects: dict[int, list[Rule]],
) -> None:
    """Add the rules whose patterns match to `suspects`."""
    ends: list[int] = []
    for rule, find, confirm in finders:
        start = find(remains, 0)
        while start >= 0:
            ends = ends or [*_line_ends(remains), len(remains)]
            index = bisect_left(ends, start)
            if confirm(lines[index]):
                rules = suspects.setdefault(index, [])
                if rule not in rules:
                    rules.append(rule)
            start = find(remains, ends[index])


def _line_ends(data: bytes) -> Iterator[int]:
    end = data.find(b"\n")
    while end >= 0:
        yield end
        end = data.find(b"\n", end + 1)
