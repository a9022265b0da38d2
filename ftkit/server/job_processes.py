"""Processes of jobs, and the consequences of their ends: a retry, a failure or a pause."""

from __future__ import annotations

import time

from msgspec import Struct

from ftkit.server.attempts import end_attempt
from ftkit.server.blobs import remove_unused_blob
from ftkit.server.cleanup import remove_job_data
from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.lifecycle import add_event, fail, transition
from ftkit.server.objects import JobObject, JobStatus
from ftkit.server.out_of_memory import memory_advice
from ftkit.server.recipes import restore_recipe
from ftkit.server.runner import Ended, Task

MAX_ATTEMPTS = 3
"""Number of processes that may crash without progress before the job fails."""

MAX_KILLS = 100
"""Number of processes that may be killed without progress before the job fails.

Kills are not the fault of the job, but a machine that kills every process would otherwise restart
it forever.
"""

PROCESS_NAMES: dict[Task, str] = {"check": "validation", "train": "training"}
"""Names of the processes in messages."""


class JobProcess(Struct):
    """Process of a job.

    Attributes:
        handle: Handle of its runner.
        started: Time at which it was started, by the monotonic clock.
        time_limit: Maximum duration in seconds, or None.
        is_stopped: True once the supervisor has asked the runner to end it.
        end: Its end, once it is known.
    """

    task: Task
    tenant: str
    handle: str
    started: float
    time_limit: float | None = None
    is_stopped: bool = False
    end: Ended | None = None

    @property
    def is_overdue(self) -> bool:
        """True if the process has run for too long."""
        return self.time_limit is not None and time.monotonic() - self.started > self.time_limit


def handle_end(
    database: Database, folder: Folder, id: str, running: JobProcess, end: Ended
) -> None:
    """Release what the process of a job used, and retry or fail the job unless it is done."""
    # In one transaction: the process may live on, and report that it has finished the job.
    with database.transaction():
        job = database.get(JobObject, id)
        if running.task == "train":
            end_attempt(database, id)
        is_paused = finish_pausing(database, id)
        if not is_paused and job and job.status in _statuses_during(running.task):
            if not running.is_stopped:
                _handle_unexpected_end(database, job, running.task, end)
            elif running.task == "train":  # it was paused or cancelled, and then resumed
                transition(database, id, ("running",), "queued", "The job is queued")
    if running.task == "check" and job:
        for sha256 in job.hashes.values():
            remove_unused_blob(database, folder, sha256)
    remove_job_data(database, folder, id)


def finish_pausing(database: Database, id: str) -> bool:
    """Set a job that is pausing to paused. Return False if it is not pausing."""
    return transition(
        database, id, ("pausing",), "paused", "The job is paused", estimated_finish=None
    )


def _handle_unexpected_end(database: Database, job: JobObject, task: Task, end: Ended) -> None:
    # The out-of-memory killer may hit a job because of another one's memory, so it is retried like
    # a crash.
    counter, limit = ("kills", MAX_KILLS) if end.kind == "killed" else ("attempts", MAX_ATTEMPTS)
    count = getattr(job, counter) + 1
    if count >= limit:
        message = f"The {PROCESS_NAMES[task]} process ended {count} times ({end.cause})"
        if end.kind == "out_of_memory":
            advice = memory_advice(restore_recipe(job.base, job.recipe), job.base)
            message += f"; {advice}" if task == "train" else "; split the files"
        code = "out_of_memory" if end.kind == "out_of_memory" else "server_error"
        fail(database, job.id, code, message)
        return
    database.change(JobObject, job.id, lambda job: setattr(job, counter, count))
    message = f"The process of the job ended ({end.cause}) and is restarted"
    add_event(database, job.id, job.tenant, message, "warn")
    if task == "train":
        transition(database, job.id, ("running",), "queued", "The job is queued")


def _statuses_during(task: Task) -> tuple[JobStatus, ...]:
    """Return the statuses of a job whose process has not completed its task."""
    return ("validating_files",) if task == "check" else ("queued", "running")


def stopping_statuses(task: Task) -> tuple[JobStatus, ...]:
    """Return the statuses of a job whose process is to be stopped."""
    # A paused job is not trained, but the result of its validation is recorded.
    return ("cancelled", "failed") if task == "check" else ("cancelled", "failed", "paused")
