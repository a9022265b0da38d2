"""Hint at the end of a validation report: the command that fixes findings."""

from __future__ import annotations

import shlex
from pathlib import Path

from ftkit._text import plural
from ftkit.summary import FileReport, Report

MAX_FILES = 10
"""Maximum number of files that a command names."""


def fix_hint(report: Report, options: str = "") -> str:
    """Return a line with the number of findings that can be fixed and the command, or "".

    The command writes a new file. For several files, or if a name is not that of a file, it only
    shows what it would change.

    Args:
        report: The report.
        options: Further options of the command, as a shell reads them.
    """
    files = [file for file in report.files if any(file.fixable.values())]
    safe, unsafe = (sum(file.fixable.get(key, 0) for file in files) for key in ("safe", "unsafe"))
    if not files:
        return ""
    number = plural(safe or unsafe, "finding")
    more = f", {unsafe:,} more with --unsafe" if safe and unsafe else ""
    if not all(Path(file.file).is_file() for file in files):
        flag = "" if safe else " --unsafe"
        return f"`ftkit fix{flag}` can fix {number}{more}.\n"
    arguments = f"{_arguments(files)}{'' if safe else ' --unsafe'}{options}"
    return f"{number} can be fixed{more}: `ftkit fix {arguments}`\n"


def _arguments(files: list[FileReport]) -> str:
    names = " ".join(shlex.quote(_path(file.file)) for file in files[:MAX_FILES])
    if len(files) > 1:
        return f"{names} --diff"
    path = Path(files[0].file)
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
    return f"{names} -o {shlex.quote(_path(str(path.with_name(f'{stem}-fixed.jsonl'))))}"


def _path(name: str) -> str:
    """Return a path that is not taken for an option."""
    return f"./{name}" if name.startswith("-") else name
