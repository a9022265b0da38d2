"""Files on their way to a service: each content once, whole, and as it was checked."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from ftkit.catalog import Provider
from ftkit.client.client import Client, upload_body
from ftkit.errors import (
    FileError,
    NotFoundError,
    ProviderError,
    UnknownOutcomeError,
    os_error_message,
)
from ftkit.jobs.journal import Journal, Upload

PART = 64 << 20
"""Bytes of a part of a large upload; the most that the protocol allows."""

UPLOAD_LIFE = 3_300
"""Seconds that a large upload can be gone on with; the service forgets it an hour after it began."""

AWAIT = (0.5, 1.0, 2.0, 4.0, *[5.0] * 12)
"""Seconds between looks at a file that is being processed. After them the job is created: the service waits for the file itself."""

Say = Callable[[str], None]
Sleep = Callable[[float], None]
Progress = Callable[[str, int], None]
"""Told the name of a file and the bytes uploaded since the last call."""


def digest(path: str) -> str:
    """The SHA-256 of a file; raises `FileError`."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise FileError(f"{path} is no regular file; write it to one first")
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"cannot open {path}: {os_error_message(error)}") from error


def planned(path: str, sha256: str, limits: Provider) -> list[dict[str, Any]]:
    """The requests that upload a file to a service which does not have it, in their order."""
    name, size = _name(path, sha256), os.path.getsize(path)
    if not _in_parts(size, limits):
        form = {"purpose": "fine-tune", "file": f"@{path}", "filename": name}
        return [{"method": "POST", "path": "/files", "form": form, "sha256": sha256}]
    upload = "/uploads/<id of the upload>"
    ends = [min(start + PART, size) for start in range(0, size, PART)]
    parts = [
        {
            "method": "POST",
            "path": f"{upload}/parts",
            "form": {"data": f"@{path}"},
            "bytes": [number * PART, end],
        }
        for number, end in enumerate(ends)
    ]
    ids = [f"<id of part {number}>" for number, _ in enumerate(parts, 1)]
    return [
        {"method": "POST", "path": "/uploads", "body": upload_body(name, size), "sha256": sha256},
        *parts,
        {"method": "POST", "path": f"{upload}/complete", "body": {"part_ids": ids}},
    ]


def _name(path: str, sha256: str) -> str:
    """What the file is called at the service: by it an upload is found whose answer was lost."""
    return f"{Path(path).stem}-{sha256[:12]}.jsonl"


def _in_parts(size: int, limits: Provider) -> bool:
    whole = limits.direct_bytes or limits.file_bytes
    return whole is not None and size > whole.value


class Files:
    """Brings files to the service, each content once."""

    def __init__(
        self,
        client: Client,
        journal: Journal,
        say: Say = lambda text: None,
        progress: Progress = lambda name, size: None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.client, self.journal, self.account = client, journal, client.account
        self.say, self.progress, self.sleep = say, progress, sleep
        self.new: list[str] = []
        """The ids of the files that were not at the service before."""

    def uploaded(self, path: str, sha256: str) -> str:
        """The id of the file at the service that has this content; it is uploaded if it is not there."""
        with self.journal.alone(f"upload{sha256}", self.say):
            known = self.journal.upload(self.account, sha256)
            there = self._there(known)
            if there:
                self.say(f"{path} is at {self.client.provider.title} already, as {there}")
            else:
                there = self._upload(path, sha256, known)
                self.new.append(there)
            self.journal.end_upload(self.account, sha256, there)
        self._await(there)
        return there

    def _there(self, known: Upload | None) -> str:
        """The id of the file that an earlier upload became, if the service has it."""
        if known is None:
            return ""
        if known.file:
            try:
                file = self.client.file(known.file)
            except NotFoundError:
                return ""
            return "" if file.status == "error" else file.id
        # The answer to the upload was lost: the name holds the hash of the content.
        found = (file for file in self.client.files("fine-tune") if file.name == known.name)
        return next(
            (file.id for file in found if file.status != "error" and file.size in (0, known.size)),
            "",
        )

    def _upload(self, path: str, sha256: str, known: Upload | None) -> str:
        name, size = _name(path, sha256), os.path.getsize(path)
        if known is None or known.file or time.time() - known.started > UPLOAD_LIFE:
            self.journal.begin_upload(self.account, sha256, name, size, path)
            known = self.journal.upload(self.account, sha256)
        self.say(f"uploading {path} ({size:,} bytes)")
        if _in_parts(size, self.client.provider):
            return self._upload_parts(path, sha256, name, size, known)
        with open(path, "rb") as stream:
            watched = Watched(stream, lambda more: self.progress(path, more))
            try:
                there = self.client.upload(name, watched).id
            except UnknownOutcomeError:
                there = self._there(known)
                if not there:
                    raise
        self._must_be(sha256, watched.sha256.hexdigest(), path, there)
        return there

    def _must_be(self, checked: str, sent: str, path: str, file: str) -> None:
        if sent != checked:
            self.client.delete_file(file)
            raise FileError(
                f"{path} has changed since it was checked; the upload was deleted, run the command again"
            )

    def _upload_parts(
        self, path: str, sha256: str, name: str, size: int, known: Upload | None
    ) -> str:
        """Upload a large file in parts, going on with those that are there."""
        if digest(path) != sha256:
            raise FileError(f"{path} has changed since it was checked; run the command again")
        upload = known.upload if known else ""
        parts = known.parts if known and upload else ()
        upload = upload or self.client.begin_upload(name, size)
        self.journal.note_parts(self.account, sha256, upload, parts)
        sent, done = hashlib.sha256(), len(parts)
        try:
            with open(path, "rb") as stream:
                for number, data in enumerate(iter(lambda: stream.read(PART), b"")):
                    sent.update(data)
                    if number >= done:
                        parts = (*parts, self.client.upload_part(upload, data))
                        self.journal.note_parts(self.account, sha256, upload, parts)
                    self.progress(path, len(data))
            there = self.client.end_upload(upload, list(parts)).id
        except NotFoundError:
            self.journal.note_parts(
                self.account, sha256, "", ()
            )  # the service has forgotten it: the next run begins anew
            raise
        self._must_be(sha256, sent.hexdigest(), path, there)
        return there

    def _await(self, id: str) -> None:
        """Wait until the service has looked at the file; services that report no status are not waited for."""
        for pause in AWAIT if self.client.api.file_status else ():
            file = self.client.file(id)
            if file.status == "error":
                why = str(file.raw.get("status_details") or "it does not say why")
                raise ProviderError(
                    f"{self.client.provider.title} refused the file {id}: {why}", said=why
                )
            if file.status not in ("uploaded", "pending", "running"):
                return
            self.sleep(pause)


class Watched(io.RawIOBase):
    """A file that is read from its beginning, hashed and counted on the way."""

    def __init__(self, stream: BinaryIO, told: Callable[[int], None]) -> None:
        self._stream, self._told = stream, told
        self._read_to = 0
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        at = self._stream.tell()
        data = self._stream.read(size)
        fresh = data[max(self._read_to - at, 0) :]
        self.sha256.update(fresh)
        self._read_to = max(self._read_to, at + len(data))
        self._told(len(fresh))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def fileno(self) -> int:
        return self._stream.fileno()
