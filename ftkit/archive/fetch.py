"""Downloads of jobs and files from the provider. All requests are read-only.

Each task returns a `ManifestUpdate`, with `Missing` records for what could not be fetched.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ftkit.archive import layout
from ftkit.archive.manifest import Entry, ManifestBuilder, ManifestUpdate
from ftkit.archive.missing import INVALID_ID, PERMANENT, Missing, missing_because
from ftkit.archive.serialize import (
    MAX_DEPTH,
    parse_json,
    parse_json_lines,
    to_json,
    to_json_lines,
    without_deep_values,
)
from ftkit.archive.store import ArchiveStore, Download
from ftkit.client.client import Client
from ftkit.client.resources import Checkpoint, Event, Job, RemoteFile, unix_time
from ftkit.client.retry import Retry
from ftkit.dataset.lenient_json import nesting_exceeds
from ftkit.errors import FtkitError, ProviderError, UsageError
from ftkit.jobs.metrics import decode_results

MAX_DECODE_BYTES = 64 << 20
"""Maximum size of a result file that is checked for base64. Larger files are kept as they are."""

RESULTS_PURPOSE = "fine-tune-results"
"""Purpose of result files."""

EMPTY: tuple[Any, ...] = (None, "", [], {})
"""Values of a field that is not set."""

TRANSIENT_FIELDS = ("estimated_finish", "error")
"""Fields of a job that may become empty in the course of training."""


class Fetcher:
    """Fetches what the archive does not have. Methods may be called from several threads.

    Attributes:
        client: The client, with retries.
        permissions: Access to permissions.
    """

    def __init__(
        self, client: Client, store: ArchiveStore, builder: ManifestBuilder, retry: Retry
    ) -> None:
        self.client = client.with_retry(retry)
        self.store, self.builder, self.retry = store, builder, retry
        self.permissions = PermissionAccess()

    def fetch_job(self, job: Job) -> ManifestUpdate:
        """Fetch everything that belongs to a job except its training and validation files."""
        task = _JobTask(self, job)
        task.save_job(job)
        if not layout.is_usable_id(job.id):
            task.add_invalid_id("job", job.id)
            return task.update()
        task.save_list(
            layout.EVENTS, "events", lambda: (event.raw for event in self.client.events(job.id))
        )
        checkpoints = task.save_list(
            layout.CHECKPOINTS,
            "checkpoints",
            lambda: (checkpoint.raw for checkpoint in self.client.checkpoints(job.id)),
        )
        task.save_permissions(checkpoints)
        for file_id in job.result_files:
            task.save_results(file_id)
        for name in (layout.ANSWERS, layout.ANSWERS_CHAT):
            task.keep(name)
        return task.update()

    def fetch_file(self, id: str, listed: RemoteFile | None) -> ManifestUpdate:
        """Fetch the content of a file.

        Args:
            id: Id of the file.
            listed: The file object, if the provider's list of files contains it.
        """
        key = layout.key_of(id)
        owner = f"file {key}"
        if key != id:
            invalid = Missing("file", key, "invalid", INVALID_ID)
            return ManifestUpdate(owner, missing=(invalid,), raw=_encode_raw(listed))
        try:
            file = listed or self.retry(lambda: self.client.file(id))
        except ProviderError as error:
            return ManifestUpdate(owner, missing=(self._missing_file(id, error),))
        try:
            download, is_complete = self._download_complete(file)
        except ProviderError as error:
            missing = self._missing_file(id, error)
            return ManifestUpdate(owner, missing=(missing,), raw=_encode_raw(file))
        is_result = file.purpose == RESULTS_PURPOSE
        download = self._decode(download) if is_result else download
        path, entry = self._add_content(id, download, is_result, is_complete)
        notes: tuple[Missing, ...] = ()
        if not is_complete:
            sizes = f"the provider reports {file.size:,} bytes, and sent {entry.size:,}"
            notes = (Missing("file", id, "incomplete", sizes),)
        return ManifestUpdate(
            owner, contents={id: path}, files={path: entry}, missing=notes, raw=_encode_raw(file)
        )

    def download_results(self, id: str) -> Download:
        """Download a result file, and decode it if it is in base64."""
        return self._decode(self._download(id))

    def missing(self, what: str, id: str, error: FtkitError, job: str = "") -> Missing:
        """Return the record of a failed request.

        Raises:
            ProviderError: The API key is not valid any more, so no other request can succeed.
        """
        if isinstance(error, ProviderError) and error.status == 401 and what != "permissions":
            raise error
        return missing_because(error, what, id, job)

    def _add_content(
        self, id: str, download: Download, is_result: bool, is_complete: bool
    ) -> tuple[str, Entry]:
        """Add a download to the archive, unless an earlier run got more of an incomplete file."""
        manifest = self.builder.manifest
        path = layout.content_path(download.entry.sha256, is_result)
        earlier_path = manifest.contents.get(id, path)
        earlier = manifest.files.get(earlier_path)
        if not is_complete and earlier is not None and earlier.size > download.entry.size:
            download.path.unlink()
            return earlier_path, earlier
        return path, self.store.add(download, path, manifest.files.get(path))

    def _missing_file(self, id: str, error: ProviderError) -> Missing:
        """Return why a file is missing, and also that an earlier run got a part of it."""
        missing = self.missing("file", id, error)
        incomplete = [
            item for item in self.builder.missing(f"file {id}") if item.reason == "incomplete"
        ]
        if not incomplete or id not in self.builder.manifest.contents:
            return missing
        if missing.reason not in PERMANENT:
            return incomplete[0]
        message = f"{missing.message}; before that {incomplete[0].message}"
        return msgspec.structs.replace(missing, message=message)

    def _download_complete(self, file: RemoteFile) -> tuple[Download, bool]:
        """Download a file, and once more if it is shorter than the size that the provider reports.

        Returns:
            The longer download, and True if it is complete.
        """
        first = self._download(file.id)
        if first.entry.size >= file.size or file.purpose == RESULTS_PURPOSE:
            return first, True
        second = self._download(file.id)
        shorter, longer = (
            (first, second) if second.entry.size >= first.entry.size else (second, first)
        )
        shorter.path.unlink()
        return longer, longer.entry.size >= file.size

    def _download(self, id: str) -> Download:
        download: Download = self.retry(lambda: self.store.download(self.client.iter_content(id)))
        return download

    def _decode(self, download: Download) -> Download:
        """Decode a result file that the provider sent in base64."""
        if download.entry.size > MAX_DECODE_BYTES:
            return download
        content = download.path.read_bytes()
        csv = decode_results(content)
        if csv is content:
            return download
        download.path.unlink()
        return self.store.download([csv])


class PermissionAccess:
    """Remembers that the API key cannot read permissions, so it is not tried for every checkpoint.

    Attributes:
        denied: The provider's refusal, or None.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_allowed = False
        self.denied: ProviderError | None = None

    def allow(self) -> None:
        """Record a successful request."""
        with self._lock:
            self._is_allowed, self.denied = True, None

    def deny(self, error: ProviderError) -> None:
        """Record a failed request."""
        with self._lock:
            if not self._is_allowed and error.status in (401, 403):
                self.denied = error


