"""Data folder of the service. Its names are hashes and generated ids, never names from clients.

DATA_DIR/
server.json           address of the running server (see ftkit/_local.py)
service.db            objects (see database.py)
service.lock          held by the running server
service.log           output of the last server in the background
service.id            id of the service in the metadata of its jobs on a cluster
generate.log          output of the last process for completions
blobs/ab/abcd...      contents of files, by SHA-256
parts/PART            parts of uploads that are not complete
jobs/JOB/             training data, checkpoints and adapters of a job
checks/ab/abcd.../    results of checks of a content, such as its findings, by its SHA-256
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from ftkit._local import ANNOUNCEMENT
from ftkit._private import make_private_folder, open_private
from ftkit.server.storage import Allowance, Disk, StorageLimits

FOLDERS = ("blobs", "parts", "jobs", "checks")
"""Folders in the data folder."""

DATABASE, LOCK = "service.db", "service.lock"
"""Database, and the lock of the running server."""

SERVICE_LOG, COMPLETIONS_LOG = "service.log", "generate.log"
"""Output of the last server in the background, and of the last process for completions."""

SERVICE_ID, ID_PATTERN = "service.id", re.compile(b"[0-9a-f]{16}")
"""File with the id of the service, and its content."""

FILES = ("service.*", ANNOUNCEMENT, COMPLETIONS_LOG)
"""Files in the data folder. SQLite adds some to the name of the database."""

BLOB_NAME = re.compile("[0-9a-f]{64}")
"""Name of a blob."""

PART_NAME = re.compile("(part_|new-)[A-Za-z0-9]+([.-][a-z.-]+)?")
"""Name of a part of an upload, or of a file that is being written, perhaps with a suffix."""

JOB_NAME = re.compile("ftjob-[A-Za-z0-9]+")
"""Name of the folder of a job."""

PRIVATE_UMASK = 0o077
"""Mode bits that no file or folder of the service has."""

JOB_LOG = "process.log"
"""Output of the last process of a job, in the folder of the job."""

WANDB_RUNS = "wandb"
"""Runs of Weights & Biases that are not uploaded, in the folder of the job."""


class Blob(Struct, frozen=True):
    """Content that was written: its SHA-256, and its size in bytes."""

    sha256: str
    size: int


class Folder:
    """Data folder of a service.

    Args:
        root: Path of the folder.
        limits: Limits on its disk space.

    Attributes:
        blobs, parts, jobs, checks: Its folders.
        disk: Disk that the folder is on.
    """

    def __init__(self, root: Path, limits: StorageLimits | None = None) -> None:
        self.root = root.absolute()
        folders = [self.root / name for name in FOLDERS]
        self.blobs, self.parts, self.jobs, self.checks = folders
        for path in folders:
            make_private_folder(path)
        self.disk = Disk(self.root, limits or StorageLimits())

    def make_private(self) -> None:
        """Make all files of the service accessible to its user only.

        New files are, but the folder may be from an earlier version, or restored from a backup. It
        may also have files that are not the service's, which are left alone.
        """
        for path in (path for name in (*FOLDERS, *FILES) for path in self.root.glob(name)):
            for file in (path, *path.rglob("*")):
                with suppress(OSError):  # removed by a process that is ending, or not ours
                    mode = file.lstat().st_mode
                    if mode & PRIVATE_UMASK and not stat.S_ISLNK(mode):
                        file.chmod(stat.S_IMODE(mode) & ~PRIVATE_UMASK)

    @property
    def database(self) -> Path:
        """Path of the database."""
        return self.root / DATABASE

    def service_id(self) -> str:
        """Return the random id of the service, which the first call creates."""
        path = self.root / SERVICE_ID
        content = path.read_bytes() if path.exists() else b""
        if not ID_PATTERN.fullmatch(content):  # new, or from a start that was interrupted
            content = secrets.token_hex(8).encode()
            with open_private(path, "wb") as file:
                file.write(content)
        return content.decode()

    @property
    def working_directory(self) -> Path:
        """Working directory of child processes.

        It has no subfolders, so a model id such as `owner/name` is never taken for a local path.
        """
        return self.parts

    def temporary(self) -> Path:
        """Return a new path to write to until the hash of the content is known."""
        return self.parts / f"new-{secrets.token_hex(12)}"

    def blob(self, sha256: str) -> Path:
        """Return the path of a blob."""
        return self.blobs / sha256[:2] / sha256

    def checks_of(self, sha256: str) -> Path:
        """Return the folder with the results of checks of a content, if there are any."""
        return self.checks / sha256[:2] / sha256

    def part(self, id: str) -> Path:
        """Return the path of a part of an upload."""
        return self.parts / id

    def job(self, id: str) -> Path:
        """Return the folder of a job."""
        return self.jobs / id

    def checkpoints(self, job: str) -> Path:
        """Return the folder of the states that the training of a job resumes from."""
        return self.job(job) / "checkpoints"

    def attempts(self, job: str) -> Path:
        """Return the folder with a folder for each attempt of a remote worker to train a job."""
        return self.job(job) / "attempts"

    def attempt(self, job: str, number: int) -> Path:
        """Return the folder that only the worker of that attempt writes to."""
        return self.attempts(job) / str(number)

    def attempt_checkpoints(self, job: str, number: int) -> Path:
        """Return the folder of the states that an attempt has saved, and not reported yet."""
        return self.attempt(job, number) / "checkpoints"

    def adapter(self, job: str, step: int) -> Path:
        """Return the folder of the adapter that a job had made by a step."""
        return self.job(job) / f"adapter-{step}"

    def keep(self, writer: Writer) -> Blob:
        """Make what was written a blob, which is on the disk on return.

        If a file object is to refer to the blob, do both in one database transaction. Otherwise, a
        concurrent deletion of another file with the same content could remove the blob.
        """
        blob = writer.finish()
        path = self.blob(blob.sha256)
        make_private_folder(path.parent)
        os.replace(writer.path, path)
        sync_folder(path.parent)
        return blob

    def keep_bytes(self, data: bytes) -> Blob:
        """Make these bytes a blob."""
        with Writer(self.temporary()) as writer:
            writer.write(data)
            return self.keep(writer)

    def link_blob(self, sha256: str, path: Path) -> None:
        """Make the content of a blob available at `path`, also after the blob is removed."""
        make_private_folder(path.parent)
        path.unlink(missing_ok=True)
        try:
            os.link(self.blob(sha256), path)
        except OSError:
            shutil.copyfile(self.blob(sha256), path)

    def log(self, job: str) -> Path:
        """Return the path of the log of a job's processes."""
        return self.job(job) / JOB_LOG

    def remove_from_job(self, job: str, keep: Container[str]) -> None:
        """Remove the files and folders in the folder of a job, except those named in `keep`."""
        for path in list(self.job(job).glob("*")):
            if path.name not in keep:
                remove(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with everything in it, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


class Writer:
    """Writes a new file and computes its hash on the way.

    As a context manager, removes the file at the end unless it was moved.

    Args:
        path: Path of the file, which must not exist.
        allowance: Limit on its size, or None.
    """

    def __init__(self, path: Path, allowance: Allowance | None = None) -> None:
        self.path = path
        self.size = 0
        self._allowance = allowance
        self._sha256 = hashlib.sha256()
        self._file = open_private(path)  # closed by `discard`

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes.

        Raises:
            ServiceError: The allowance does not suffice.
        """
        if self._allowance:
            self._allowance.take(len(data))
        self._file.write(data)
        self._sha256.update(data)
        self.size += len(data)

    def finish(self) -> Blob:
        """Flush the file to the disk and close it. May be called again."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return Blob(self._sha256.hexdigest(), self.size)

    def discard(self) -> None:
        """Close the file, and remove it unless it was moved."""
        with suppress(OSError):  # the rest of its buffer cannot be written
            self._file.close()
        self.path.unlink(missing_ok=True)
        if self._allowance:
            self._allowance.release()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


def sync_folder(path: Path) -> None:
    """Make a new name in a folder durable. Windows cannot open folders, and needs no such call."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
