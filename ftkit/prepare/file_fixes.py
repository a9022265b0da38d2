"""Fixes of whole files: UTF-16, JSON arrays and pretty-printed JSON, as streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ftkit.dataset.detect import Head
from ftkit.dataset.inputs import READ_BYTES, stream_source
from ftkit.dataset.reader import READ_ERRORS, Chunk, FileRanges, Source, open_file
from ftkit.errors import FileError
from ftkit.prepare.line_fixer import Change
from ftkit.rules import RULES, ScanPlan
from ftkit.rules.fixes import FileFix, find_fix

MAX_FIXES = 3
"""Maximum number of fixes of a file: it may be UTF-16, and then an array."""


class FixedFile(NamedTuple):
    """A file that can be read line by line."""

    source: Source
    changes: list[Change]
    keeps_lines: bool
    """True if each line is the line of the same number in the file."""
    is_known: bool
    """False if nothing can be told of the format of the lines."""


def fix_file(source: Source, plan: ScanPlan, unsafe: bool) -> FixedFile:
    """Return a file as JSON Lines, if it is of a kind that can be fixed.

    Raises:
        FileError: The file cannot be read, or is not text.
    """
    changes: list[Change] = []
    keeps_lines = True
    for _ in range(MAX_FIXES):
        head = source.head()
        if head.magic:
            kind, action = head.magic
            raise FileError(f"{source.path} is {kind}, not text; {action}")
        name = next(_broken_rules(head, plan), None)
        if name is None:
            return FixedFile(source, changes, keeps_lines, True)
        applied = find_fix(RULES[name], Head, head, unsafe) if name in plan.rules else None
        if applied is None:
            break
        fix: FileFix = applied.result
        source = stream_source(source.path, _converted(source, fix))
        changes.append(Change(name, applied.fix.summary, "$"))
        keeps_lines = keeps_lines and fix.keeps_lines
    return FixedFile(source, changes, keeps_lines, False)


def _broken_rules(head: Head, plan: ScanPlan) -> Iterator[str]:
    return (
        rule.name
        for rule in RULES.values()
        if Head in rule.checks
        for _ in rule.checks[Head](head, plan)
    )


def _converted(source: Source, fix: FileFix) -> Iterator[bytes]:
    try:
        yield from fix.convert(_pieces(source))
    except READ_ERRORS as error:
        raise FileError(f"cannot read {source.path}: {error}; is the file complete?") from error
    except FileError as error:
        raise FileError(f"cannot fix {source.path}: {error}") from error


def _pieces(source: Source) -> Iterator[bytes]:
    if isinstance(source, FileRanges):
        with open_file(source.path) as file:
            while piece := file.read(READ_BYTES):
                yield piece
        return
    for part in source.parts():
        assert isinstance(part, Chunk)
        if part.skipped:
            raise FileError("a line has more than 64 MB; write the data to a file first")
        yield part.data
