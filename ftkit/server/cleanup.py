"""Removal of data that nothing refers to any more: contents, training data, parts, adapters.

A deletion removes the data at once, unless an unfinished job needs it: then that job's end does. A
killed server may do neither, so `sweep` looks for such data when a server starts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from ftkit.server.database import Database
from ftkit.server.files import (
    awaiting_jobs,
    expire_uploads,
    forget_uploads,
    release_blob,
    remove_log,
)
from ftkit.server.folder import LOG, Folder, remove
from ftkit.server.lifecycle import FINAL
from ftkit.server.objects import FileObject, JobObject, ModelObject, PartObject, UploadObject

BLOB = re.compile("[0-9a-f]{64}")
"""Name of a blob."""

PART = re.compile("(part_|new-)[A-Za-z0-9]+")
"""Name of a part of an upload, or of a file that is being written."""

JOB = re.compile("ftjob-[A-Za-z0-9]+")
"""Name of the folder of a job."""


def clear_job(database: Database, folder: Folder, id: str) -> None:
    """Remove what a finished job no longer needs: all of its files but its adapters and its log.

    Nothing happens if the job is unfinished. A process of the job that still runs may write more,
    so call it again when that has ended.
    """
    job = database.get(JobObject, id)
    if job is None or job.status not in FINAL:
        return
    steps = {model.step for model in database.all(ModelObject) if model.job == id}
    _clear_folder(folder, id, steps)
    remove_log(database, folder, job)
    for sha256 in job.hashes.values():
        release_blob(database, folder, sha256)


def _clear_folder(folder: Folder, job: str, steps: set[int]) -> None:
    """Remove all files of a job but its log and the adapters of these steps."""
    folder.remove_from_job(job, keep={LOG, *(folder.adapter(job, step).name for step in steps)})


def remove_adapters(database: Database, folder: Folder, models: list[ModelObject]) -> None:
    """Remove the adapters of deleted models, except those that other models have."""
    for model in models:
        if not database.exists(ModelObject, job=model.job, step=model.step):
            remove(folder.adapter(model.job, model.step))


def tidy(database: Database, folder: Folder) -> None:
    """Remove what has expired, and deleted objects from the write-ahead log of the database."""
    expire_uploads(database, folder)
    forget_uploads(database)
    database.checkpoint()


def sweep(database: Database, folder: Folder) -> None:
    """Remove everything that an earlier server should have removed, and was killed before it did.

    Nothing else may use the folder. Files with names that are not the service's are left alone.
    """
    _sweep_jobs(database, folder)
    _sweep_blobs(database, folder.root / "blobs")
    _sweep_parts(database, folder.root / "parts")
    tidy(database, folder)


def _sweep_jobs(database: Database, folder: Folder) -> None:
    """Remove what finished jobs no longer need, and everything of jobs that do not exist."""
    steps = defaultdict(set)
    for model in database.all(ModelObject):
        steps[model.job].add(model.step)
    for path in (folder.root / "jobs").iterdir():
        if JOB.fullmatch(path.name):
            job = database.get(JobObject, path.name)
            if job is None:
                remove(path)
            elif job.status in FINAL:
                _clear_folder(folder, job.id, steps[job.id])
                remove_log(database, folder, job)


def _sweep_parts(database: Database, parts: Path) -> None:
    """Remove parts of uploads that are not pending, and files that were being written."""
    pending = {upload.id for upload in database.with_status(UploadObject, "pending")}
    needed = set()
    for part in database.all(PartObject):
        if part.upload_id in pending:
            needed.add(part.id)
        else:
            database.remove(PartObject, part.id)
    for path in parts.iterdir():
        if PART.fullmatch(path.name) and path.name not in needed:
            remove(path)


def _sweep_blobs(database: Database, blobs: Path) -> None:
    """Remove blobs that no file has and no job is going to read."""
    needed = {file.sha256 for file in database.all(FileObject)}
    for job in awaiting_jobs(database):
        needed |= set(job.hashes.values())
    for path in blobs.glob("??/*"):
        if BLOB.fullmatch(path.name) and path.name not in needed:
            remove(path)
