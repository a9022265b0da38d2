"""Content-addressed uploads: each file is sent once and verified.

    journal -> look up at the provider -> upload (whole or in parts) -> compare hashes -> wait

The name of a file at the provider contains the hash of its content, so that it can be found even if
the response to the upload was lost.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from ftkit._text import is_encodable
from ftkit.catalog import Provider
from ftkit.client.client import Client
from ftkit.client.payloads import upload_request
from ftkit.errors import (
    FileError,
    NotFoundError,
    ProviderError,
    UnknownOutcomeError,
    os_error_message,
)
from ftkit.jobs.journal import Journal, Upload

PART_SIZE = 64 << 20
"""Bytes of a part of a multipart upload, the maximum of the protocol."""

UPLOAD_LIFETIME = 3_300
"""Seconds for which a multipart upload can be continued. It expires after an hour."""

PROCESSING_DELAYS = (0.5, 1.0, 2.0, 4.0, *[5.0] * 12)
"""Seconds between polls of a file that is being processed.

After the last one the job is created all the same: the provider waits for the file itself.
"""

Say = Callable[[str], None]
"""Called with a message for the user."""

Sleep = Callable[[float], None]
"""Waits for some seconds."""

Progress = Callable[[str, int], None]
"""Called with the path of a file and the number of bytes uploaded since the last call."""


class LocalFile(Struct, frozen=True):
    """File to upload, with the SHA-256 that it had when it was validated."""

    path: str
    sha256: str

    @property
    def name(self) -> str:
        """Name at the provider, which contains the hash. Bytes that are not UTF-8 are replaced."""
        stem = os.fsencode(Path(self.path).stem).decode("utf-8", "replace")
        return f"{stem}-{self.sha256[:12]}.jsonl"

    @property
    def size(self) -> int:
        """Bytes."""
        return os.path.getsize(self.path)


def hash_file(path: str) -> str:
    """Return the SHA-256 of a file in hexadecimal. Raises `FileError` if it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise FileError(f"{path} is not a regular file; write its content to one first")
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"cannot open {path}: {os_error_message(error)}") from error


def upload_requests(path: str, sha256: str, provider: Provider) -> list[dict[str, Any]]:
    """Return descriptions of the requests that upload a new file, in order, for a dry run."""
    file = LocalFile(path, sha256)
    name, size = file.name, file.size
    if not _needs_parts(size, provider):
        form = {"purpose": "fine-tune", "file": f"@{path}", "filename": name}
        return [{"method": "POST", "path": "/files", "form": form, "sha256": sha256}]
    upload = "/uploads/<id of the upload>"
    parts = [
        {
            "method": "POST",
            "path": f"{upload}/parts",
            "form": {"data": f"@{path}"},
            "bytes": [start, min(start + PART_SIZE, size)],
        }
        for start in range(0, size, PART_SIZE)
    ]
    ids = [f"<id of part {number}>" for number, _ in enumerate(parts, 1)]
    body = upload_request(name, size)
    return [
        {"method": "POST", "path": "/uploads", "body": body, "sha256": sha256},
        *parts,
        {"method": "POST", "path": f"{upload}/complete", "body": {"part_ids": ids}},
    ]


def _needs_parts(size: int, provider: Provider) -> bool:
    limit = provider.direct_bytes or provider.file_bytes
    return limit is not None and size > limit.value


