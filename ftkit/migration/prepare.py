"""The files of a job as another service wants them: rewritten where that loses nothing, and checked by its rules and limits."""

from __future__ import annotations

import hashlib
import os
from itertools import islice
from pathlib import Path
from typing import IO

from ftkit.catalog import Catalog, find_provider
from ftkit.errors import FileError, os_error_message
from ftkit.jobs.spec import JobSpec
from ftkit.migration.translate import Change
from ftkit.summary import FileReport, Report

BOM = b"\xef\xbb\xbf"

SHOWN = 3
"""Findings that an obstacle names."""


def prepare(
    path: str, to: str, folder: Path, catalog: Catalog | None = None
) -> tuple[str, tuple[Change, ...]]:
    """The file as the provider wants its lines written: the mark at the beginning, the ends of lines, no blank lines.

    Returns `path` itself where nothing is to change, else the path of a copy in `folder`; the same content gives the same copy.
    Raises `FileError`.
    """
    wanted = find_provider(to, catalog).bom == "wanted"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:24]}.part"
    try:
        with open(path, "rb") as file, aside.open("wb") as out:
            changes, sha256 = _rewrite(file, out, wanted)
        if not changes:
            return path, ()
        copy = folder / f"{sha256[:24]}.jsonl"
        os.replace(aside, copy)
    except OSError as error:
        raise FileError(f"cannot copy {path} to {folder}: {os_error_message(error)}") from error
    finally:
        aside.unlink(missing_ok=True)
    return str(copy), tuple(changes)


def _rewrite(file: IO[bytes], out: IO[bytes], wanted: bool) -> tuple[list[Change], str]:
    """Write the lines as they are wanted; returns what has changed, and the hash of what was written."""
    sha256 = hashlib.sha256()
    has_mark, returns, blank = False, 0, 0

    def write(data: bytes) -> None:
        out.write(data)
        sha256.update(data)

    begun = not wanted
    for number, line in enumerate(file):
        if number == 0 and line.startswith(BOM):
            has_mark, line = True, line[len(BOM) :]
        returns += line.endswith(b"\r\n")
        if line.strip():
            write((b"" if begun else BOM) + line.rstrip(b"\r\n") + b"\n")
            begun = True
        else:
            blank += 1
    found = []
    if begun and has_mark != wanted:
        told = ("none", "a mark of UTF-8") if wanted else ("a mark of UTF-8", "none")
        found.append(Change("beginning of the file", *told, "as the service wants it"))
    if returns:
        found.append(Change("ends of lines", "CRLF", "LF", "one way to write them"))
    if blank:
        found.append(Change("blank lines", str(blank), "0", "they are no examples"))
    return found, sha256.hexdigest()


def obstacles_in(report: Report, originals: JobSpec) -> tuple[str, ...]:
    """Return the errors in the files of a job, one line each; empty if it can be submitted.

    Args:
        report: The report on the prepared files.
        originals: The job spec with the original files, whose line numbers are given.
    """
    training, *validation = report.files
    obstacles = _errors_in(training, originals.training)
    for file in validation:
        errors = _errors_in(file, originals.validation or file.file)
        obstacles += tuple(f"validation file, {error}" for error in errors)
    return obstacles


def _errors_in(file: FileReport, original: str) -> tuple[str, ...]:
    errors = [finding for finding in file.findings if finding.severity == "error"][:SHOWN]
    texts = []
    for error in errors:
        line = f"line {_line_in(original, error.line)}: " if error.line else ""
        texts.append(f"{line}{error.rule}: {error.message}")
    more = (f"and {file.errors - SHOWN:,} more errors",) if file.errors > SHOWN else ()
    return (*texts, *more)


def _line_in(original: str, line: int) -> int:
    """Where the line of a copy, in which there are no blank lines, stands in the original; the copy may be the original itself."""
    with open(original, "rb") as file:
        written = (number for number, each in enumerate(file, 1) if each.removeprefix(BOM).strip())
        return next(islice(written, line - 1, None), line)
