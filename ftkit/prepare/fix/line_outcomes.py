"""Fixed lines: blocks are scanned for findings, and only the lines with some are fixed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from ftkit.dataset.lenient_json import (
    MAX_DEPTH,
    MAX_LINE_BYTES,
    Reading,
    is_too_large,
    nests_deeper,
    read,
)
from ftkit.dataset.reader import Block
from ftkit.prepare.fix.line_fixer import Change, LineFixer
from ftkit.rules import RULES, ScanPlan
from ftkit.rules.fixes import UNREADABLE, find_line_fix
from ftkit.validation.scan import Scanner

_decode = msgspec.json.Decoder().decode


class Problem(NamedTuple):
    """Reason why a line is rejected: what is wrong, and where."""

    reason: str
    detail: str


class Outcome(NamedTuple):
    """Result for a line, or for one of the lines that bare carriage returns separate."""

    old: bytes
    """The line as it was read."""
    new: list[bytes]
    """The lines that replace it: none if it is rejected."""
    values: list[Any]
    """The JSON values of the new lines."""
    changes: list[Change]
    """The changes that were made, none if it is rejected."""
    problem: Problem | None


class LineOutcome(NamedTuple):
    """Results for a line: none if it is blank, several if bare carriage returns separate lines."""

    number: int
    old: bytes
    outcomes: list[Outcome]

    @property
    def changes(self) -> list[Change]:
        """All changes that were made."""
        return [change for outcome in self.outcomes for change in outcome.changes]

    @property
    def new(self) -> list[bytes]:
        """The lines that replace it. A rejected line stays as it is."""
        return [
            line
            for outcome in self.outcomes
            for line in ([outcome.old] if outcome.problem else outcome.new)
        ]


def fixed_lines(
    blocks: Iterable[Block],
    fixer: LineFixer,
    advance: Callable[[int], object] = lambda size: None,
) -> Iterator[LineOutcome]:
    """Yield what becomes of each line.

    Args:
        blocks: The lines.
        fixer: Fixes those that have findings.
        advance: Called with the size in bytes of each block, when it is done.
    """
    number = 0
    for block in blocks:
        suspects = _suspects(block, fixer.plan, number == 0)
        for index, line in enumerate(block.lines, 1):
            number += 1
            is_blank = not line or line.isspace()
            outcomes = [] if is_blank else _outcomes(line, number, fixer, index in suspects)
            yield LineOutcome(number, line, outcomes)
        advance(block.size)


def _suspects(block: Block, plan: ScanPlan, at_start: bool) -> set[int]:
    """Return the numbers of the lines of a block that may need a fix, from 1, and are not blank."""
    scanner = Scanner(plan, at_start)
    scanner.scan(*block)
    summary = scanner.summary()
    numbers = {finding.line for finding in summary.findings if finding.fix}
    return numbers.union(summary.crlf.first)


def _outcomes(line: bytes, number: int, fixer: LineFixer, is_suspect: bool) -> list[Outcome]:
    first = number == 1
    if not is_suspect:
        return [_outcome(line, [line], [], fixer, first)]
    pieces, split = fixer.split(line)
    outcomes = []
    for piece in pieces:
        fixed = fixer.fix(piece, number, first)
        outcomes.append(_outcome(piece, fixed.lines, fixed.changes, fixer, first))
        first = False
    written = [outcome for outcome in outcomes if not outcome.problem]
    if split and written:
        written[0].changes.insert(0, split)
    return outcomes


def _outcome(
    old: bytes, new: list[bytes], changes: list[Change], fixer: LineFixer, first: bool
) -> Outcome:
    lines = [line for line in new if line and not line.isspace()]
    values = []
    for line in lines:
        problem, value = _read(line, fixer, first)
        if problem:
            return Outcome(old, [], [], [], problem)
        values.append(value)
    return Outcome(old, lines, values, changes, None)


def _read(line: bytes, fixer: LineFixer, first: bool) -> tuple[Problem | None, Any]:
    """Return the reason to reject a line, or None, and its JSON value."""
    if not is_too_large(line) and not nests_deeper(line, MAX_DEPTH):
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None, _decode(line)
    reading = read(line, first=first)
    has_mark = reading.bom and not first
    is_broken = reading.bad_byte or reading.control or has_mark or reading.extra
    is_finite = not any(defect.kind == "nonfinite" for defect in reading.defects)
    if reading.parsed and is_finite and not is_broken:
        with suppress(ValueError):  # a number with too many digits
            return None, json.loads(reading.text)  # such as a number that only Python reads
    return _problem(reading, fixer), None


def _problem(reading: Reading, fixer: LineFixer) -> Problem:
    """Return what the rules find in a line that cannot be read."""
    for name in UNREADABLE:
        rule = RULES[name]
        hit = next(rule.checks[Reading](reading, fixer.plan), None)
        if hit:
            applied = find_line_fix(rule, reading, fixer.plan)
            is_unsafe = applied and applied.fix.safety not in fixer.allowed
            advice = "needs an unsafe fix" if is_unsafe else "cannot be fixed"
            if len(reading.raw) > MAX_LINE_BYTES:
                advice += f", and is cut after {MAX_LINE_BYTES / 1e6:.0f} MB"
            return Problem(f"{name}: {advice}", hit.message)
    return Problem("json-syntax: cannot be fixed", "")
