"""Dataset files for the target provider: rewritten where nothing is lost, then validated."""

from __future__ import annotations

import hashlib
import os
from itertools import islice
from pathlib import Path
from typing import IO

from ftkit._atomic import temporary_file
from ftkit._private import make_private_folder, open_private
from ftkit.catalog import Catalog, find_provider
from ftkit.errors import FileError, os_error_message
from ftkit.jobs.spec import JobSpec
from ftkit.migration.translate import Change
from ftkit.summary import FileReport, Report

BOM = b"\xef\xbb\xbf"
"""Byte order mark of UTF-8."""

MAX_FINDINGS = 3
"""Maximum number of findings that are listed as obstacles."""


def prepare(
    path: str, to: str, folder: Path, catalog: Catalog | None = None
) -> tuple[str, tuple[Change, ...]]:
    """Rewrite a file with the byte order mark and the line endings that a provider expects.

    The copy is private.

    Args:
        path: The file.
        to: Name of the provider.
        folder: Folder for the copy.
        catalog: Facts about the provider. Default: the built-in catalog.

    Returns:
        The path of the copy, or `path` if there is nothing to change, and the changes. The same
        content always results in the same copy.

    Raises:
        FileError: The file cannot be read, or the copy cannot be written.
    """
    needs_bom = find_provider(to, catalog).bom == "wanted"
    try:
        make_private_folder(folder)
        with temporary_file(folder) as temporary:
            with open(path, "rb") as source, open_private(temporary) as target:
                changes, sha256 = _rewrite(source, target, needs_bom)
            if not changes:
                return path, ()
            copy = folder / f"{sha256[:24]}.jsonl"
            os.replace(temporary, copy)
    except OSError as error:
        raise FileError(f"cannot copy {path} to {folder}: {os_error_message(error)}") from error
    return str(copy), tuple(changes)


def _rewrite(source: IO[bytes], target: IO[bytes], needs_bom: bool) -> tuple[list[Change], str]:
    """Copy the lines.

    Returns:
        The changes, and the SHA-256 of the copy.
    """
    sha256 = hashlib.sha256()
    has_bom, crlf_lines, blank_lines = False, 0, 0
    prefix = BOM if needs_bom else b""
    is_empty = True
    for number, line in enumerate(source):
        if number == 0 and line.startswith(BOM):
            has_bom, line = True, line[len(BOM) :]
        crlf_lines += line.endswith(b"\r\n")
        if not line.strip():
            blank_lines += 1
            continue
        data = prefix + line.rstrip(b"\r\n") + b"\n"
        target.write(data)
        sha256.update(data)
        prefix, is_empty = b"", False
    changes = []
    if has_bom != needs_bom and not (is_empty and needs_bom):
        before, after = ("none", "UTF-8") if needs_bom else ("UTF-8", "none")
        changes.append(Change("byte order mark", before, after, "as the provider expects"))
    if crlf_lines:
        changes.append(Change("line endings", "CRLF", "LF", "the JSON Lines format"))
    if blank_lines:
        changes.append(Change("blank lines", str(blank_lines), "0", "they are not examples"))
    return changes, sha256.hexdigest()


def obstacles_in(report: Report, originals: JobSpec) -> tuple[str, ...]:
    """Return the errors in the files of a job, one line each.

    Args:
        report: The report on the prepared files.
        originals: The job spec with the original files. Errors have their line numbers.
    """
    training, *validation = report.files
    obstacles = _errors_in(training, originals.training)
    for file in validation:
        errors = _errors_in(file, originals.validation or file.file)
        obstacles += tuple(f"validation file, {error}" for error in errors)
    return obstacles


def _errors_in(file: FileReport, original: str) -> tuple[str, ...]:
    errors = [finding for finding in file.findings if finding.severity == "error"]
    obstacles = []
    for error in errors[:MAX_FINDINGS]:
        line = f"line {_original_line(original, error.line)}: " if error.line else ""
        obstacles.append(f"{line}{error.rule}: {error.message}")
    if file.errors > MAX_FINDINGS:
        obstacles.append(f"{file.errors - MAX_FINDINGS:,} more errors")
    return tuple(obstacles)


def _original_line(original: str, line: int) -> int:
    """Return the number in the original of a line of its copy, which has no blank lines."""
    with open(original, "rb") as file:
        numbers = (number for number, text in enumerate(file, 1) if text.removeprefix(BOM).strip())
        return next(islice(numbers, line - 1, None), line)
