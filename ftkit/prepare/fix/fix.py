"""Fixing of examples: each rule may carry fixes, which are safe or unsafe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from ftkit.catalog import DEFAULT_PROVIDER, find_limits
from ftkit.dataset.formats import find_format
from ftkit.dataset.inputs import Examples, File, open_sources
from ftkit.dataset.lenient_json import is_too_large, read
from ftkit.dataset.reader import READ_ERRORS, Block, Source, blocks
from ftkit.errors import FileError
from ftkit.prepare.audit import Audit, Origin
from ftkit.prepare.fix.file_fixes import FixedFile, fix_file
from ftkit.prepare.fix.line_fixer import MIXED, Change, FixedLine, LineFixer
from ftkit.prepare.prepared import Prepared
from ftkit.prepare.rows import Row, limit_fault
from ftkit.rules import RULES, ScanPlan, choose_rules
from ftkit.rules.fixes import Allowed
from ftkit.summary import Safety
from ftkit.validation.scan import Scanner

STEP = "fix"
"""Name of the step in reports and maps."""

ALL_FINDINGS = 1 << 62
"""Number of findings to keep of each rule in a block: all."""

_decode = msgspec.json.Decoder().decode


class LineChange(NamedTuple):
    """A line of a file, the lines that replace it, and the changes that were made."""

    number: int
    old: bytes
    new: list[bytes]
    changes: list[Change]


def fix(
    files: File | Iterable[File] | Examples,
    *,
    unsafe: bool = False,
    redact: bool = False,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    format: str | None = None,
    provider: str = DEFAULT_PROVIDER,
) -> Prepared:
    """Return examples with their mistakes fixed, where a rule has a fix.

    Lines that need no fix stay as they are. Lines that are no JSON and cannot be fixed are
    rejected. Fixing again changes nothing.

    Args:
        files: Paths, open files, or examples.
        unsafe: Apply fixes that change or remove a value, too. The old values are in the audit.
        redact: Replace secrets and addresses by what they are, such as `[e-mail address]`.
        select: Rules whose violations are fixed, by name, code or code prefix; all if empty.
        ignore: Rules to leave out, likewise.
        format: `chat`, `completions`, `preference` or `reinforcement`; detected for each file if
            None.
        provider: The provider the files are for.

    Raises:
        FileError: A path is not a file.
        UsageError: An argument is invalid.
        UnknownNameError: No format, provider or rule has that name.
    """
    plan, allowed = fix_plan(select, ignore, format, provider), allowed_fixes(unsafe, redact)
    sources = open_sources(files, "files")
    audit = Audit()
    rows = (row for source in sources for row in _rows(source, plan, allowed, audit))
    return Prepared(rows, audit)


def allowed_fixes(unsafe: bool, redact: bool) -> Allowed:
    """Return the safeties of the fixes to apply."""
    chosen: dict[Safety, bool] = {"safe": True, "unsafe": unsafe, "redaction": redact}
    return frozenset(safety for safety, is_chosen in chosen.items() if is_chosen)


def fix_plan(
    select: Sequence[str], ignore: Sequence[str], format: str | None, provider: str
) -> ScanPlan:
    """Return the plan of the rules that have fixes."""
    if format is not None:
        find_format(format)
    fixable = frozenset(rule.name for rule in RULES.values() if rule.fixes)
    chosen = choose_rules(select, ignore) & fixable
    return ScanPlan(
        find_limits(provider),
        requested_formats=(format,) if format else (),
        named_format=format,
        rules=chosen | {MIXED},
        keep=ALL_FINDINGS,
    )


def _rows(source: Source, plan: ScanPlan, allowed: Allowed, audit: Audit) -> Iterator[Row]:
    file = fix_file(source, plan, allowed)
    whole = audit.origin(source.path)
    for change in file.changes:
        audit.change(STEP, _reason(change), whole)
    advance = partial(audit.advance, whole.file)
    for line in fixed_lines(file, plan, allowed, advance):
        place = (line.number, 0) if file.keeps_lines else (0, line.number)
        origin = audit.origin(source.path, *place)
        audit.read += 1
        contents = [new for new in line.new if new and not new.isspace()]
        if contents:
            yield from _new_rows(line._replace(new=contents), origin, audit)
        else:
            audit.drop(STEP, "blank line", origin)


def _new_rows(line: LineChange, origin: Origin, audit: Audit) -> Iterator[Row]:
    """Yield the rows of a line, and record what happened to it."""
    for change in line.changes:
        audit.change(STEP, _reason(change), origin, change.pointer, change.old)
    for index, new in enumerate(line.new):
        if index:
            audit.add(STEP, "several examples on a line", origin)
        steps = (STEP,) if line.changes else ()
        problem, value = _value(new)
        if problem:
            reason = limit_fault(read(new)) or "not JSON, and cannot be fixed"
            audit.reject(STEP, reason, origin, new, detail=problem)
        else:
            yield Row(value, (origin,), steps, new)


def _value(line: bytes) -> tuple[str, Any]:
    """Return what is wrong with a line, or "", and its JSON value."""
    if not is_too_large(line):
        try:
            return "", _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    reading = read(line)
    is_broken = reading.bad_byte or reading.control or reading.bom or reading.extra
    is_finite = not any(defect.kind == "nonfinite" for defect in reading.defects)
    if reading.parsed and is_finite and not is_broken:
        with suppress(ValueError):  # a number with too many digits
            return "", json.loads(line)  # such as a number that only Python reads
    error = reading.error
    fault = limit_fault(reading) or "broken"
    return (f"{error.msg} at column {error.pos + reading.shift + 1}" if error else fault), None


def _reason(change: Change) -> str:
    return f"{change.rule}: {change.summary}"


def fixed_lines(
    file: FixedFile,
    plan: ScanPlan,
    allowed: Allowed,
    advance: Callable[[int], object] = lambda size: None,
) -> Iterator[LineChange]:
    """Yield each line of a file with the lines that replace it.

    Lines are scanned for findings a block at a time; only those with some are fixed.

    Args:
        file: The file.
        plan: The plan of `fix_plan`.
        allowed: Safeties of the fixes to apply.
        advance: Called with the size in bytes of each block, when it is done.

    Raises:
        FileError: The file cannot be read.
    """
    source = file.source
    plan = replace(plan, format=file.format)
    fixer = LineFixer(plan, allowed, file.is_known)
    number = 0
    try:
        for part in source.parts():
            for block in blocks(part):
                suspects = _suspects(block, plan, number == 0)
                for index, line in enumerate(block.lines, 1):
                    number += 1
                    if index in suspects and line != b"\r":
                        fixed = fixer.fix(line, number, number == 1)
                    else:
                        fixed = FixedLine([line], [])
                    yield LineChange(number, line, *fixed)
                advance(block.size)
    except READ_ERRORS as error:
        raise FileError(f"cannot read {source.path}: {error}; is the file complete?") from error


def _suspects(block: Block, plan: ScanPlan, at_start: bool) -> set[int]:
    """Return the numbers of the lines of a block that may need a fix, from 1, and are not blank."""
    scanner = Scanner(plan, at_start)
    scanner.scan(*block)
    summary = scanner.summary()
    numbers = {finding.line for finding in summary.findings if finding.fix}
    return numbers.union(summary.crlf.first)