class Uploader:
    """Uploads files to a provider; the same content is sent only once.

    Attributes:
        new_file_ids: Ids of the files that this uploader has uploaded.
    """

    def __init__(
        self,
        client: Client,
        journal: Journal,
        say: Say = lambda message: None,
        progress: Progress = lambda path, size: None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.client, self.journal, self.account = client, journal, client.account
        self.say, self.progress, self.sleep = say, progress, sleep
        self.new_file_ids: list[str] = []

    def upload(self, path: str, sha256: str) -> str:
        """Upload a file unless the provider has its content, and return its id there.

        Args:
            path: Local path.
            sha256: SHA-256 of the file when it was validated.

        Raises:
            FileError: The file cannot be read, or has changed since it was validated.
            UnknownOutcomeError: There is no usable response; the same call continues the upload.
            ProviderError: The provider refused the file.
        """
        file = LocalFile(path, sha256)
        with self.journal.lock(f"upload{sha256}", self.say):
            upload = self.journal.find_upload(self.account, sha256)
            file_id = self._find_file(upload)
            if file_id:
                self.say(f"{path} is already at {self.client.provider.title}, as {file_id}")
            else:
                file_id = self._send(file, upload)
                self.new_file_ids.append(file_id)
            self.journal.finish_upload(self.account, sha256, file_id)
        self._wait_until_processed(file_id)
        return file_id

    def _find_file(self, upload: Upload | None) -> str:
        """Return the id of the file of an earlier upload, or "" if the provider has none."""
        if upload is None:
            return ""
        if upload.file_id:
            try:
                file = self.client.file(upload.file_id)
            except NotFoundError:
                return ""
            return "" if file.status == "error" else file.id
        # The response to the upload was lost.
        same_name = (file for file in self.client.files("fine-tune") if file.name == upload.name)
        usable = (
            file.id
            for file in same_name
            if file.status != "error" and file.size in (0, upload.size) and is_encodable(file.id)
        )
        return next(usable, "")

    def _send(self, file: LocalFile, upload: Upload | None) -> str:
        size = file.size
        if upload is None or upload.file_id or time.time() - upload.started_at > UPLOAD_LIFETIME:
            self.journal.begin_upload(self.account, file.sha256, file.name, size, file.path)
            upload = self.journal.find_upload(self.account, file.sha256)
        self.say(f"uploading {file.path} ({size:,} bytes)")
        if _needs_parts(size, self.client.provider):
            return self._send_parts(file, upload)
        return self._send_whole(file, upload)

    def _send_whole(self, file: LocalFile, upload: Upload | None) -> str:
        with open(file.path, "rb") as stream:
            reader = HashingReader(stream, lambda size: self.progress(file.path, size))
            try:
                file_id = self.client.upload(file.name, reader).id
            except UnknownOutcomeError:
                file_id = self._find_file(upload)
                if not file_id:
                    raise
        self._verify(file, reader.sha256.hexdigest(), file_id)
        return file_id

    def _send_parts(self, file: LocalFile, upload: Upload | None) -> str:
        """Upload a file in parts, continuing an earlier upload if there is one."""
        if hash_file(file.path) != file.sha256:
            raise FileError(
                f"{file.path} has changed since it was validated; run the command again"
            )
        upload_id = upload.upload_id if upload else ""
        part_ids = upload.part_ids if upload and upload_id else ()
        upload_id = upload_id or self.client.create_upload(file.name, file.size)
        self.journal.save_parts(self.account, file.sha256, upload_id, part_ids)
        sent, completed = hashlib.sha256(), len(part_ids)
        try:
            with open(file.path, "rb") as stream:
                for index, data in enumerate(iter(lambda: stream.read(PART_SIZE), b"")):
                    sent.update(data)
                    if index >= completed:
                        part_ids = (*part_ids, self.client.upload_part(upload_id, data))
                        self.journal.save_parts(self.account, file.sha256, upload_id, part_ids)
                    self.progress(file.path, len(data))
            file_id = self.client.complete_upload(upload_id, list(part_ids)).id
        except NotFoundError:
            # The upload has expired: the next run starts a new one.
            self.journal.save_parts(self.account, file.sha256, "", ())
            raise
        self._verify(file, sent.hexdigest(), file_id)
        return file_id

    def _verify(self, file: LocalFile, sent_sha256: str, file_id: str) -> None:
        if sent_sha256 != file.sha256:
            self.client.delete_file(file_id)
            raise FileError(
                f"{file.path} has changed since it was validated; the upload was deleted, "
                "run the command again"
            )

    def _wait_until_processed(self, file_id: str) -> None:
        """Wait until the provider has processed a file, unless it reports no status."""
        title = self.client.provider.title
        for delay in PROCESSING_DELAYS if self.client.api.file_status else ():
            file = self.client.file(file_id)
            if file.status == "error":
                reason = str(file.raw.get("status_details") or "no reason given")
                raise ProviderError(
                    f"{title} refused the file {file_id}: {reason}", provider_message=reason
                )
            if file.status not in ("uploaded", "pending", "running"):
                return
            self.sleep(delay)


class HashingReader(io.RawIOBase):
    """Stream that hashes and counts the bytes of another one as they are read the first time."""

    def __init__(self, stream: BinaryIO, on_read: Callable[[int], None]) -> None:
        self._stream, self._on_read = stream, on_read
        self._hashed_size = 0
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True: the SDK rewinds the stream to measure it."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, or all remaining ones."""
        start = self._stream.tell()
        data = self._stream.read(size)
        new_data = data[max(self._hashed_size - start, 0) :]
        self.sha256.update(new_data)
        self._hashed_size = max(self._hashed_size, start + len(data))
        self._on_read(len(new_data))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position and return it."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the current position."""
        return self._stream.tell()

    def fileno(self) -> int:
        """Return the file descriptor of the underlying stream."""
        return self._stream.fileno()
