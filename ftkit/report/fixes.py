"""Hint at the end of a validation report: the command that fixes findings."""

from __future__ import annotations

import shlex
from pathlib import Path

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
    counts = [f"{safe:,}"] if safe else []
    counts += [f"{unsafe:,} more with --unsafe" if safe else f"{unsafe:,} with --unsafe"]
    numbers = ", ".join(counts if unsafe else counts[:1])
    if not all(Path(file.file).is_file() for file in files):
        return f"`ftkit fix` can fix {numbers}.\n"
    flag = "" if safe else " --unsafe"
    return f"Can be fixed: {numbers}: `ftkit fix {_arguments(files)}{flag}{options}`\n"


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
