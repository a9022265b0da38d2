"""Counting repeated findings: by rule and by message, with the first lines of each."""

from __future__ import annotations

from bisect import insort

from ftkit.summary import MESSAGES, PLACES, Finding, Lines, Repeat, Repeats, lowest


class RepeatCounter:
    """Counts the findings of consecutive lines by rule and by message.

    The findings of a rule on the same line must be added one after another; lines may be added in
    any order.
    """

    def __init__(self) -> None:
        self._all: dict[str, _Counter] = {}
        self._messages: dict[str, dict[str, _Counter]] = {}

    def add(self, finding: Finding, times: int = 1) -> None:
        """Add a finding that stands for some lines."""
        rule, key = finding.rule, finding.message
        if rule not in self._all:
            self._all[rule], self._messages[rule] = _Counter(finding), {}
        messages = self._messages[rule]
        if key not in messages:
            if len(messages) >= 2 * MESSAGES:
                messages = self._messages[rule] = lowest(messages)
            messages[key] = _Counter(finding)
        self._all[rule].add(finding, times)
        messages[key].add(finding, times)

    def repeats(self) -> dict[str, Repeats]:
        """Return the counts by rule."""
        return {
            rule: Repeats(
                counter.repeat(),
                {message: one.repeat() for message, one in lowest(self._messages[rule]).items()},
            )
            for rule, counter in self._all.items()
        }


class _Counter:
    """Counts findings, and the lines that they are on."""

    __slots__ = ("_count", "_first", "_last", "_lines", "_numbers")

    def __init__(self, first: Finding) -> None:
        self._first = first
        self._count = self._lines = 0
        self._last = -1
        self._numbers: list[int] = []

    def add(self, finding: Finding, times: int) -> None:
        self._count += times
        line = finding.line
        if line == self._last and times == 1:
            return
        self._last = line
        self._lines += times
        if line and (len(self._numbers) < PLACES or line < self._numbers[-1]):
            insort(self._numbers, line)
            del self._numbers[PLACES:]
        if 0 < line < self._first.line:
            self._first = finding

    def repeat(self) -> Repeat:
        return Repeat(self._first, self._count, Lines(self._lines, tuple(self._numbers)))
