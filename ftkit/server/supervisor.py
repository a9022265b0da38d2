"""Supervisor of job processes: starts one for each job that is to be validated or trained.

What to do follows from the statuses of the jobs alone, so a restarted server continues where the
last one ended.
"""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from msgspec import Struct

from ftkit._local import RUN_MODULE
from ftkit._private import make_private_folder, open_private
from ftkit.server.blobs import remove_unused_blob
from ftkit.server.cleanup import delete_expired_files, remove_expired, remove_job_data
from ftkit.server.database import Database
from ftkit.server.errors import FullDiskError
from ftkit.server.exits import UnexpectedEnd, count_memory_kills, explain_exit
from ftkit.server.folder import Folder
from ftkit.server.job_queue import JobQueue
from ftkit.server.lifecycle import add_event, fail, transition
from ftkit.server.objects import JobObject, JobStatus
from ftkit.server.out_of_memory import memory_advice
from ftkit.server.recipes import restore_recipe
from ftkit.server.scheduling import INTERRUPTED, Capacity

POLL_SECONDS = 0.1
"""Seconds between polls of the jobs and processes."""

EXPIRY_SECONDS = 60
"""Seconds between removals of what has expired."""

MAX_ATTEMPTS = 3
"""Number of processes that may crash without progress before the job fails."""

MAX_KILLS = 100
"""Number of processes that may be killed without progress before the job fails.

Kills are not the fault of the job, but may be a rule of the machine that no process survives.
"""

MAX_VALIDATIONS = 2
"""Maximum number of concurrent validations."""

VALIDATION_SECONDS = 120.0
"""Maximum duration of a validation, without the time for the size of the files."""

VALIDATION_BYTES_PER_SECOND = 200_000
"""Minimum speed of a validation. Encoding the examples takes most of it, about 1 MB a second."""

logger = logging.getLogger("ftkit.server")

Task = Literal["check", "train"]

STARTS_FROM: dict[Task, JobStatus] = {"check": "validating_files", "train": "queued"}
"""Status of the jobs for which a process with that task is started."""


PROCESS_NAMES: dict[Task, str] = {"check": "validation", "train": "training"}
"""Names of the processes in messages."""


class JobProcess(Struct):
    """Process of a job.

    Attributes:
        started: Time at which it was started, by the monotonic clock.
        time_limit: Maximum duration in seconds, or None.
        memory_kills: Processes that the kernel had killed for want of memory when it was started.
    """

    task: Task
    tenant: str
    process: subprocess.Popen[bytes]
    started: float
    time_limit: float | None
    memory_kills: int

    @property
    def is_overdue(self) -> bool:
        """True if the process has run for too long."""
        return self.time_limit is not None and time.monotonic() - self.started > self.time_limit


