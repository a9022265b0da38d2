"""The folder of an archive: files come to stand under their names whole or not at all."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout
from msgspec import Struct

from ftkit.archive.layout import LOCK, MANIFEST, PARTIAL, PROGRESS, inside
from ftkit.archive.manifest import Entry, Step, encode_step
from ftkit.errors import FileError, UsageError, os_error_message

AT_ONCE = 4
"""Requests, and checks of files, at a time."""

TOGETHER = 50
"""Files that a thread checks before it looks for more."""

OWN = {MANIFEST, PROGRESS, PARTIAL, LOCK}


class Stopped(Exception):
    """The run is to end; what was under way is left."""


class Received(Struct, frozen=True):
    """What was downloaded, still beside the archive."""

    path: Path
    entry: Entry


class Store:
    """The folder. Nobody else writes to it within `with Store(...).alone():`.

    Raises `UsageError` where the folder holds something else or another ftkit is at work in it, `FileError` where it cannot
    be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stopping = threading.Event()
        self._numbers = itertools.count()
        self._progress: IO[bytes] | None = None
        self._is_closed = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Make the folder, and keep every other ftkit from it."""
        with self._problems(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            there = set(os.listdir(self.folder))
            if there and MANIFEST not in there and not there <= OWN:
                raise UsageError(f"{self.folder} is no archive and not empty; name a new folder")
            lock = FileLock(self.folder / LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise UsageError(
                    f"another ftkit is archiving into {self.folder}; wait until it has ended"
                ) from None
        try:
            with self._problems(self.folder):
                shutil.rmtree(self.folder / PARTIAL, ignore_errors=True)
                (self.folder / PARTIAL).mkdir()
            yield
        finally:
            self._is_closed = True
            if self._progress:
                self._progress.close()
                self._progress = None
            shutil.rmtree(self.folder / PARTIAL, ignore_errors=True)
            lock.release()

    def write(
        self, path: str, data: bytes, known: Entry | None = None, safe: bool = False
    ) -> Entry:
        """Put the data under that name, unless it is what is `known` to be there. `safe`: it survives a power cut from here on."""
        entry = entry_of(data)
        if entry != known:
            target = inside(self.folder, path)
            with self._problems(target):
                aside = self._aside()
                with open(aside, "wb") as file:
                    file.write(data)
                    _settle(file, safe)
                self._place(aside, target)
        return entry

    def receive(self, pieces: Iterable[bytes]) -> Received:
        """Keep what comes beside the archive, and hash it on the way."""
        aside, sha256, size = self._aside(), hashlib.sha256(), 0
        with self._problems(aside), open(aside, "wb") as file:
            for piece in pieces:
                if self.stopping.is_set():
                    raise Stopped
                file.write(piece)
                sha256.update(piece)
                size += len(piece)
        return Received(aside, Entry(sha256.hexdigest(), size))

    def adopt(self, received: Received, path: str, known: Entry | None = None) -> Entry:
        """Put what was received under that name, unless it is what is `known` to be there."""
        if received.entry == known:
            received.path.unlink()
        else:
            target = inside(self.folder, path)
            with self._problems(target):
                self._place(received.path, target)
        return received.entry

    def note(self, step: Step) -> None:
        """Write a step down."""
        path = self.folder / PROGRESS
        with self._problems(path):
            if self._progress is None:
                self._progress = open(path, "ab", buffering=0)
            self._progress.write(encode_step(step))

    def conclude(self, manifest: bytes) -> None:
        """Put the manifest in its place, when all that it names is safe on the disk, and forget the steps."""
        with self._problems(self.folder):
            if hasattr(os, "sync"):
                os.sync()
            self.write(MANIFEST, manifest, safe=True)
            if self._progress:
                self._progress.close()
                self._progress = None
            (self.folder / PROGRESS).unlink(missing_ok=True)

    def read(self, path: str) -> bytes:
        """What is in a file of the archive."""
        with self._problems(self.folder / path, "read"):
            return inside(self.folder, path).read_bytes()

    def _aside(self) -> Path:
        if self._is_closed:
            raise Stopped
        return self.folder / PARTIAL / str(next(self._numbers))

    def _place(self, aside: Path, target: Path) -> None:
        if self._is_closed:
            raise Stopped
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(aside, target)

    @contextmanager
    def _problems(self, path: Path, doing: str = "write") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = os_error_message(error)
            raise FileError(
                f"cannot {doing} {path}: {why}; run the same again, and it goes on from here"
            ) from error


def _settle(file: IO[bytes], safe: bool) -> None:
    file.flush()
    if safe:
        os.fsync(file.fileno())


def state(folder: Path, path: str, entry: Entry) -> str:
    """`intact`, `gone`, or `changed`: what has become of a file since it was written."""
    try:
        with open(inside(folder, path), "rb") as file:
            if os.fstat(file.fileno()).st_size != entry.size:
                return "changed"
            return (
                "intact"
                if hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
                else "changed"
            )
    except (FileNotFoundError, NotADirectoryError):
        return "gone"
    except IsADirectoryError:
        return "changed"
    except OSError as error:
        raise FileError(f"cannot read {folder / path}: {os_error_message(error)}") from error


def states(folder: Path, files: dict[str, Entry]) -> Iterator[str]:
    """For each file `intact`, `gone` or `changed`, by its hash."""
    items = list(files.items())
    some = (items[start : start + TOGETHER] for start in range(0, len(items), TOGETHER))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for found in pool.map(
            lambda each: [state(folder, path, entry) for path, entry in each], some
        ):
            yield from found


def entry_of(data: bytes) -> Entry:
    """The entry of a file that holds the data."""
    return Entry(hashlib.sha256(data).hexdigest(), len(data))
