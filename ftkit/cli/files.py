"""Local input files of a command: patterns, standard input, progress bars."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ftkit._text import shorten
from ftkit.errors import FileError, UsageError

FORMATS = ("chat", "completions", "preference", "reinforcement")

MIN_PROGRESS_BYTES = 32 << 20
"""Smallest total size of files for which a progress bar is shown."""

MIN_UPLOAD_PROGRESS_BYTES = 1 << 20
"""The same for uploads, which are slower."""

REFRESH_SECONDS = 0.1
"""Time between two drawings of a progress bar."""


def expand(files: Sequence[str]) -> list[str]:
    """Expand patterns and drop repetitions.

    Raises:
        FileError: No file matches a pattern.
    """
    paths: list[str] = []
    for name in files:
        if name == "-" or os.path.exists(name) or not glob.has_magic(name):
            paths.append(name)
            continue
        matches = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
        if not matches:
            raise FileError(f"no file matches {name!r}")
        paths.extend(matches)
    return list(dict.fromkeys(paths))


@contextmanager
def local_files(files: Sequence[str]) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Yield the paths to read, and the names to show for those that are temporary copies.

    Standard input and pipes are copied to temporary files, since a file is read more than once.
    """
    paths = expand(files)
    streams = [path for path in paths if path == "-" or _is_stream(path)]
    if not streams:
        yield paths, {}
        return
    with tempfile.TemporaryDirectory(prefix="ftkit-") as folder:
        copies = {
            path: os.path.join(folder, f"{number}.jsonl") for number, path in enumerate(streams)
        }
        for path, copy in copies.items():
            _copy_stream(path, copy)
        yield (
            [copies.get(path, path) for path in paths],
            {copy: path for path, copy in copies.items()},
        )


def _is_stream(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _copy_stream(path: str, copy: str) -> None:
    if path == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("- reads standard input, which is a terminal; redirect a file into it")
    with open(copy, "wb") as target:
        if path == "-":
            shutil.copyfileobj(sys.stdin.buffer, target, 1 << 20)
        else:
            with open(path, "rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)


def must_be_plain(*files: str | None) -> None:
    """Raise `UsageError` for standard input and compressed files, which cannot be uploaded."""
    for name in filter(None, files):
        if name == "-":
            raise UsageError("standard input cannot be uploaded; write it to a file first")
        if name.endswith(".gz"):
            raise UsageError(
                f"providers take plain .jsonl files; unpack {name} first, for example with gunzip"
            )


@contextmanager
def one_file(name: str) -> Iterator[tuple[str, str]]:
    """Yield the path of one file, and the name to show for it.

    Raises:
        UsageError: The pattern matches several files.
    """
    with local_files([name]) as (paths, names):
        if len(paths) > 1:
            raise UsageError(f"{name!r} matches {len(paths)} files; name one")
        yield paths[0], names.get(paths[0], paths[0])


@contextmanager
def progress(
    paths: Sequence[str], quiet: bool, doing: str = "checking", least: int = MIN_PROGRESS_BYTES
) -> Iterator[Any]:
    """Show a progress bar on stderr if that is a terminal and the files have `least` bytes.

    Yields:
        A function that takes the name of a file and the bytes done since the last call, or None.
        The bar appears with its first call.
    """
    total = sum(os.path.getsize(path) for path in paths if os.path.exists(path))
    if quiet or total < least or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task, drawn_at = bar.add_task(doing, total=total, visible=False), 0.0

        def advance(file: str, done: int) -> None:
            nonlocal drawn_at
            is_due = time.monotonic() - drawn_at > REFRESH_SECONDS
            drawn_at = time.monotonic() if is_due else drawn_at
            description = f"{doing} {shorten(os.path.basename(file), 24)}"
            bar.update(task, advance=done, description=description, visible=True, refresh=is_due)

        yield advance


@contextmanager
def uploading(paths: Sequence[str]) -> Iterator[Callable[[str, int], None]]:
    """Show a progress bar for uploads; yields a function that takes a file's name and bytes."""
    with progress(paths, quiet=False, doing="uploading", least=MIN_UPLOAD_PROGRESS_BYTES) as bar:
        yield bar or (lambda file, done: None)
