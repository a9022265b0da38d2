"""Layout of files: UTF-16, arrays and pretty-printed JSON become JSON Lines, as streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from ftkit.dataset.detect import SAMPLE_LINES, Head
from ftkit.dataset.inputs import READ_BYTES, stream_source
from ftkit.dataset.object_ranges import ObjectRanges
from ftkit.dataset.reader import READ_ERRORS, Chunk, FileRanges, Source, open_file
from ftkit.errors import FileError
from ftkit.prepare.file_formats import check_json_lines
from ftkit.prepare.file_formats.base import GZIP
from ftkit.prepare.fix.line_fixer import Change, LineFixer
from ftkit.rules import RULES, ScanPlan
from ftkit.rules.fixes import Allowed, find_fix
from ftkit.validation.scan import choose_format

MAX_FIXES = 3
"""Maximum number of fixes of a file: it may be UTF-16, and then an array."""


class FixedFile(NamedTuple):
    """A file that can be read line by line."""

    source: Source
    changes: list[Change]
    keeps_lines: bool
    """True if each line is the line of the same number in the file."""
    format: str
    """Format of the fixed lines."""
    is_known: bool
    """False if the format is a guess."""


def fix_file(source: Source, plan: ScanPlan, allowed: Allowed, name: str) -> FixedFile:
    """Return a file as JSON Lines, if it is of a kind that can be fixed.

    Args:
        source: The file.
        plan: The plan of `fix_plan`.
        allowed: Safeties of the fixes to apply.
        name: Name to show for the file.

    Raises:
        FileError: The file cannot be read, or is a table or not text.
        UsageError: It is a chat.
    """
    changes: list[Change] = []
    keeps_lines = True
    if not source.head().data.startswith(GZIP):
        check_json_lines(source, name)
    for _ in range(MAX_FIXES):
        head = source.head()
        if head.magic:
            kind, action = head.magic
            raise FileError(f"{name} is {kind}, not text; {action}")
        rule, applied = _find(head, plan, allowed)
        if not rule or applied is None or applied.result.convert is None:
            break
        source = stream_source(source.path, _converted(source, applied.result.convert))
        changes.append(Change(rule, applied.fix.summary, ""))
        keeps_lines = keeps_lines and applied.result.keeps_lines
    format, is_known = detect_format(source.head(), plan, allowed)
    return FixedFile(source, changes, keeps_lines, format, is_known)


def detect_format(head: Head, plan: ScanPlan, allowed: Allowed) -> tuple[str, bool]:
    """Return the format that lines have when their text is fixed and True, or a guess and False."""
    head = _with_fixed_lines(head, plan, allowed)
    rule, applied = _find(head, plan, allowed)
    if applied and applied.result.format:
        return applied.result.format, True
    return choose_format(head, plan.requested_formats), rule is None


class _Found(NamedTuple):
    """The first rule that the beginning of a file breaks, if any, and its fix."""

    rule: str | None
    applied: Any = None


def _find(head: Head, plan: ScanPlan, allowed: Allowed) -> _Found:
    plan = replace(plan, format=choose_format(head, plan.requested_formats))
    for rule in RULES.values():
        if Head in rule.checks and next(rule.checks[Head](head, plan), None):
            is_chosen = rule.name in plan.rules
            return _Found(rule.name, find_fix(rule, Head, head, allowed) if is_chosen else None)
    return _Found(None)


def _with_fixed_lines(head: Head, plan: ScanPlan, allowed: Allowed) -> Head:
    """Return the beginning of a file with the text of its lines fixed, to know their format."""
    if all(reading.parsed for reading in head.readings):
        return head
    fixer = LineFixer(plan, allowed, fixes_values=False)
    lines = [line for line in head.data.split(b"\n") if line.strip()][:SAMPLE_LINES]
    fixed = [
        new
        for number, line in enumerate(lines)
        for piece in fixer.split(line)[0]
        for new in fixer.fix(piece, first=number == 0).lines
    ]
    return Head(head.name, b"".join(b"%b\n" % line for line in fixed), head.complete)


def _converted(
    source: Source, convert: Callable[[Iterator[bytes]], Iterator[bytes]]
) -> Iterator[bytes]:
    try:
        yield from convert(_pieces(source))
    except READ_ERRORS as error:
        raise FileError(f"cannot read {source.path}: {error}; is the file complete?") from error
    except FileError as error:
        raise FileError(f"cannot fix {source.path}: {error}") from error


def _pieces(source: Source) -> Iterator[bytes]:
    if isinstance(source, (FileRanges, ObjectRanges)):
        name = source.path if isinstance(source, FileRanges) else source.object
        with open_file(name) as file:
            while piece := file.read(READ_BYTES):
                yield piece
        return
    for part in source.parts():
        assert isinstance(part, Chunk)
        if part.skipped:
            raise FileError("a line has more than 64 MB; write the data to a file first")
        yield part.data
