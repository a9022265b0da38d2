"""Removal of blobs: the contents of files, each stored once, that nothing uses any more."""

from __future__ import annotations

from ftkit.server.database import Database
from ftkit.server.folder import Folder, remove
from ftkit.server.objects import FileObject, JobObject, JobStatus

BEFORE_LINKS: tuple[JobStatus, ...] = ("validating_files", "paused")
"""Statuses of jobs whose blobs may not have been linked to the folder of the job yet."""


def remove_unused_blob(database: Database, folder: Folder, sha256: str) -> None:
    """Remove a blob, unless a file has it or a job still has to link it.

    The results of its checks are removed unless a file has it.
    """
    with database.transaction():
        if database.exists(FileObject, sha256=sha256):
            return
        remove(folder.checks_of(sha256))
        if not _is_needed(database, sha256):
            folder.blob(sha256).unlink(missing_ok=True)


def _is_needed(database: Database, sha256: str) -> bool:
    return any(
        database.exists(JobObject, *BEFORE_LINKS, valid=False, **{f"files.{name}": sha256})
        for name in ("training", "validation")
    )


def jobs_needing_blobs(database: Database) -> list[JobObject]:
    """Return the jobs that have not linked their blobs yet, as their validation does."""
    return database.matching(JobObject, *BEFORE_LINKS, valid=False)
