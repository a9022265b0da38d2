"""Access to the folder of an archive: locking, atomic writes, downloads, integrity checks."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from filelock import FileLock, Timeout
from msgspec import Struct

from ftkit._atomic import atomic_write, temporary_path
from ftkit._private import PRIVATE_FILE, make_private_folder, open_private
from ftkit.archive.access import (
    NotRegularFileError,
    open_regular,
    read_file,
    resolve_file,
    resolve_internal,
    resolve_path,
)
from ftkit.archive.layout import INTERNAL, LOCK, MANIFEST, PARTIAL, PROGRESS
from ftkit.archive.manifest import Entry, ManifestUpdate, encode_update
from ftkit.errors import FileError, FtkitError, UsageError, os_error_message

CONCURRENCY = 4
"""Maximum number of concurrent requests, and of concurrent integrity checks."""

CHUNK_FILES = 50
"""Files that a thread checks as one task."""

MAX_PENDING_CHUNKS = 4 * CONCURRENCY
"""Maximum number of submitted chunks whose results have not been taken."""

FileState = Literal["intact", "changed", "gone"]
"""Result of comparing a file with its entry in the manifest."""


class StoppedError(FtkitError):
    """The run is ending: a background thread must not write any more."""


class Download(Struct, frozen=True):
    """A downloaded file that is not in the archive yet."""

    path: Path
    entry: Entry


class ArchiveStore:
    """The folder of an archive, for writing. Methods may be called from several threads.

    Use it within `with store.locked():`. Methods raise `FileError` if the folder cannot be read or
    written, and `StoppedError` after the end of the `with` block.

    Attributes:
        folder: The folder.
        stopping: Set it to make downloads raise `StoppedError`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stopping = threading.Event()
        self._progress: IO[bytes] | None = None
        self._is_closed = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder if necessary, and keep other processes from writing to it.

        Raises:
            UsageError: The folder holds something else, or another process is writing to it.
        """
        with self._os_errors(self.folder):
            lock = self._lock()
        try:
            with self._os_errors(self.folder):
                shutil.rmtree(self.folder / PARTIAL, ignore_errors=True)
                make_private_folder(self.folder / PARTIAL)
            yield
        finally:
            self._is_closed = True
            self._close_progress()
            shutil.rmtree(self.folder / PARTIAL, ignore_errors=True)
            lock.release()

    def _lock(self) -> FileLock:
        make_private_folder(self.folder)
        names = set(os.listdir(self.folder))
        if names and MANIFEST not in names and not names <= INTERNAL:
            raise UsageError(
                f"{self.folder} is not an archive and not empty; choose another folder"
            )
        for name in INTERNAL:
            resolve_internal(self.folder, name)
        lock = FileLock(self.folder / LOCK, mode=PRIVATE_FILE)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                f"another ftkit process is archiving into {self.folder}; wait until it has finished"
            ) from None
        return lock

    def write(
        self, path: str, data: bytes, current: Entry | None = None, fsync: bool = False
    ) -> Entry:
        """Write a private file atomically.

        Args:
            path: Path in the archive.
            data: Content of the file.
            current: Entry of the file as it is. If the data is the same, nothing is written.
            fsync: Flush the file to disk, so that it survives a power failure.

        Returns:
            The file's entry.
        """
        entry = entry_of(data)
        if entry != current:
            target = resolve_path(self.folder, path)
            self._check_open()
            with (
                self._os_errors(target),
                atomic_write(target, self.folder / PARTIAL, fsync) as temporary,
            ):
                with open_private(temporary) as file:
                    file.write(data)
                self._check_open()
                make_private_folder(target.parent)
        return entry

    def download(self, chunks: Iterable[bytes]) -> Download:
        """Write chunks to a private temporary file, and hash them."""
        self._check_open()
        temporary, sha256, size = temporary_path(self.folder / PARTIAL), hashlib.sha256(), 0
        with self._os_errors(temporary), open_private(temporary) as file:
            for chunk in chunks:
                if self.stopping.is_set():
                    raise StoppedError
                file.write(chunk)
                sha256.update(chunk)
                size += len(chunk)
        return Download(temporary, Entry(sha256.hexdigest(), size))

    def add(self, download: Download, path: str, current: Entry | None = None) -> Entry:
        """Move a download to its path in the archive, unless the `current` file is the same."""
        if download.entry == current:
            download.path.unlink()
        else:
            target = resolve_path(self.folder, path)
            with self._os_errors(target):
                self._check_open()
                make_private_folder(target.parent)
                os.replace(download.path, target)
        return download.entry

    def log(self, update: ManifestUpdate) -> None:
        """Append an update to the progress file."""
        path = self.folder / PROGRESS
        with self._os_errors(path):
            if self._progress is None:
                self._progress = open_private(path, "ab", buffering=0)  # closed by `locked`
            self._progress.write(encode_update(update))

    def finish(self, manifest: bytes) -> None:
        """Flush all files to disk, write the manifest, and remove the progress file."""
        with self._os_errors(self.folder):
            if hasattr(os, "sync"):
                os.sync()
            self.write(MANIFEST, manifest, fsync=True)
            self._close_progress()
            (self.folder / PROGRESS).unlink(missing_ok=True)

    def protect(self, path: str) -> None:
        """Make a file private that something else has written."""
        location = resolve_file(self.folder, path)
        with self._os_errors(location):
            os.chmod(location, PRIVATE_FILE)

    def read(self, path: str) -> bytes:
        """Read a file of the archive."""
        return read_file(self.folder, path)

    def _close_progress(self) -> None:
        if self._progress:
            self._progress.close()
            self._progress = None

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoppedError

    @contextmanager
    def _os_errors(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FileError(
                f"cannot write {path}: {os_error_message(error)};"
                " run the same command again to continue"
            ) from error


def entry_of(data: bytes) -> Entry:
    """Return the entry of a file with that content."""
    return Entry(hashlib.sha256(data).hexdigest(), len(data))


def check_file(folder: Path, path: str, entry: Entry) -> FileState:
    """Compare a file with its entry in the manifest.

    A link to a file is changed even if the content is the same: it is not in the archive.
    """
    try:
        with open_regular(resolve_path(folder, path)) as file:
            if os.fstat(file.fileno()).st_size != entry.size:
                return "changed"
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return "intact" if sha256 == entry.sha256 else "changed"
    except NotRegularFileError:
        return "changed"
    except (FileNotFoundError, NotADirectoryError):
        return "gone"
    except OSError as error:
        raise FileError(f"cannot read {folder / path}: {os_error_message(error)}") from error


def check_files(folder: Path, files: dict[str, Entry]) -> Iterator[tuple[str, FileState]]:
    """Compare files with their entries in the manifest, and yield paths and states in order.

    The caller may remove the files that have been yielded from `files`.
    """

    def check(chunk: list[str]) -> list[tuple[str, FileState]]:
        return [(path, check_file(folder, path, files[path])) for path in chunk]

    paths = list(files)
    pending: deque[Future[list[tuple[str, FileState]]]] = deque()
    pool = ThreadPoolExecutor(CONCURRENCY)
    try:
        for start in range(0, len(paths), CHUNK_FILES):
            pending.append(pool.submit(check, paths[start : start + CHUNK_FILES]))
            if len(pending) > MAX_PENDING_CHUNKS:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
