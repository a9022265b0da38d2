"""Input files of a command: patterns, URLs, standard input, progress bars."""

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
from ftkit.cli.command import refuse_output_over_input
from ftkit.cli.output import print_warning
from ftkit.cli.terminal import clean, console, preferences
from ftkit.dataset.object_location import RemoteObject, is_url
from ftkit.dataset.object_ranges import find_objects
from ftkit.errors import FileError, FtkitError, UsageError

FORMATS = ("chat", "completions", "preference", "reinforcement")

PROGRESS_FROM = 32 << 20
"""Total size in bytes from which a progress bar is shown."""

REFRESH = 0.1
"""Seconds between two refreshes of a progress bar, since files are read in many small steps."""

UPLOAD_FROM = 1 << 20
"""Total size in bytes from which a progress bar is shown for uploads, which are slower."""


SUFFIXES = (".jsonl", ".jsonl.gz")
"""Suffixes of the files that are read from a folder."""

IGNORED_FOLDERS = frozenset(
    ("__pycache__", "__pypackages__", "build", "dist", "node_modules", "site-packages", "venv")
)
"""Names of folders that are left out below a folder, like those that begin with a dot."""


def expand(files: Sequence[str], recurse: bool = False) -> list[str]:
    """Return the files that the arguments name, with patterns expanded and without duplicates.

    Args:
        files: Names, URLs, patterns of both, or - for standard input.
        recurse: Replace folders by the datasets below them.

    Raises:
        FileError: A pattern or a folder has no file, or there is no such object.
    """
    paths: list[str] = []
    for name in files:
        if is_url(name):
            paths.extend(find_objects(name))
            continue
        if recurse and os.path.isdir(name):
            paths.extend(_datasets_below(name))
        elif name == "-" or os.path.exists(name) or not glob.has_magic(name):
            paths.append(name)
        else:
            paths.extend(_matches(name))
    return list(dict.fromkeys(paths))


def _matches(pattern: str) -> list[str]:
    matches = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    if not matches:
        raise FileError(f"no file matches {pattern!r}")
    return matches


def _datasets_below(top: str) -> list[str]:
    """Return the datasets in a folder and below it, without those in ignored or linked folders.

    A warning names what is skipped because it is no regular file, such as a broken link or a pipe.
    """
    datasets: list[str] = []
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(
            name for name in folders if name not in IGNORED_FOLDERS and not name.startswith(".")
        )
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not name.endswith(SUFFIXES) or name.startswith("."):
                continue
            if os.path.isfile(path):
                datasets.append(path)
            else:
                print_warning(f"{path} is skipped: it is not a regular file")
    if not datasets:
        suffixes = " or ".join(SUFFIXES)
        raise FileError(f"{top} is a folder without {suffixes} files; name the files to check")
    return datasets


@contextmanager
def input_files(
    files: Sequence[str], recurse: bool = False, engine: str = "local"
) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Yield the paths and objects to read, and the names to show for temporary copies.

    Standard input and other streams are copied to temporary files, which exist until the block
    ends.

    Args:
        files: Names, URLs, patterns of both, or - for standard input.
        recurse: Replace folders by the datasets below them.
        engine: Engine that reads the files. Only `local` reads streams.

    Raises:
        UsageError: A stream is named for another engine.
    """
    paths = expand(files, recurse)
    refuse_output_over_input(paths)
    streams = [path for path in paths if path == "-" or _is_stream(path)]
    if not streams:
        yield paths, {}
        return
    if engine != "local":
        raise UsageError(
            f"{streams[0]} is a stream, which only this machine can read, so --engine {engine} "
            "cannot; write it to a file on a path that all nodes share, or to object storage"
        )
    with tempfile.TemporaryDirectory(prefix="ftkit-") as folder:
        copies = {path: os.path.join(folder, f"{number:06}") for number, path in enumerate(streams)}
        for path, copy in copies.items():
            _copy(path, copy)
        names = {copy: path for path, copy in copies.items()}
        try:
            yield [copies.get(path, path) for path in paths], names
        except FtkitError as error:
            for copy, name in names.items():
                error.args = (str(error).replace(copy, name), *error.args[1:])
            raise


def _is_stream(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _copy(path: str, copy: str) -> None:
    if path == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("- reads standard input; redirect a file to it")
    with open(copy, "wb") as target:
        if path == "-":
            shutil.copyfileobj(sys.stdin.buffer, target, 1 << 20)
        else:
            with open(path, "rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)


def must_be_plain(*files: str | None) -> None:
    """Raise `UsageError` for a file that cannot be uploaded: providers take plain .jsonl files."""
    for name in filter(None, files):
        if name == "-":
            raise UsageError(
                "- is standard input, but an upload must be a file; write it to one first"
            )
        if name.endswith(".gz"):
            raise UsageError(
                f"providers take plain .jsonl files: unpack {name} first, e.g. with gunzip"
            )


@contextmanager
def one_file(name: str, engine: str = "local") -> Iterator[tuple[str, str]]:
    """Yield the path of one file, and the name to show for it.

    Raises:
        UsageError: The name is a pattern that matches several files.
    """
    with input_files([name], engine=engine) as (paths, names):
        if len(paths) > 1:
            raise UsageError(f"{name!r} matches {len(paths)} files, but only one is allowed")
        yield paths[0], names.get(paths[0], paths[0])


@contextmanager
def progress(
    paths: Sequence[str], quiet: bool, action: str = "checking", min_size: int = PROGRESS_FROM
) -> Iterator[Any]:
    """Show a progress bar on standard error if that is a terminal and the files are large.

    Args:
        paths: Files to be read.
        quiet: Show no progress bar.
        action: Verb in front of the name of the file.
        min_size: Total size in bytes from which the progress bar is shown.

    Yields:
        Function to call with the name of a file and the number of bytes done since the last call,
        or None without a progress bar. The bar appears with the first call.
    """
    total = sum(map(_size, paths))
    if quiet or preferences.is_quiet or total < min_size or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from ftkit.dataset.reader import is_compressed

    is_exact = not any(map(is_compressed, paths))  # what is counted is uncompressed
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(err=True), transient=True, auto_refresh=False) as bar:
        task = bar.add_task(action, total=total if is_exact else None, visible=False)
        shown = 0.0

        def advance(file: str, done: int) -> None:
            nonlocal shown
            due = time.monotonic() - shown > REFRESH
            shown = time.monotonic() if due else shown
            name = shorten(clean(os.path.basename(file)), 24)
            bar.update(
                task, advance=done, description=f"{action} {name}", visible=True, refresh=due
            )

        yield advance


def _size(path: str) -> int:
    """Return the size of a file or an object in bytes, or 0 if it is not known."""
    if isinstance(path, RemoteObject):
        return path.size
    return os.path.getsize(path) if os.path.exists(path) else 0


@contextmanager
def uploading(paths: Sequence[str]) -> Iterator[Callable[[str, int], None]]:
    """Show a progress bar for uploads like `progress`, but always yield a function."""
    with progress(paths, quiet=False, action="uploading", min_size=UPLOAD_FROM) as advance:
        yield advance or (lambda file, done: None)
