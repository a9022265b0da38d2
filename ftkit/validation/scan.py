"""Scanning a dataset file: the summary of one part, and the sum over all parts.

    part → blocks → lines → read_plain → Linter (rules), Measurer (tokens) → Summary `scan`
                              ↳ decode, if the line is not plain
                                  ↳ slow path, where decoding fails
    parts → map(scan) → sum                                                          `summarize`

`scan` depends only on its arguments, so any `map` will do: the builtin, a process pool's, a
cluster's. A plan can have rules, token counting, or both; both together give exactly the sum of
what they give alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from ftkit.dataset.detect import Head
from ftkit.dataset.formats import FORMATS, Format
from ftkit.dataset.lenient_json import MAX_DEPTH, MAX_VALUES, is_too_large, nests_deeper
from ftkit.dataset.plain import MAX_PLAIN_BYTES, PlainLine, ReadPlain, read_plain, refuse
from ftkit.dataset.reader import READ_ERRORS, Part, blocks
from ftkit.errors import FileError
from ftkit.rules.base import ScanPlan
from ftkit.rules.fingerprints import Fingerprints, LocalFingerprints
from ftkit.summary import Lines, Summary
from ftkit.validation.linter import Linter
from ftkit.validation.measurer import Measurer
from ftkit.validation.slow_path import Explanation

DECODE_ERRORS = (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError)

Progress = Callable[[str, int], None]
"""Called with a file's name and the number of bytes scanned since the last call."""


class Consumer(Protocol):
    """Consumer of the lines of a file, which adds its own fields to their summary."""

    def add(self, number: int, line: bytes, example: Any) -> None:
        """Add a decoded line."""

    def add_plain(self, number: int, line: bytes, plain: PlainLine) -> None:
        """Add a plain line, as `add` does with its example."""

    def add_undecoded(self, number: int, line: bytes, is_last: bool) -> Explanation:
        """Add a line that the decoder refused, and return its explanation."""

    def end_block(self) -> None:
        """Finish the lines that were added since the last call."""

    def add_to(self, summary: Summary) -> Summary:
        """Return the summary with the consumer's own fields filled in."""


class PlannedScan(Struct, frozen=True):
    """`scan` with a plan: a function that can be sent to other processes as a value."""

    plan: ScanPlan

    def __call__(self, part: Part, advance: Callable[[int], None] | None = None) -> Summary:
        """Return the summary of a part; see `scan`."""
        return scan(part, self.plan, advance)


Map = Callable[[PlannedScan, Iterable[Part]], Iterable[Summary]]
"""A `map` over the parts of a file, in order. It may scan adjacent shards as one."""


def local_fingerprints(summary: Summary) -> Fingerprints:
    """Return the fingerprints that a summary has itself."""
    return LocalFingerprints(summary.fingerprints)


class Engine(NamedTuple):
    """Engine that scans the parts of files.

    Attributes:
        map: Function that scans parts and yields their summaries in order.
        fingerprints: Function that returns the fingerprints of the examples of a file, given the
            sum of the summaries that `map` has yielded for it.
    """

    map: Map
    fingerprints: Callable[[Summary], Fingerprints] = local_fingerprints


def choose_format(head: Head, requested: tuple[str, ...]) -> str:
    """Return the format to read a file as: its own, or the requested one if it could be either.

    A chat example without an answer looks the same as a reinforcement example without fields for
    the grader.
    """
    own = head.kind if head.kind in FORMATS else None
    is_single = len(requested) == 1
    if is_single and (own is None or (head.asks and requested[0] in FORMATS[own].lookalikes)):
        return requested[0]
    return own or "chat"


def scan(part: Part, plan: ScanPlan, advance: Callable[[int], None] | None = None) -> Summary:
    """Return the summary of a part. Bad data never raises.

    Args:
        part: The part.
        plan: The format, the rules, and the ways to count tokens.
        advance: Called with the number of bytes of each block.

    Raises:
        FileError: The file cannot be read.
    """
    scanner = Scanner(plan, at_start=part.start == 0)
    try:
        for block in blocks(part):
            scanner.scan(*block)
            if advance:
                advance(block.size)
    except READ_ERRORS as error:
        raise FileError(f"cannot read {part.file}: {error}; is the file complete?") from error
    return scanner.summary()


def summarize(parts: Iterable[Part], plan: ScanPlan, map: Map = map) -> Summary:
    """Return the summary of all parts, scanned through `map` and added in order.

    Summaries of equally many parts are added first, since adding each to the sum of all before it
    copies that sum once for each part.
    """
    sums: list[tuple[int, Summary]] = []
    for summary in map(PlannedScan(plan), parts):
        count = 1
        while sums and sums[-1][0] == count:
            _, before = sums.pop()
            count, summary = 2 * count, before + summary
        sums.append((count, summary))
    return functools.reduce(
        lambda total, row: row[1] + total, reversed(sums), Summary(keep=plan.keep)
    )


