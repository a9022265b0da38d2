"""The manifest: every file of an archive with its hash, and everything that is missing.

While an archive is being written, each update to the manifest is appended to `.progress.jsonl`. The
next run applies these updates to the manifest, so nothing is fetched twice after an interruption.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ftkit._text import printable
from ftkit.archive.access import open_regular, read_regular
from ftkit.archive.layout import MANIFEST, PROGRESS
from ftkit.archive.missing import Missing
from ftkit.archive.serialize import parse_json
from ftkit.errors import FileError, os_error_message

FORMAT = 1
"""Version of the manifest's format."""

MAX_SIZE = 2**53
"""Maximum size of a file in bytes: the largest integer that every JSON parser reads exactly."""

MAX_UPDATE_BYTES = 16 << 20
"""Maximum size of an update in the progress file."""


class Entry(Struct, frozen=True):
    """A file of the archive: its SHA-256 in hexadecimal digits, and its size in bytes."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Meta(ge=0, le=MAX_SIZE)]


class Manifest(Struct, kw_only=True):
    """The content of an archive.

    Attributes:
        format: Version of the format.
        tool: Version of ftkit that wrote the manifest.
        account: Name and base URL of the provider.
        organizations: Organization ids of the account.
        date: Start of the last run, in UTC.
        finished: False if the last run was interrupted.
        jobs: Folder of each job, by job id.
        contents: Path of each file's content, by the provider's file id.
        missing: Everything that could not be fetched.
        files: All files of the archive, by path.
    """

    format: Annotated[int, Meta(ge=1, le=MAX_SIZE)] = FORMAT
    tool: str = ""
    account: str = ""
    organizations: list[str] = []
    date: str = ""
    finished: bool = False
    jobs: dict[str, str] = {}
    contents: dict[str, str] = {}
    missing: list[Missing] = []
    files: dict[str, Entry] = {}


class ManifestUpdate(Struct, frozen=True, omit_defaults=True):
    """Additions to the manifest: the result of one task.

    Attributes:
        owner: What the update is about, such as `job ftjob-1`, `file file-1` or `answers ftjob-1`.
        job: Id of a job to add, or "".
        folder: Folder of that job.
        contents: Paths of contents by file id.
        files: Written files by path.
        missing: Replaces everything that was missing for the same owner.
        raw: File object as the provider returned it, in JSON, or "".
    """

    owner: str
    job: str = ""
    folder: str = ""
    contents: dict[str, str] = {}
    files: dict[str, Entry] = {}
    missing: tuple[Missing, ...] = ()
    raw: str = ""


class ManifestBuilder:
    """A manifest that is being changed.

    Attributes:
        manifest: The manifest, except `missing`, which is set by `build`.
        file_objects: File objects of the provider that updates brought, by file id.
        changed: True if the pages of the archive have to be written again.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.file_objects: dict[str, dict[str, Any]] = {}
        self.changed = False
        self._missing: dict[str, tuple[Missing, ...]] = {}
        for item in manifest.missing:
            self._missing[item.owner] = (*self._missing.get(item.owner, ()), item)

    def apply(self, update: ManifestUpdate) -> None:
        """Apply an update."""
        manifest = self.manifest
        self.changed |= any(
            manifest.files.get(path) != entry for path, entry in update.files.items()
        )
        self.changed |= self._missing.get(update.owner, ()) != update.missing
        manifest.files.update(update.files)
        manifest.contents.update(update.contents)
        if update.job:
            manifest.jobs[update.job] = update.folder
        if update.missing:
            self._missing[update.owner] = update.missing
        else:
            self._missing.pop(update.owner, None)
        if update.raw:
            file = parse_json(update.raw, PROGRESS, dict)
            self.file_objects[str(file.get("id") or "")] = file

    def remove_file(self, path: str) -> tuple[Entry, list[str]]:
        """Remove a file.

        Returns:
            Its entry, and the provider's ids of the files whose content it was.
        """
        self.changed = True
        ids = [id for id, content_path in self.manifest.contents.items() if content_path == path]
        for id in ids:
            del self.manifest.contents[id]
        return self.manifest.files.pop(path), ids

    def missing(self, owner: str) -> tuple[Missing, ...]:
        """Return what is missing for that owner."""
        return self._missing.get(owner, ())

    def build(self) -> Manifest:
        """Return the manifest, in an order that does not depend on that of the updates."""
        manifest = self.manifest
        missing = sorted(
            (item for items in self._missing.values() for item in items),
            key=lambda item: (item.what, item.job, item.id),
        )
        return msgspec.structs.replace(
            manifest,
            missing=missing,
            jobs=dict(sorted(manifest.jobs.items())),
            contents=dict(sorted(manifest.contents.items())),
            files=dict(sorted(manifest.files.items())),
        )


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of an archive.

    Raises:
        FileError: There is no manifest, or it cannot be read.
    """
    path = folder / MANIFEST
    if not os.path.lexists(path):
        raise FileError(f"{folder} is not an archive: it has no {MANIFEST}")
    try:
        manifest = msgspec.json.decode(read_regular(path), type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileError(
            f"{path} is damaged ({error}); restore it from a copy, or archive into a new folder"
        ) from error
    if manifest.format > FORMAT:
        raise FileError(
            f"{path} was written by a newer version ({printable(manifest.tool[:100])}) in format"
            f" {manifest.format}; this version reads format {FORMAT}"
        )
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def read_progress(folder: Path) -> list[ManifestUpdate]:
    """Read the updates of an interrupted run, and cut off what is incomplete or damaged at the end.

    Raises:
        FileError: The progress file cannot be read, or it is not a regular file.
    """
    path = folder / PROGRESS
    if not os.path.lexists(path):
        return []
    try:
        with open_regular(path) as file:
            updates, end = _read_updates(file)
            is_whole = end == os.fstat(file.fileno()).st_size
        if not is_whole:
            os.truncate(path, end)
    except OSError as error:
        raise FileError(f"cannot read {path}: {os_error_message(error)}") from error
    return updates


def _read_updates(file: IO[bytes]) -> tuple[list[ManifestUpdate], int]:
    """Return the updates up to the first line that is none, and the position of that line."""
    decoder, updates, end = msgspec.json.Decoder(ManifestUpdate), [], 0
    while (line := file.readline(MAX_UPDATE_BYTES)).endswith(b"\n"):
        try:
            updates.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            break
        end += len(line)
    return updates, end


def encode_update(update: ManifestUpdate) -> bytes:
    """Return an update as a line of JSON."""
    return msgspec.json.encode(update) + b"\n"