class _JobTask:
    """Writes the files of one job, and collects the manifest update."""

    def __init__(self, fetcher: Fetcher, job: Job) -> None:
        self._fetcher, self._store, self._client = fetcher, fetcher.store, fetcher.client
        self._archived = fetcher.builder.manifest.files
        self._id = layout.key_of(job.id)
        self._folder = layout.job_folder(self._id)
        self._contents: dict[str, str] = {}
        self._files: dict[str, Entry] = {}
        self._missing: list[Missing] = []

    def update(self) -> ManifestUpdate:
        """Return the manifest update."""
        return ManifestUpdate(
            f"job {self._id}",
            self._id,
            self._folder,
            self._contents,
            self._files,
            tuple(self._missing),
        )

    def save_job(self, job: Job) -> None:
        """Write the job object, unless the archived one has more values."""
        data = self._read(layout.JOB)
        archived = parse_json(data, self._path(layout.JOB), dict) if data else {}
        if _has_lost_values(job.raw, archived):
            self.keep(layout.JOB)
        else:
            self._write(layout.JOB, to_json(self._replace_and_note("job", job.raw)))

    def save_list(
        self, name: str, what: str, fetch: Callable[[], Iterable[dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        """Write a list, oldest first. Archived items that the provider no longer lists are kept."""
        data = self._read(name)
        archived = _parse_items(data, self._path(name)) if data else []
        try:
            items = [self._replace_and_note(what, item) for item in fetch()]
        except (ProviderError, UsageError) as error:
            self._add_missing(what, self._id, error)
            self.keep(name)
            return archived
        merged = _merge(archived, items)
        self._write(name, to_json_lines(merged) if name.endswith(".jsonl") else to_json(merged))
        return merged

    def save_permissions(self, checkpoints: Iterable[dict[str, Any]]) -> None:
        """Write the permissions of the checkpoints."""
        data = self._read(layout.PERMISSIONS)
        path = self._path(layout.PERMISSIONS)
        permissions: dict[str, Any] = parse_json(data, path, dict) if data else {}
        access, unsupported = self._fetcher.permissions, None
        for checkpoint in map(Checkpoint.read, checkpoints):
            if not layout.is_usable_id(checkpoint.id):
                self.add_invalid_id("permissions", checkpoint.id)
                continue
            try:
                if access.denied:
                    raise access.denied
                items = self._client.permissions(checkpoint.id)
                permissions[checkpoint.id] = [
                    self._replace_and_note("permissions", one) for one in items
                ]
                access.allow()
            except ProviderError as error:
                access.deny(error)
                if checkpoint.id not in permissions:
                    self._add_missing("permissions", checkpoint.id, error)
            except UsageError as error:
                unsupported = error
        if unsupported:
            self._add_missing("permissions", self._id, unsupported)
        if permissions:
            self._write(layout.PERMISSIONS, to_json(permissions))

    def save_results(self, file_id: str) -> None:
        """Write a result file, unless the archive has it."""
        if not layout.is_usable_id(file_id):
            self.add_invalid_id("result file", file_id)
            return
        path = layout.results_path(self._id, file_id)
        entry = self._archived.get(path)
        if entry is None:
            try:
                entry = self._store.add(self._fetcher.download_results(file_id), path)
            except ProviderError as error:
                self._add_missing("result file", file_id, error)
                return
        self._files[path] = entry
        self._contents[file_id] = path

    def keep(self, name: str) -> None:
        """Keep an archived file as it is."""
        path = self._path(name)
        if path in self._archived:
            self._files[path] = self._archived[path]

    def add_invalid_id(self, what: str, id: str) -> None:
        """Add a note that something cannot be requested."""
        self._missing.append(Missing(what, layout.key_of(id), "invalid", INVALID_ID, self._id))

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _read(self, name: str) -> bytes | None:
        """Return the content of a file of the job, or None if it is not in the archive."""
        path = self._path(name)
        return self._store.read(path) if path in self._archived else None

    def _write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        self._files[path] = self._store.write(path, data, self._archived.get(path))

    def _replace_and_note(self, what: str, raw: dict[str, Any]) -> dict[str, Any]:
        """Return what can be stored of an object, and add a note if that is not all."""
        stored, message = replace_deep_values(raw)
        if message:
            note = Missing(what, self._id, "inexact", message, self._id)
            self._missing += [note] if note not in self._missing else []
        return stored

    def _add_missing(self, what: str, id: str, error: FtkitError) -> None:
        self._missing.append(self._fetcher.missing(what, id, error, self._id))


def replace_deep_values(raw: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return an object of the provider without what cannot be stored, and a note on that or ""."""
    if not nesting_exceeds(raw, MAX_DEPTH):
        return raw, ""
    message = f"values nested deeper than {MAX_DEPTH} levels were replaced by null"
    return without_deep_values(raw), message


def _encode_raw(file: RemoteFile | None) -> str:
    """Return the object of a file in JSON, as an update of the manifest holds it."""
    return to_json_lines([replace_deep_values(file.raw)[0]]).decode() if file else ""


def _parse_items(data: bytes, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (
        parse_json_lines(data, path) if path.endswith(".jsonl") else parse_json(data, path, list)
    )
    return items


def _merge(
    archived: list[dict[str, Any]], newest_first: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return archived and fetched items without duplicates, oldest first."""
    fetched = {_identity(item): item for item in reversed(newest_first)}
    unlisted = [item for item in archived if _identity(item) not in fetched]
    items = [*unlisted, *fetched.values()]
    return sorted(items, key=lambda item: unix_time(Event.read(item).created_at))


def _identity(item: dict[str, Any]) -> str:
    return str(item.get("id") or "") or json.dumps(item, sort_keys=True)


def _has_lost_values(new: dict[str, Any], archived: dict[str, Any]) -> bool:
    """Return True if a field of the archived job is set, and that of the new one is not."""
    return any(
        value not in EMPTY and new.get(name) in EMPTY
        for name, value in archived.items()
        if name not in TRANSIENT_FIELDS
    )
