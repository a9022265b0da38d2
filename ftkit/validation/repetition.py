"""Counting repeated findings: by rule and by message, with the first lines of each."""

from __future__ import annotations

from bisect import insort

from ftkit.summary import ALL, MESSAGES, PLACES, Finding, Lines, Repeat, lowest, rank


class RepeatCounter:
    """Counts the findings of consecutive lines by rule and by message.

    The findings of a rule on the same line must be added one after another; lines may be added in
    any order.
    """

    def __init__(self) -> None:
        self._counters: dict[str, dict[str, _Counter]] = {}
        self._highest: dict[str, tuple[int, str]] = {}
        """Rank above which new messages of a rule are not among the lowest, once there are many."""

    def add(self, finding: Finding, times: int = 1) -> None:
        """Add a finding that stands for some lines."""
        rule, highest = finding.rule, self._highest.get(finding.rule)
        counters = self._counters.setdefault(rule, {})
        for message in (ALL, finding.message):
            if message not in counters:
                if highest and rank(message) > highest:
                    continue
                if len(counters) > 2 * MESSAGES:
                    counters = self._counters[rule] = lowest(counters)
                    self._highest[rule] = rank(next(reversed(counters)))
                counters[message] = _Counter(finding)
            counters[message].add(finding, times)

    def repeats(self) -> dict[str, dict[str, Repeat]]:
        """Return the counts by rule and message."""
        return {
            rule: {message: counter.repeat() for message, counter in lowest(counters).items()}
            for rule, counters in self._counters.items()
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
