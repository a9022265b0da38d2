"""Where the service keeps what it is given and what it makes. Names on disk are hashes and ids of its own, none from outside.

DATA_DIR/
  service.db            what the service knows (see store.py)
  service.lock          held by the server that runs
  blobs/ab/abcd...      what is in files, by SHA-256
  parts/PART            parts of uploads that are not complete
  jobs/JOB/             what a job trains on, its checkpoints, and the adapters that it made
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from pathlib import Path

from msgspec import Struct


class Stored(Struct, frozen=True):
    """A content that was written: its SHA-256 and its size in bytes."""

    sha256: str
    size: int


class Folder:
    """The folder of a service."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        for name in ("blobs", "parts", "jobs"):
            (root / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def database(self) -> Path:
        """The file of the store."""
        return self.root / "service.db"

    def aside(self) -> Path:
        """A new path to write to before a content's name is known."""
        return self.root / "parts" / f"new-{secrets.token_hex(12)}"

    def blob(self, sha256: str) -> Path:
        """Where the content of that hash is."""
        return self.root / "blobs" / sha256[:2] / sha256

    @property
    def nowhere(self) -> Path:
        """A folder that has no folders: from there, a name such as `owner/name` is that of no folder on this disk."""
        return self.root / "parts"

    def part(self, id: str) -> Path:
        """Where a part of an upload is."""
        return self.root / "parts" / id

    def job(self, id: str) -> Path:
        """The folder of a job."""
        return self.root / "jobs" / id

    def adapter(self, job: str, step: int) -> Path:
        """The adapter that a job had made by that step."""
        return self.job(job) / f"adapter-{step}"

    def keep(self, writer: Writer) -> Stored:
        """Make what was written aside a blob; it is on the disk when this returns.

        Where a file is to hold it, this and the file are one transaction, or who deletes another file may take it for unheld.
        """
        stored = writer.end()
        path = self.blob(stored.sha256)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        os.replace(writer.path, path)
        _sync_folder(path.parent)
        return stored

    def keep_bytes(self, data: bytes) -> Stored:
        """Make these bytes a blob."""
        with Writer(self.aside()) as writer:
            writer.write(data)
            return self.keep(writer)

    def lend(self, sha256: str, path: Path) -> None:
        """Put the content at `path`, too, where it stays when the file is deleted."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        try:
            os.link(self.blob(sha256), path)
        except OSError:
            shutil.copyfile(self.blob(sha256), path)

    def clear(self, job: str) -> None:
        """Remove what only a job that is not over needs: what it trains on, and the state from which it would go on."""
        shutil.rmtree(self.job(job) / "checkpoints", ignore_errors=True)
        for path in self.job(job).glob("*.jsonl"):
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what was being written when an earlier server ended."""
        for path in (self.root / "parts").glob("new-*"):
            path.unlink(missing_ok=True)


class Writer:
    """Writes a file and hashes it on the way. What is not kept is removed at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._file = path.open("xb")

    def write(self, data: bytes | memoryview) -> None:
        """Write more."""
        self._file.write(data)
        self._sha256.update(data)
        self.size += len(data)

    def end(self) -> Stored:
        """Bring all to the disk; again does nothing more."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return Stored(self._sha256.hexdigest(), self.size)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    """Make a new name in a folder durable; systems that cannot open folders do so themselves."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
