"""The files that a command is given: patterns, standard input, and a progress bar for the long ones."""

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

PROGRESS_FROM = 32 << 20
"""Bytes from which a progress bar is shown, on a terminal."""

REFRESH = 0.1
"""Seconds between two drawings of a progress bar: files are told of in many small steps."""

UPLOAD_FROM = 1 << 20
"""Bytes from which one is shown for an upload, which takes longer."""


def expand(files: Sequence[str]) -> list[str]:
    """The files that the arguments name, patterns expanded, each once; raises `FileError` for a pattern without any."""
    found: list[str] = []
    for name in files:
        if name == "-" or os.path.exists(name) or not glob.has_magic(name):
            found.append(name)
            continue
        matches = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
        if not matches:
            raise FileError(f"no file matches {name!r}")
        found.extend(matches)
    return list(dict.fromkeys(found))


@contextmanager
def local_files(files: Sequence[str]) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The paths to check, and the names to show for them: what comes through a pipe is kept in a temporary file."""
    paths = expand(files)
    streams = [path for path in paths if path == "-" or _is_stream(path)]
    if not streams:
        yield paths, {}
        return
    with tempfile.TemporaryDirectory(prefix="ftkit-") as folder:
        kept = {
            path: os.path.join(folder, f"{number}.jsonl") for number, path in enumerate(streams)
        }
        for path, copy in kept.items():
            _keep(path, copy)
        yield [kept.get(path, path) for path in paths], {copy: path for path, copy in kept.items()}


def _is_stream(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _keep(path: str, copy: str) -> None:
    if path == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("- reads standard input, and there is none; redirect a file into it")
    with open(copy, "wb") as target:
        if path == "-":
            shutil.copyfileobj(sys.stdin.buffer, target, 1 << 20)
        else:
            with open(path, "rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)


def must_be_plain(*files: str | None) -> None:
    """Raise `UsageError` for a file that cannot be sent as it is: services take plain .jsonl files."""
    for name in filter(None, files):
        if name == "-":
            raise UsageError(
                "- is standard input, and what is sent must be a file; write it to one first"
            )
        if name.endswith(".gz"):
            raise UsageError(
                f"services take plain .jsonl files: unpack {name} first, e.g. with gunzip"
            )


@contextmanager
def one_file(name: str) -> Iterator[tuple[str, str]]:
    """The path of one file, and the name to show for it; raises `UsageError` for a pattern of several."""
    with local_files([name]) as (paths, names):
        if len(paths) > 1:
            raise UsageError(f"{name!r} matches {len(paths)} files, and this takes one; name it")
        yield paths[0], names.get(paths[0], paths[0])


@contextmanager
def progress(
    paths: Sequence[str], quiet: bool, doing: str = "checking", least: int = PROGRESS_FROM
) -> Iterator[Any]:
    """A progress bar on standard error, where that is a terminal and the files have `least` bytes.

    Gives a function that is told the name of a file and the bytes done since the last call, or None. The bar is shown from its
    first call on.
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
    with Progress(
        *columns, console=Console(stderr=True), transient=True, auto_refresh=False
    ) as bar:
        task, shown = bar.add_task(doing, total=total, visible=False), 0.0

        def advance(file: str, done: int) -> None:
            nonlocal shown
            due = time.monotonic() - shown > REFRESH
            shown = time.monotonic() if due else shown
            name = shorten(os.path.basename(file), 24)
            bar.update(task, advance=done, description=f"{doing} {name}", visible=True, refresh=due)

        yield advance


@contextmanager
def uploading(paths: Sequence[str]) -> Iterator[Callable[[str, int], None]]:
    """A progress bar for uploads, or a function that shows nothing."""
    with progress(paths, quiet=False, doing="uploading", least=UPLOAD_FROM) as told:
        yield told or (lambda file, done: None)
