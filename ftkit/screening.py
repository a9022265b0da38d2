"""A cheap necessary condition for the rules on text, so that most lines need not be looked at.

The residue of some bytes is what remains when the most common ones are deleted: lower-case letters, spaces, most punctuation.
It is a tenth of ordinary prose, and making it costs less than a nanosecond a byte. Bytes that are adjacent in the text and
not deleted are adjacent in the residue, so a rule whose pattern needs `<|` can only fire where the residue has `<|`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ftkit.rules.base import Rule

DELETED = b"abcdefghijklmnopqrstuvwxyz .,;:'!?()=+*/%#&$^~`\t"


def residue(data: bytes) -> bytes:
    """What remains of the bytes without `DELETED`. Line feeds, quotes, brackets and backslashes stay."""
    return data.translate(None, DELETED)


def strings(remains: bytes) -> int:
    """Twice the number of JSON strings in some lines, from their residue: quotes that are not escaped.

    It is exact where no backslash is escaped, and comparable between two spellings of the same lines that escape alike.
    """
    return remains.count(b'"') - remains.count(b'\\"')


class Screen:
    """The screens of some rules, ready to be held against the lines of a block."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._patterns = [(rule, re.compile(rule.screen.encode("latin-1"))) for rule in rules]

    def suspects(self, remains: bytes) -> dict[int, list[Rule]]:
        """The indices of the lines that may break rules, each with those rules. `remains` is the residue of whole lines."""
        found: dict[int, list[Rule]] = {}
        lines: Sequence[bytes] = ()
        for rule, pattern in self._patterns:
            if pattern.search(remains):
                lines = lines or remains.split(b"\n")
                for index, line in enumerate(lines):
                    if pattern.search(line):
                        found.setdefault(index, []).append(rule)
        return found