class Scanner:
    """Decodes lines, counts them, and feeds them to a linter, a measurer, or both.

    Args:
        plan: The format, the rules, and the ways to count tokens.
        at_start: True if the first line is the first of the file.
        read_plain: The reader of plain lines; `plain.refuse` decodes all lines.
    """

    def __init__(
        self, plan: ScanPlan, at_start: bool = True, read_plain: ReadPlain = read_plain
    ) -> None:
        self.plan = plan
        self._format: Format = FORMATS[plan.format]
        self._read_plain = read_plain if plan.format == "chat" else refuse
        self._consumers: list[Consumer] = []
        if plan.applies_rules:
            self._consumers.append(Linter(plan, at_start))
        if plan.counting_methods or not plan.applies_rules:
            self._consumers.append(Measurer(plan, at_start))
        self._lines = self._size = self._examples = self._last_content = 0
        self._blank = LineCounter(plan.keep)
        self._crlf = LineCounter(plan.keep)

    def scan(self, lines: Sequence[bytes], size: int, ends_file: bool = False) -> None:
        """Scan whole lines of `size` bytes in all, given without their line feeds."""
        read_plain, consumers = self._read_plain, self._consumers
        end = self._lines + len(lines)
        if not any(lines):
            self._blank.add(self._lines + 1, len(lines))
            lines = ()
        for number, line in enumerate(lines, self._lines + 1):
            if line.endswith(b"\r"):
                self._crlf.add(number)
            if len(line) > MAX_VALUES and is_too_large(line):
                self._add_undecoded(number, line, False)
            elif len(line) <= MAX_PLAIN_BYTES and (plain := read_plain(line)):
                for consumer in consumers:
                    consumer.add_plain(number, line, plain)
                self._examples += 1
                self._last_content = number
            elif line:
                self._decode(number, line, ends_file and number == end)
            else:
                self._blank.add(number)
        for consumer in consumers:
            consumer.end_block()
        self._lines = end
        self._size += size

    def _decode(self, number: int, line: bytes, is_last: bool) -> None:
        """Decode a line and add it."""
        try:
            example = self._format.decode(line)
            if self._is_deep(line, example):
                raise RecursionError
            for consumer in self._consumers:
                consumer.add(number, line, example)
        except DECODE_ERRORS:
            self._add_undecoded(number, line, is_last)
        else:
            self._examples += 1
            self._last_content = number

    def _is_deep(self, line: bytes, example: Any) -> bool:
        """Return True if the line is nested too deeply, which only values of any type can be."""
        return self._format.may_be_deep(example) and nests_deeper(line, MAX_DEPTH)

    def _add_undecoded(self, number: int, line: bytes, is_last: bool) -> None:
        """Add a line that the decoder refused, or that is blank."""
        if not line.strip(b" \t\r"):
            self._blank.add(number)
            return
        explanations = [_explain(consumer, number, line, is_last) for consumer in self._consumers]
        # Consumers differ in their findings only.
        self._examples += explanations[0].example_count
        if explanations[0].is_blank:
            self._blank.add(number)
        else:
            self._last_content = number

    def summary(self) -> Summary:
        """Return the summary of the lines so far."""
        keep = self.plan.keep
        summary = Summary(
            keep=keep,
            lines=self._lines,
            size=self._size,
            examples=self._examples,
            blank=self._blank.lines(),
            blank_tail=self._lines - self._last_content,
            crlf=self._crlf.lines(),
        )
        for consumer in self._consumers:
            summary = consumer.add_to(summary)
        return summary


class LineCounter:
    """Counts lines, and keeps the numbers of the first `keep`."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._count = 0
        self._first: list[int] = []

    def add(self, number: int, count: int = 1) -> None:
        """Add `count` lines, beginning with a number."""
        self._count += count
        room = self._keep - len(self._first)
        if room > 0:
            self._first.extend(range(number, number + min(count, room)))

    def lines(self) -> Lines:
        """Return the count and the numbers."""
        return Lines(self._count, tuple(self._first))


def _explain(consumer: Consumer, number: int, line: bytes, is_last: bool) -> Explanation:
    try:
        return consumer.add_undecoded(number, line, is_last)
    except RecursionError:
        # Deep JSON needs all of Python's stack; a new thread has a whole one.
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(consumer.add_undecoded, number, line, is_last).result()
