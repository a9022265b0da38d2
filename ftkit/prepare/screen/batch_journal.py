"""Journal of batches: an intent is recorded before each request, and the result after it.

A run that crashes at any moment can be continued, and no batch is created twice. The journal holds
hashes and ids, but no keys and no texts.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import msgspec
from filelock import FileLock
from msgspec.structs import replace

from ftkit._atomic import atomic_write
from ftkit._local import state_folder
from ftkit._private import make_private_folder, open_private
from ftkit.errors import FileError, os_error_message

FOLDER = "moderation"
"""Folder of the journal in the state folder."""


class BatchRecord(msgspec.Struct, frozen=True):
    """A batch that is to be created exactly once."""

    id: str
    """Random id, which is part of the batch's metadata and of the name of its file."""
    file_id: str = ""
    """Id of the file with the requests, or "" while it is unknown."""
    is_sent: bool = False
    """True if a request to create the batch may have been sent."""
    batch_id: str = ""
    """Id of the batch, or "" while it is unknown."""

    @property
    def file_name(self) -> str:
        """Name of the file with the requests at the provider."""
        return f"ftkit-moderation-{self.id}.jsonl"


_decode = msgspec.json.Decoder(BatchRecord).decode


class BatchJournal:
    """Records of batches by account and content.

    Every method raises `FileError` if the journal cannot be read or written.
    """

    def __init__(self, account: str, folder: Path | None = None) -> None:
        """Open the journal of an account in a folder; by default that of the user."""
        self._folder = (state_folder(os.environ) if folder is None else folder) / FOLDER
        self._account = account

    @contextmanager
    def open(self, content: str) -> Iterator[OpenRecord]:
        """Yield the record of a content, which no other process can change in the meantime."""
        key = blake2b(f"{self._account}\n{content}".encode(), digest_size=16).hexdigest()
        with _explained_errors(self._folder):
            make_private_folder(self._folder)
            lock = FileLock(self._folder / f"{key}.lock")
            lock.acquire()
        try:
            yield OpenRecord(self._folder / f"{key}.json")
        finally:
            lock.release()


class OpenRecord:
    """The record of a batch, which is written at each change.

    Attributes:
        is_new: True if no earlier run has left a record.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _explained_errors(path):
            self.is_new = not path.exists()
            self._record = BatchRecord(secrets.token_hex(16))
            if not self.is_new:
                self._record = self._read()

    def _read(self) -> BatchRecord:
        try:
            return _decode(self._path.read_bytes())
        except msgspec.DecodeError as error:
            raise FileError(
                f"{self._path} is damaged; delete it, and look for a batch of this data in your "
                "account, since another one would be created"
            ) from error

    @property
    def value(self) -> BatchRecord:
        """The record."""
        return self._record

    def update(self, **fields: str | bool) -> None:
        """Change fields of the record, durably."""
        self._record = replace(self._record, **fields)
        with (
            _explained_errors(self._path),
            atomic_write(self._path, fsync=True) as temporary,
            open_private(temporary) as file,
        ):
            file.write(msgspec.json.encode(self._record))

    def remove(self) -> None:
        """Remove the record, since the results of the batch are saved or it has failed."""
        with _explained_errors(self._path):
            self._path.unlink(missing_ok=True)


@contextmanager
def _explained_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(
            f"cannot write the journal {path}: {os_error_message(error)}; once it can be written, "
            "run the same command again to continue"
        ) from error
