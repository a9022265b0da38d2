"""Synchronization of an archive with an account at a provider.

    check files → list jobs and files → fetch jobs and files → list models → pages → manifest

A run can be interrupted at any time; the next run continues where it stopped.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from ftkit.archive import layout
from ftkit.archive.concurrency import run_concurrently
from ftkit.archive.fetch import Fetcher, replace_deep_values
from ftkit.archive.manifest import Manifest, ManifestUpdate, read_manifest
from ftkit.archive.missing import PERMANENT, RETRYABLE, Missing, missing_because
from ftkit.archive.repair import Repair
from ftkit.archive.serialize import parse_json, to_json
from ftkit.archive.store import ArchiveStore, entry_of
from ftkit.archive.write import ArchiveWriter
from ftkit.catalog import Catalog, load_catalog
from ftkit.client.client import Client
from ftkit.client.resources import Job, RemoteFile
from ftkit.client.retry import Retry
from ftkit.errors import InvalidResponseError, ProviderError

OnProgress = Callable[[str, int, int], object]
"""Called with the current phase, and the numbers of completed and of all its tasks."""


class Selection(Struct, frozen=True):
    """Jobs to archive.

    Attributes:
        since: Only jobs created on that day (UTC) or later.
        status: Only jobs with that status.
        files: Also archive training and validation files.
    """

    since: datetime.date | None = None
    status: str | None = None
    files: bool = True

    @property
    def is_everything(self) -> bool:
        """True if no job is excluded."""
        return self.since is None and self.status is None

    def includes(self, job: Job) -> bool:
        """Return True if the job is selected."""
        if self.since:
            start = datetime.datetime.combine(self.since, datetime.time(), datetime.UTC)
            if job.created_at is None or job.created_at < start:
                return False
        return self.status in (None, job.status)


class SyncResult(Struct, frozen=True):
    """Result of a sync.

    Attributes:
        folder: Folder of the archive.
        manifest: The manifest after the run.
        selection: The selected jobs.
        listed_jobs: Number of jobs at the provider.
        left_out_jobs: Number of those that were not selected.
        new_jobs: Number of jobs that were not in the archive before.
        fetched_jobs: Number of jobs that were fetched, new or not.
        fetched_files: Number of training and validation files that were requested.
        replaced: Paths of damaged files that were fetched again.
        damaged: Paths of damaged files that could not be fetched again.
    """

    folder: Path
    manifest: Manifest
    selection: Selection
    listed_jobs: int
    left_out_jobs: int
    new_jobs: int
    fetched_jobs: int
    fetched_files: int
    replaced: tuple[str, ...]
    damaged: tuple[str, ...]

    def reload(self) -> SyncResult:
        """Return the same result with the current manifest."""
        return msgspec.structs.replace(self, manifest=read_manifest(self.folder))

    @property
    def retryable(self) -> list[Missing]:
        """Missing items that another run may get."""
        return [item for item in self.manifest.missing if item.reason in RETRYABLE]


def archive(  # public keyword-only API
    client: Client,
    folder: str | os.PathLike[str],
    *,
    since: datetime.date | None = None,
    status: str | None = None,
    files: bool = True,
    catalog: Catalog | None = None,
    on_progress: OnProgress = lambda phase, done, total: None,
) -> SyncResult:
    """Save all jobs, files and models of an account to a folder, or update the archive in it.

    All requests are read-only. Repeat the call after an interruption to go on.

    Args:
        client: Client of the account.
        folder: Folder of the archive, created if it does not exist.
        since: Only jobs created on that day (UTC) or later.
        status: Only jobs with that status.
        files: Also archive training and validation files.
        catalog: Prices and shutdown dates for the pages; those that come with ftkit if None.
        on_progress: Called after each task with the phase, and the numbers of completed and of all
            its tasks.

    Raises:
        UsageError: The folder holds something else, or the archive of another account.
        FileError: The folder cannot be written; for example, the disk is full.
        ProviderError: The provider rejects the API key, or the request to list jobs.
        UnreachableError: The provider failed too many requests in a row.
    """
    selection = Selection(since, status, files)
    return sync(client, Path(folder), selection, catalog=catalog, on_progress=on_progress)


def sync(
    client: Client,
    folder: Path,
    selection: Selection | None = None,
    *,
    now: datetime.datetime | None = None,
    catalog: Catalog | None = None,
    on_progress: OnProgress = lambda phase, done, total: None,
    sleep: Callable[[float], object] | None = None,
) -> SyncResult:
    """Create or update the archive of an account. Nothing is changed at the provider.

    Args:
        client: Client of the account.
        folder: Folder of the archive.
        selection: Jobs to archive. Default: all.
        now: Time of the run. Default: the current time.
        catalog: Prices and shutdown dates for the pages. Default: the built-in catalog.
        on_progress: Called after each task.
        sleep: Waits between retries.

    Raises:
        UsageError: The folder holds something else, or the archive of another account.
        FileError: The folder cannot be written; for example, the disk is full.
        ProviderError: The provider rejects the API key, or the request to list jobs.
        UnreachableError: The provider failed too many requests in a row.
    """
    store = ArchiveStore(folder)
    with store.locked():
        date = f"{now or datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
        writer = ArchiveWriter.begin(store, client.account, date)
        retry = Retry(sleep or store.stopping.wait)
        fetcher = Fetcher(client, store, writer.builder, retry)
        run = _Sync(fetcher, writer, selection or Selection(), on_progress)
        try:
            run.fetch_new()
        finally:
            store.stopping.set()
        manifest = writer.finish(catalog or load_catalog(), partial(on_progress, "writing pages"))
        return run.result(manifest)


class _Sync:
    """One run."""

    def __init__(
        self,
        fetcher: Fetcher,
        writer: ArchiveWriter,
        selection: Selection,
        on_progress: OnProgress,
    ) -> None:
        self._fetcher, self._client = fetcher, fetcher.client
        self._writer, self._store, self._builder = writer, writer.store, writer.builder
        self._selection, self._on_progress = selection, on_progress
        self._repair = Repair(writer)
        self._listed_jobs = self._left_out_jobs = 0
        self._new_jobs = self._fetched_jobs = self._fetched_files = 0
        self._list_error: tuple[Missing, ...] = ()

    def fetch_new(self) -> None:
        """Fetch everything that the archive does not have."""
        damaged_jobs = self._repair.remove_damaged(partial(self._on_progress, "checking"))
        self._repair.adopt_answers()
        jobs = self._list_jobs()
        listed_files = self._list_files() if self._selection.files else {}
        self._fetch_jobs([job for job in jobs if self._needs_fetch(job, damaged_jobs)])
        ids = self._file_ids(jobs, listed_files)
        self._fetch_files([id for id in ids if self._needs_file(id, listed_files)], listed_files)
        self._save_models()
        self._save_file_objects(listed_files)
        self._repair.restore_lost()

    def result(self, manifest: Manifest) -> SyncResult:
        """Return the result of the run."""
        return SyncResult(
            folder=self._store.folder,
            manifest=manifest,
            selection=self._selection,
            listed_jobs=self._listed_jobs,
            left_out_jobs=self._left_out_jobs,
            new_jobs=self._new_jobs,
            fetched_jobs=self._fetched_jobs,
            fetched_files=self._fetched_files,
            replaced=tuple(self._repair.replaced),
            damaged=tuple(self._repair.lost),
        )

    def _list_jobs(self) -> list[Job]:
        """Return the selected jobs."""
        jobs: dict[str, Job] = {}
        for job in self._client.jobs():
            if job.id:
                jobs.setdefault(layout.key_of(job.id), job)
            self._on_progress("listing jobs", len(jobs), 0)
        selected = [job for job in jobs.values() if self._selection.includes(job)]
        self._listed_jobs, self._left_out_jobs = len(jobs), len(jobs) - len(selected)
        return selected

    def _list_files(self) -> dict[str, RemoteFile]:
        """Return the listed files by id, or {} if the provider does not list files.

        In that case each file is requested by its id.
        """
        try:
            return {file.id: file for file in self._client.files() if file.id}
        except InvalidResponseError as error:
            self._list_error = (missing_because(error, "records", ""),)
            return {}
        except ProviderError as error:
            if error.status in (0, 401):
                raise
            return {}

    def _fetch_jobs(self, jobs: list[Job]) -> None:
        self._fetched_jobs = len(jobs)
        archived = self._builder.manifest.jobs
        self._new_jobs = sum(layout.key_of(job.id) not in archived for job in jobs)
        self._run("fetching jobs", [partial(self._fetcher.fetch_job, job) for job in jobs])

    def _fetch_files(self, ids: list[str], listed: dict[str, RemoteFile]) -> None:
        if self._selection.files:
            self._fetched_files = len(ids)
            tasks = [partial(self._fetcher.fetch_file, id, listed.get(id)) for id in ids]
            self._run("fetching files", tasks)
            return
        for key in map(layout.key_of, ids):
            missing = Missing("file", key, "left out", "files were not requested")
            self._writer.apply(ManifestUpdate(f"file {key}", missing=(missing,)))

    def _needs_fetch(self, job: Job, damaged_jobs: set[str]) -> bool:
        """Return True if the provider may have something new about the job."""
        key = layout.key_of(job.id)
        entry = self._builder.manifest.files.get(f"{layout.job_folder(key)}/{layout.JOB}")
        is_current = entry is not None and entry == entry_of(
            to_json(replace_deep_values(job.raw)[0])
        )
        if not job.is_over or key in damaged_jobs or not is_current:
            return True
        retry = [
            item for item in self._builder.missing(f"job {key}") if item.reason not in PERMANENT
        ]
        denied = [
            item for item in retry if (item.what, item.reason) == ("permissions", "forbidden")
        ]
        return len(retry) > len(denied) or (
            bool(denied) and self._may_read_permissions(denied[0].id)
        )

    def _may_read_permissions(self, checkpoint: str) -> bool:
        """Return True if the API key can read permissions now. At most one request is denied."""
        access = self._fetcher.permissions
        if access.denied is None:
            try:
                list(self._client.permissions(checkpoint))
                access.allow()
            except ProviderError as error:
                access.deny(error)
        return access.denied is None

    def _file_ids(self, jobs: Iterable[Job], listed: dict[str, RemoteFile]) -> list[str]:
        """Return the ids of the jobs' files, or of all fine-tuning files if no job is excluded."""
        results = {id for job in jobs for id in job.result_files}
        used = (id for job in jobs for id in (job.training_file, job.validation_file) if id)
        unused = (
            id
            for id, file in listed.items()
            if file.purpose.startswith("fine-tune") and id not in results
        )
        return list(dict.fromkeys([*used, *(unused if self._selection.is_everything else ())]))

    def _needs_file(self, id: str, listed: dict[str, RemoteFile]) -> bool:
        key = layout.key_of(id)
        missing = self._builder.missing(f"file {key}")
        if key in self._builder.manifest.contents:
            can_improve = any(item.reason not in PERMANENT for item in missing)
            return self._selection.files and can_improve
        return id in listed or not any(item.reason in PERMANENT for item in missing)

    def _save_models(self) -> None:
        """Write the model objects. Models that the provider no longer lists are kept."""
        models = self._read_objects(layout.MODELS)
        try:
            models |= {model.id: model.raw for model in self._client.models()}
        except ProviderError as error:
            missing = missing_because(error, "models", "")
            self._writer.apply(ManifestUpdate("models ", missing=(missing,)))
            return
        self._save_objects("models", layout.MODELS, models)

    def _save_file_objects(self, listed: dict[str, RemoteFile]) -> None:
        """Write the file objects of archived and of missing files."""
        objects, manifest = self._read_objects(layout.FILES), self._builder.manifest
        new = self._builder.file_objects | {id: file.raw for id, file in listed.items()}
        objects |= {
            id: raw
            for id, raw in new.items()
            if (key := layout.key_of(id)) in manifest.contents
            or self._builder.missing(f"file {key}")
        }
        self._save_objects("records", layout.FILES, objects, self._list_error)

    def _read_objects(self, path: str) -> dict[str, dict[str, object]]:
        """Return the archived objects in a JSON file by id."""
        if path not in self._builder.manifest.files:
            return {}
        objects = parse_json(self._store.read(path), path, list)
        return {str(raw.get("id") or ""): raw for raw in objects}

    def _save_objects(
        self,
        what: str,
        path: str,
        objects: dict[str, dict[str, object]],
        missing: tuple[Missing, ...] = (),
    ) -> None:
        stored = [replace_deep_values(objects[id]) for id in sorted(objects)]
        data = to_json([raw for raw, _ in stored])
        entry = self._store.write(path, data, self._builder.manifest.files.get(path))
        messages = dict.fromkeys(message for _, message in stored if message)
        missing += tuple(Missing(what, "", "inexact", message) for message in messages)
        self._writer.apply(ManifestUpdate(f"{what} ", files={path: entry}, missing=missing))

    def _run(self, phase: str, tasks: Sequence[Callable[[], ManifestUpdate]]) -> None:
        self._on_progress(phase, 0, len(tasks))
        updates = run_concurrently(tasks, self._store.stopping)
        for number, update in enumerate(updates, 1):
            self._writer.apply(update)
            self._on_progress(phase, number, len(tasks))
