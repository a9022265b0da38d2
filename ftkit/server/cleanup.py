"""Removal of data that nothing refers to any more: contents, training data, parts, adapters.

A deletion removes the data at once, unless an unfinished job needs it: then that job's end does. A
killed server may do neither, so `collect_garbage` looks for such data when a server starts.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from ftkit.server.blobs import jobs_needing_blobs, remove_unused_blob
from ftkit.server.database import Database
from ftkit.server.errors import MissingObjectError
from ftkit.server.files import (
    delete_file,
    delete_old_uploads,
    expire_uploads,
    remove_logs,
)
from ftkit.server.folder import (
    BLOB_NAME,
    JOB_LOG,
    JOB_NAME,
    PART_NAME,
    WANDB_RUNS,
    Folder,
    remove,
)
from ftkit.server.objects import (
    FINAL,
    FileObject,
    JobObject,
    ModelObject,
    PartObject,
    UploadObject,
    now,
)


def remove_job_data(database: Database, folder: Folder, id: str) -> None:
    """Remove what a finished job no longer needs: all of its files but its adapters and its logs.

    Of a job that was deleted, everything is removed. Nothing happens if the job is unfinished. A
    process of the job that still runs may write more, so call it again when that has ended.
    """
    job = database.get(JobObject, id)
    if job is None:
        remove(folder.job(id))
        return
    if job.status not in FINAL:
        return
    steps = {model.step for model in database.matching(ModelObject, job=id)}
    folder.remove_from_job(id, keep=_needed_names(folder, id, steps))
    remove_logs(database, folder, job)
    for sha256 in job.hashes.values():
        remove_unused_blob(database, folder, sha256)


def _needed_names(folder: Folder, job: str, steps: set[int]) -> set[str]:
    """Return the names of the logs of a finished job and of the adapters of these steps."""
    return {JOB_LOG, WANDB_RUNS, *(folder.adapter(job, step).name for step in steps)}


def remove_adapters(database: Database, folder: Folder, models: list[ModelObject]) -> None:
    """Remove the adapters of deleted models, except those that other models have."""
    for model in models:
        if not database.exists(ModelObject, job=model.job, step=model.step):
            remove(folder.adapter(model.job, model.step))


def delete_expired_files(database: Database, folder: Folder) -> None:
    """Delete the files that have expired."""
    for file in database.expired(FileObject, now()):
        with suppress(MissingObjectError):  # deleted in the meantime
            delete_file(database, folder, file.tenant, file.id)


def remove_expired(database: Database, folder: Folder) -> None:
    """Remove what has expired, and deleted objects from the write-ahead log of the database."""
    delete_expired_files(database, folder)
    expire_uploads(database, folder)
    delete_old_uploads(database)
    database.checkpoint()


def collect_garbage(database: Database, folder: Folder) -> None:
    """Remove everything that an earlier server should have removed, and was killed before it did.

    Nothing else may use the folder. Files with names that are not the service's are left alone.
    """
    _collect_job_data(database, folder)
    _collect_blobs(database, folder)
    _collect_parts(database, folder.parts)
    remove_expired(database, folder)


def _collect_job_data(database: Database, folder: Folder) -> None:
    """Remove what finished jobs no longer need, and everything of jobs that do not exist."""
    steps = defaultdict(set)
    for model in database.all(ModelObject):
        steps[model.job].add(model.step)
    for path in folder.jobs.iterdir():
        if JOB_NAME.fullmatch(path.name):
            job = database.get(JobObject, path.name)
            if job is None:
                remove(path)
            elif job.status in FINAL:
                folder.remove_from_job(job.id, keep=_needed_names(folder, job.id, steps[job.id]))
                remove_logs(database, folder, job)


def _collect_parts(database: Database, parts: Path) -> None:
    """Remove parts of uploads that are not pending, and files that were being written."""
    pending = {upload.id for upload in database.matching(UploadObject, "pending")}
    needed = set()
    for part in database.all(PartObject):
        if part.upload_id in pending:
            needed.add(part.id)
        else:
            database.remove(PartObject, part.id)
    for path in parts.iterdir():
        if PART_NAME.fullmatch(path.name) and path.name not in needed:
            remove(path)


def _collect_blobs(database: Database, folder: Folder) -> None:
    """Remove blobs that no file has and no job is going to read, and results of other checks."""
    files = database.internal_values(FileObject, "sha256")
    needed = files.union(*(job.hashes.values() for job in jobs_needing_blobs(database)))
    for parent, names in ((folder.blobs, needed), (folder.checks, files)):
        for path in parent.glob("??/*"):
            if BLOB_NAME.fullmatch(path.name) and path.name not in names:
                remove(path)
