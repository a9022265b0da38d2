"""Deletion of finished jobs, with everything that belongs to them."""

from __future__ import annotations

from ftkit.server.blobs import remove_unused_blob
from ftkit.server.database import Database
from ftkit.server.errors import ConflictError, InvalidRequestError
from ftkit.server.folder import Folder, remove
from ftkit.server.lifecycle import find_user
from ftkit.server.objects import (
    FINAL,
    CheckpointObject,
    EventObject,
    FileObject,
    JobObject,
    ModelObject,
)


def delete_job(database: Database, folder: Folder, id: str, tenant: str) -> None:
    """Delete a finished job: its events, checkpoints, models, adapters, log and result files.

    Its training and validation files stay, since other jobs may use them.

    Raises:
        MissingObjectError: The tenant has no such job.
        InvalidRequestError: The job has not finished.
        ConflictError: Its process is still ending, or a job trains on one of its models.
    """
    with database.transaction():
        job = database.require(JobObject, id, tenant)
        models = database.matching(ModelObject, job=id)
        _check_deletable(database, job, models)
        files = [database.get(FileObject, file, tenant) for file in job.result_files]
        results = [file for file in files if file]
        for model in models:
            database.remove(ModelObject, model.id)
        for file in results:
            database.remove(FileObject, file.id)
        for type in (EventObject, CheckpointObject):
            database.remove_children(type, id, tenant)
        database.remove(JobObject, id)
    # If the server is killed here, its next start removes these, see `collect_garbage`.
    remove(folder.job(id))
    for file in results:
        remove_unused_blob(database, folder, file.sha256)


def _check_deletable(database: Database, job: JobObject, models: list[ModelObject]) -> None:
    if job.status not in FINAL:
        message = f"A job that is {job.status} cannot be deleted; cancel it first."
        raise InvalidRequestError(message, "id", "invalid_job_state")
    if job.handle:
        message = "The process of the job is still ending; try again in a few seconds."
        raise ConflictError(message, "id", "job_in_use")
    for model in models:
        user = find_user(database, model.job, model.step)
        if user:
            message = f"The job {user} is training on {model.id}."
            raise ConflictError(message, "id", "model_in_use")
