"""Hint of a validation report: the command that fixes findings."""

from __future__ import annotations

from pathlib import Path

from ftkit._text import plural, quote_path
from ftkit.rules.fixes import UNREADABLE
from ftkit.summary import FileReport, Report, Safety

FLAGS: dict[Safety, str] = {"safe": "", "unsafe": " --unsafe", "redaction": " --redact"}
"""Options that apply fixes, by their safety."""

MAX_FILES = 10
"""Maximum number of files that a command names."""


def fix_hint(report: Report, options: str = "") -> str:
    """Return a line with the number of findings that can be fixed and the command, or "".

    The command writes a new file, and another for the lines that it cannot fix, if there may be
    any. For several files, or if a name is not that of a file, it only shows what it would change.

    Args:
        report: The report.
        options: Further options of the command, as a shell reads them.
    """
    files = [file for file in report.files if any(file.fixable.values())]
    counts = {
        flag: sum(file.fixable.get(safety, 0) for file in files) for safety, flag in FLAGS.items()
    }
    flags = [flag for flag, count in counts.items() if count]
    if not flags:
        return ""
    number = plural(counts[flags[0]], "finding")
    more = "".join(f", {counts[flag]:,} more with{flag}" for flag in flags[1:])
    if not all(Path(file.file).is_file() for file in files):
        return f"`ftkit fix{flags[0]}` can fix {number}{more}.\n"
    chooses_rules = "--select " in options or "--ignore " in options  # others have no findings
    may_reject = chooses_rules or _may_reject(files[0], allowed=flags[0])
    arguments = f"{_arguments(files, may_reject)}{flags[0]}{options}"
    return f"{number} can be fixed{more}: `ftkit fix {arguments}`\n"


def _may_reject(file: FileReport, allowed: str) -> bool:
    """Return True if a file may have lines that are not JSON and not fixed."""
    findings = [finding for finding in file.findings if finding.rule in UNREADABLE]
    is_complete = len(findings) == sum(file.counts.get(name, 0) for name in UNREADABLE)
    are_fixed = all(finding.fix and FLAGS[finding.fix] == allowed for finding in findings)
    return not (is_complete and are_fixed)


def _arguments(files: list[FileReport], may_reject: bool) -> str:
    names = " ".join(quote_path(file.file) for file in files[:MAX_FILES])
    if len(files) > 1:
        return f"{names} --diff"
    path = Path(files[0].file)
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl")

    def beside(suffix: str) -> str:
        return quote_path(str(path.with_name(f"{stem}-{suffix}.jsonl")))

    rejects = f" --rejects {beside('rejected')}" if may_reject else ""
    return f"{names} -o {beside('fixed')}{rejects}"