class Supervisor(threading.Thread):
    """Thread that starts, monitors and restarts job processes.

    Args:
        database: Database of the service.
        folder: Data folder of the service.
        capacity: Number of training processes that may run.
        before_training: Called in this thread before each start of a training process.
        after_exit: Called in this thread after each end of a process.
    """

    def __init__(
        self,
        database: Database,
        folder: Folder,
        capacity: Capacity,
        before_training: Callable[[], object] = lambda: None,
        after_exit: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(name="supervisor", daemon=True)
        self._database, self._folder = database, folder
        self._before_training, self._after_exit = before_training, after_exit
        capacities: dict[Task, Capacity] = {"check": Capacity(MAX_VALIDATIONS), "train": capacity}
        self._queues = {
            task: JobQueue(database, STARTS_FROM[task], capacities[task]) for task in STARTS_FROM
        }
        self._processes: dict[str, JobProcess] = {}
        self._stopping = threading.Event()
        self._next_removal = time.monotonic() + EXPIRY_SECONDS

    def run(self) -> None:
        """Supervise until `stop` is called."""
        recovered = False
        while not self._stopping.wait(POLL_SECONDS):
            try:
                if not recovered:
                    self._recover()
                recovered = True
                self._poll()
                self._remove_expired()
            except Exception:  # for example a full disk, which may have room again later
                logger.exception("The jobs cannot be supervised")

    def stop(self) -> None:
        """Stop the thread and kill the processes. A restarted server continues their jobs."""
        self._stopping.set()
        self.join()
        for running in self._processes.values():
            running.process.kill()
            running.process.wait()
        for id in self._processes:
            with suppress(OSError, sqlite3.Error):  # the next start clears it
                remove_job_data(self._database, self._folder, id)

    def _recover(self) -> None:
        """Correct the status of jobs whose processes ended with an earlier server."""
        for job in self._database.with_status(JobObject, "running"):
            message = "The service was restarted; the job continues"
            transition(self._database, job.id, ("running",), "queued", message, rank=INTERRUPTED)
        for job in self._database.with_status(JobObject, "pausing"):
            self._finish_pausing(job.id)

    def _finish_pausing(self, id: str) -> bool:
        return transition(
            self._database, id, ("pausing",), "paused", "The job is paused", estimated_finish=None
        )

    def _poll(self) -> None:
        for id, running in list(self._processes.items()):
            job = self._database.get(JobObject, id)
            exit_code = running.process.poll()
            if exit_code is not None:
                self._handle_exit(id, running, exit_code)
                del self._processes[id]
                self._after_exit()
            elif job is None or job.status in ("cancelled", "failed"):
                running.process.kill()
            elif running.is_overdue:
                self._time_out(id, running)
            elif job.status == "pausing":
                _send(running.process, "pause")
        for task in STARTS_FROM:
            self._start_processes(task)

    def _remove_expired(self) -> None:
        # At every poll, since clients may expect a file to be gone at its very time.
        delete_expired_files(self._database, self._folder)
        if time.monotonic() >= self._next_removal:
            self._next_removal = time.monotonic() + EXPIRY_SECONDS
            remove_expired(self._database, self._folder)

    def _start_processes(self, task: Task) -> None:
        """Start processes for waiting jobs, up to the capacity of the task."""
        queue = self._queues[task]
        for _ in range(queue.capacity.total):
            job = queue.take(self._count_processes(task), self._processes)
            if job is None:
                break
            if task == "check" or not self._fail_if_disk_full(job):
                self._processes[job.id] = self._start_process(task, job)
        if task == "train":
            queue.explain(self._count_processes(task), self._processes)

    def _fail_if_disk_full(self, job: JobObject) -> bool:
        """Fail a job if the disk is full, since it could save nothing. Return True if it failed."""
        try:
            self._folder.disk.check_free()
        except FullDiskError as error:
            fail(self._database, job.id, "insufficient_storage", str(error))
            remove_job_data(self._database, self._folder, job.id)
            return True
        return False

    def _count_processes(self, task: Task) -> Counter[str]:
        """Return the number of processes of each tenant with that task."""
        return Counter(item.tenant for item in self._processes.values() if item.task == task)

    def _start_process(self, task: Task, job: JobObject) -> JobProcess:
        make_private_folder(self._folder.job(job.id))
        command = [*RUN_MODULE, "ftkit.server.worker", task, str(self._folder.root), job.id]
        if task == "train":
            self._before_training()
        memory_kills = count_memory_kills()
        with open_private(self._folder.log(job.id), "wb") as log:
            # In a session of its own: Ctrl-C must end only the server, or the job would be treated
            # as one whose process crashed.
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._folder.working_directory,
            )
        time_limit = self._validation_seconds(job) if task == "check" else None
        return JobProcess(task, job.tenant, process, time.monotonic(), time_limit, memory_kills)

    def _validation_seconds(self, job: JobObject) -> float:
        """Return the maximum duration of the validation of a job's files."""
        paths = [self._folder.blob(sha256) for sha256 in job.hashes.values()]
        size = sum(path.stat().st_size for path in paths if path.exists())
        return VALIDATION_SECONDS + size / VALIDATION_BYTES_PER_SECOND

    def _time_out(self, id: str, running: JobProcess) -> None:
        """Fail a job whose validation takes too long, unless it has just been completed."""
        with self._database.transaction():
            job = self._database.get(JobObject, id)
            if job and not job.valid:
                message = (
                    "The validation of the files took longer than the maximum of"
                    f" {running.time_limit:,.0f} seconds; split them, or shorten the examples"
                )
                fail(self._database, id, "validation_timeout", message, "training_file")

    def _handle_exit(self, id: str, running: JobProcess, exit_code: int) -> None:
        """Release what the process of a job used, and retry or fail the job unless it is done."""
        job = self._database.get(JobObject, id)
        if running.task == "check" and job:
            for sha256 in job.hashes.values():
                remove_unused_blob(self._database, self._folder, sha256)
        if not self._finish_pausing(id) and job and job.status in _statuses_during(running.task):
            end = explain_exit(exit_code, self._folder.log(id), running.memory_kills)
            self._handle_unexpected_end(job, running.task, end)
        remove_job_data(self._database, self._folder, id)

    def _handle_unexpected_end(self, job: JobObject, task: Task, end: UnexpectedEnd) -> None:
        # The kernel ends one of the processes that fill the memory, maybe for the memory of
        # another, so a job has as many attempts as after crashes.
        counter, limit = (
            ("kills", MAX_KILLS) if end.kind == "killed" else ("attempts", MAX_ATTEMPTS)
        )
        count = getattr(job, counter) + 1
        if count >= limit:
            message = f"The {PROCESS_NAMES[task]} process ended {count} times ({end.cause})"
            if end.kind == "out_of_memory":
                advice = memory_advice(restore_recipe(job.base, job.recipe), job.base)
                message += f"; {advice}" if task == "train" else "; split the files"
            code = "out_of_memory" if end.kind == "out_of_memory" else "server_error"
            fail(self._database, job.id, code, message)
            return
        with self._database.transaction():
            self._database.change(JobObject, job.id, lambda job: setattr(job, counter, count))
            message = f"The process of the job ended ({end.cause}) and is restarted"
            add_event(self._database, job.id, job.tenant, message, "warn")
            if task == "train":
                transition(self._database, job.id, ("running",), "queued", "The job is queued")


def _statuses_during(task: Task) -> tuple[JobStatus, ...]:
    """Return the statuses of a job whose process has not completed its task."""
    return ("validating_files",) if task == "check" else ("queued", "running")


def _send(process: subprocess.Popen[bytes], command: str) -> None:
    assert process.stdin
    try:
        process.stdin.write(f"{command}\n".encode())
        process.stdin.flush()
    except OSError:
        pass  # the process has ended, which the next poll notices
