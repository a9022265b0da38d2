"""Prefilter for the rules on text: a cheap necessary condition that most lines do not meet.

The patterns of all rules are one regular expression, which RE2 searches for in a whole block at
about a nanosecond per byte, however many patterns there are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

import re2

from ftkit.rules.base import Rule


class Prefilter:
    """Prefilter of some rules, for the lines of a block."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = [(rule, _search(rule.prefilter)) for rule in rules]
        self._search_any = _search([part for rule, _ in self._rules for part in rule.prefilter])

    def suspects(self, lines: Sequence[bytes]) -> dict[int, list[Rule]]:
        """Return the rules that each line may violate, by the index of the line."""
        suspects: dict[int, list[Rule]] = {}
        if not self._rules:
            return suspects
        joined = b"\n".join(lines)
        ends: list[int] = []
        match = self._search_any(joined, 0)
        while match and match.start() < len(joined):
            # A line feed belongs to the line after it: a match may begin with it. Each match is in
            # a later line than the one before, so the search ends, whatever the patterns match.
            ends = ends or list(accumulate((len(line) + 1 for line in lines), initial=-1))[1:]
            index = bisect_right(ends, match.start())
            line = lines[index]
            suspects[index] = [rule for rule, search in self._rules if search(line)]
            match = self._search_any(joined, ends[index])
        return suspects


def _search(patterns: Iterable[str]) -> Callable[..., Any]:
    """Return a function that searches bytes for any of the patterns."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    search: Callable[..., Any] = re2.compile("|".join(patterns).encode("latin-1"), options).search
    return search
