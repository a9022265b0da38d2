"""A cheap necessary condition for the rules on text, so that most lines need not be looked at.

The residue of some bytes is what remains when the most common ones are deleted: lower-case letters, spaces, most
punctuation. It is a tenth of ordinary prose, and making it costs less than a nanosecond a byte. Bytes that are adjacent in
the text and not deleted are adjacent in the residue, so a rule whose pattern needs `<|` can only fire where the residue has
`<|`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable

from ftkit.rules.base import Rule

DELETED = b"abcdefghijklmnopqrstuvwxyz .,;:'!?()=+*/%#&$^~`\t"
BEYOND_ASCII = bytes(range(0x80, 0x100))
PLAIN = bytes(set(range(0x7F)) - set(b"\n\\01"))
"""ASCII, but for the line feed and what an escaped control character leaves (`\\u0000` → `\\0000`)."""


def residue(data: bytes) -> bytes:
    """What remains of the bytes without `DELETED`. Line feeds, quotes, brackets and backslashes stay."""
    return data.translate(None, DELETED)


class Screen:
    """The screens of some rules, ready to be held against the lines of a block.

    Patterns with bytes beyond ASCII are held against what is left without ASCII, the others against what is left of ASCII.
    Each alternative is a pattern of its own that begins with a literal, since the regular expression engine finds literals
    at memory speed and alternations one byte at a time.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._ascii: list[tuple[Rule, re.Pattern[bytes]]] = []
        self._other: list[tuple[Rule, re.Pattern[bytes]]] = []
        for rule in rules:
            for pattern in rule.screen:
                compiled = re.compile(pattern.encode("latin-1"))
                (self._other if pattern.startswith(("\\x", "\\\\")) else self._ascii).append((rule, compiled))

    def suspects(self, remains: bytes) -> dict[int, list[Rule]]:
        """The indices of the lines that may break rules, each with those rules. `remains` is the residue of whole lines."""
        found: dict[int, list[Rule]] = {}
        for patterns, part in (
            (self._ascii, remains.translate(None, BEYOND_ASCII)),
            (self._other, remains.translate(None, PLAIN)),
        ):
            _collect(patterns, part, found)
        return found


def _collect(patterns: Iterable[tuple[Rule, re.Pattern[bytes]]], remains: bytes, found: dict[int, list[Rule]]) -> None:
    ends: list[int] = []
    for rule, pattern in patterns:
        at = 0
        while match := pattern.search(remains, at):
            ends = ends or [end.start() for end in re.finditer(b"\n", remains)]
            index = bisect_left(ends, match.start())
            rules = found.setdefault(index, [])
            if rule not in rules:
                rules.append(rule)
            if index >= len(ends):
                break
            at = ends[index]
