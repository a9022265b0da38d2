"""Unified diffs of what fixing a file would change, without context, as a stream."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit.dataset.inputs import open_source
from ftkit.dataset.reader import open_file
from ftkit.prepare.fix.file_layout import fix_file
from ftkit.prepare.fix.fix import fixed_file_lines
from ftkit.prepare.fix.line_outcomes import LineOutcome
from ftkit.rules import ScanPlan
from ftkit.rules.fixes import Allowed


def fix_diff(path: str, plan: ScanPlan, allowed: Allowed, name: str) -> Iterator[bytes]:
    """Yield the diff of a file and what fixing makes of it, or nothing if it changes nothing.

    Args:
        path: The file.
        plan: The plan of `fix_plan`.
        allowed: Safeties of the fixes to apply.
        name: Name of the file in the diff.

    Raises:
        FileError: The file cannot be read.
    """
    has_lines = not fix_file(open_source(path, "files"), plan, allowed, name).changes
    hunks = _line_hunks if has_lines else _file_hunk
    label = name.replace("\n", "\\n").encode("utf-8", "surrogateescape")
    header = b"--- " + label + b"\n+++ " + label + b"\n"
    for hunk in hunks(path, plan, allowed):
        yield header + hunk
        header = b""


def _line_hunks(path: str, plan: ScanPlan, allowed: Allowed) -> Iterator[bytes]:
    """Yield a hunk for each line that is changed."""
    written = 0
    for line in _fixed_lines(path, plan, allowed):
        new = line.new
        if new != [line.old]:
            place = f"@@ -{line.number} {_range(written, len(new))} @@\n".encode()
            yield b"".join((place, b"-", line.old, b"\n", *(b"+%b\n" % row for row in new)))
        written += len(new)


def _range(before: int, count: int) -> str:
    """Return the place of new lines in a hunk. Without lines, it is that of the line before."""
    return f"+{before + 1}" if count == 1 else f"+{before + bool(count)},{count}"


def _file_hunk(path: str, plan: ScanPlan, allowed: Allowed) -> Iterator[bytes]:
    """Yield one hunk, in pieces, that replaces all lines of a file."""
    old, new = (sum(1 for _ in rows) for rows in (_old(path), _new(path, plan, allowed)))
    yield f"@@ -1,{old} +1,{new} @@\n".encode()
    yield from (b"-%b\n" % row.removesuffix(b"\n") for row in _old(path))
    yield from (b"+%b\n" % row for row in _new(path, plan, allowed))


def _old(path: str) -> Iterator[bytes]:
    with open_file(path) as file:
        yield from file


def _new(path: str, plan: ScanPlan, allowed: Allowed) -> Iterator[bytes]:
    for line in _fixed_lines(path, plan, allowed):
        yield from line.new


def _fixed_lines(path: str, plan: ScanPlan, allowed: Allowed) -> Iterator[LineOutcome]:
    file = fix_file(open_source(path, "files"), plan, allowed, path)
    return fixed_file_lines(file, plan, allowed)
