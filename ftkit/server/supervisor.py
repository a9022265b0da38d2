"""Supervisor of job processes: starts one for each job that is to be validated or trained.

What to do follows from the statuses of the jobs alone, so a restarted server continues where the
last one ended.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from msgspec import Struct

from ftkit.server.attempts import adopt_checkpoint, end_attempt, new_attempt, store_handle
from ftkit.server.blobs import remove_unused_blob
from ftkit.server.cleanup import delete_expired_files, remove_expired, remove_job_data
from ftkit.server.database import Database
from ftkit.server.errors import FullDiskError
from ftkit.server.folder import Folder
from ftkit.server.job_queue import JobQueue
from ftkit.server.lifecycle import add_event, fail, transition
from ftkit.server.local_processes import LocalProcesses
from ftkit.server.objects import JobObject, JobStatus
from ftkit.server.out_of_memory import memory_advice
from ftkit.server.recipes import restore_recipe
from ftkit.server.runner import (
    Attempt,
    Ended,
    Runner,
    RunnerError,
    RunnerUnavailableError,
    Task,
)
from ftkit.server.scheduling import INTERRUPTED, Capacity

POLL_SECONDS = 0.1
"""Seconds between polls of the jobs and processes."""

OUTAGE_SECONDS = 5.0
"""Seconds to wait before a runner that cannot be reached is tried again."""

ROOM_SECONDS = 0.5
"""Seconds to wait before a runner without room is asked again."""

OBSTACLE_SECONDS = 60
"""Seconds to wait before a runner is asked again about jobs that it can never run."""

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

STARTS_FROM: dict[Task, JobStatus] = {"check": "validating_files", "train": "queued"}
"""Status of the jobs for which a process with that task is started."""


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


class Supervisor(threading.Thread):
    """Thread that starts, monitors and restarts job processes.

    Args:
        database: Database of the service.
        folder: Data folder of the service.
        capacity: Number of training processes that may run.
        before_training: Called in this thread before each start of a training process on the
            machine of the service.
        after_exit: Called in this thread after each end of a process.
        runner: Runner of training processes; by default the machine of the service, which also
            runs all validations.
    """

    def __init__(
        self,
        database: Database,
        folder: Folder,
        capacity: Capacity,
        before_training: Callable[[], object] = lambda: None,
        after_exit: Callable[[], object] = lambda: None,
        runner: Runner | None = None,
    ) -> None:
        super().__init__(name="supervisor", daemon=True)
        self._database, self._folder = database, folder
        self._before_training, self._after_exit = before_training, after_exit
        local = LocalProcesses(folder)
        self._runners: dict[Task, Runner] = {"check": local, "train": runner or local}
        self._outage_end = 0.0  # of the runner of training processes
        capacities: dict[Task, Capacity] = {"check": Capacity(MAX_VALIDATIONS), "train": capacity}
        self._queues = {
            task: JobQueue(database, STARTS_FROM[task], capacities[task]) for task in STARTS_FROM
        }
        self._processes: dict[str, JobProcess] = {}
        self._obstacles: dict[str, str] = {}  # why no node can run a job, by its id
        self._next_start = self._next_retry = 0.0
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
        """Stop the thread and the processes on this machine. A restarted server goes on."""
        self._stopping.set()
        self.join()
        for runner in self._runners.values():
            runner.close()
        for id in self._processes:
            with suppress(OSError, sqlite3.Error):  # the next start clears it
                remove_job_data(self._database, self._folder, id)

    def _recover(self) -> None:
        """Find the processes that outlived an earlier server, and restart the other jobs."""
        jobs = self._database.matching(JobObject, "queued", "running", "pausing")
        for job in jobs:
            if job.status == "queued" and not job.handle:
                continue
            if job.handle and self._is_alive(job.handle):
                self._processes[job.id] = JobProcess(
                    "train", job.tenant, job.handle, time.monotonic()
                )
                continue
            with self._database.transaction():
                end_attempt(self._database, job.id)
                message = "The service was restarted; the job continues"
                transition(
                    self._database, job.id, ("running",), "queued", message, rank=INTERRUPTED
                )
                self._finish_pausing(job.id)

    def _is_alive(self, handle: str) -> bool:
        """Return False if a process has ended for certain."""
        if not self._is_outage:
            with self._noting_outages():
                return not isinstance(self._runners["train"].state(handle), Ended)
        return True

    def _finish_pausing(self, id: str) -> bool:
        return transition(
            self._database, id, ("pausing",), "paused", "The job is paused", estimated_finish=None
        )

    def _poll(self) -> None:
        for id, running in list(self._processes.items()):
            if running.task == "check" or not self._is_outage:
                with self._noting_outages():
                    self._observe(id, running)
        for task in STARTS_FROM:
            if task == "check" or not self._is_outage:
                with self._noting_outages():
                    self._start_processes(task)

    @property
    def _is_outage(self) -> bool:
        """True while the runner of training processes is not to be called."""
        return time.monotonic() < self._outage_end

    @contextmanager
    def _noting_outages(self) -> Iterator[None]:
        try:
            yield
        except RunnerUnavailableError as error:
            self._outage_end = time.monotonic() + OUTAGE_SECONDS
            logger.warning("%s; trying again in %.0f seconds", error, OUTAGE_SECONDS)

    def _observe(self, id: str, running: JobProcess) -> None:
        """Handle the end of a process, or stop one that should not run any more."""
        job = self._database.get(JobObject, id)
        runner = self._runners[running.task]
        state = running.end or runner.state(running.handle)
        if isinstance(state, Ended):
            running.end = state  # if handling it fails, for example on a full disk
            self._handle_exit(id, running, state)
            del self._processes[id]
            self._after_exit()
        elif job is None or job.status in _stopping_statuses(running.task):
            if not running.is_stopped:
                runner.stop(running.handle)
                running.is_stopped = True
        elif running.is_overdue:
            self._time_out(id, running)

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
            job = self._take(task)
            if job is None:
                break
            if task == "check" or not self._fail_if_disk_full(job):
                process = self._start_process(task, job)
                if process:
                    self._processes[job.id] = process
            if task == "train" and self._is_outage:
                break
        if task == "train":
            queue.explain(self._count_processes(task), self._processes)

    def _take(self, task: Task) -> JobObject | None:
        """Return the job to start next, if there is room for it."""
        if task == "check":
            return self._queues[task].take(self._count_processes(task), self._processes)
        if time.monotonic() < self._next_start:
            return None
        if time.monotonic() >= self._next_retry:
            self._obstacles.clear()
            self._next_retry = time.monotonic() + OBSTACLE_SECONDS
        while True:
            count = len(self._obstacles)
            excluded = self._processes.keys() | self._obstacles.keys()
            job = self._queues[task].take(self._count_processes(task), excluded, self._has_room)
            if job or len(self._obstacles) == count:
                return job

    def _has_room(self, job: JobObject) -> bool:
        """Return True if the runner has room for a job. If it never will, add an event, once."""
        room = self._runners["train"].room(job)
        if room.obstacle:
            self._obstacles[job.id] = room.obstacle
            message = f"The job waits: {room.obstacle}"
            add_event(self._database, job.id, job.tenant, message, "warn", key="obstacle")
        elif not room.is_free:
            # Smaller jobs do not overtake it, or it might wait forever.
            self._next_start = time.monotonic() + ROOM_SECONDS
        return room.is_free

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

    def _start_process(self, task: Task, job: JobObject) -> JobProcess | None:
        """Start a process of a job. Return None if there is nothing to observe."""
        if task == "check":
            limit = self._validation_seconds(job)
            handle = self._runners[task].start(task, job, Attempt(job.id, 0))
            return JobProcess(task, job.tenant, handle, time.monotonic(), limit)
        attempt = None if self._is_outage else new_attempt(self._database, job.id)
        if attempt is None:
            return None
        adopt_checkpoint(self._folder, job.id, attempt.number)
        if self._runners["train"] is self._runners["check"]:
            self._before_training()
        process = JobProcess(task, job.tenant, attempt.name, time.monotonic())
        try:
            with self._noting_outages():
                process.handle = self._runners[task].start(task, job, attempt)
                store_handle(self._database, attempt, process.handle)
        except RunnerError as error:
            fail(self._database, job.id, "server_error", str(error))
            return None
        return process

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

    def _handle_exit(self, id: str, running: JobProcess, end: Ended) -> None:
        """Release what the process of a job used, and retry or fail the job unless it is done."""
        # In one transaction: the process may live on, and report that it has finished the job.
        with self._database.transaction():
            job = self._database.get(JobObject, id)
            if running.task == "train":
                end_attempt(self._database, id)
            is_paused = self._finish_pausing(id)
            if not is_paused and job and job.status in _statuses_during(running.task):
                if not running.is_stopped:
                    self._handle_unexpected_end(job, running.task, end)
                elif running.task == "train":  # it was paused or cancelled, and then resumed
                    transition(self._database, id, ("running",), "queued", "The job is queued")
        if running.task == "check" and job:
            for sha256 in job.hashes.values():
                remove_unused_blob(self._database, self._folder, sha256)
        remove_job_data(self._database, self._folder, id)

    def _handle_unexpected_end(self, job: JobObject, task: Task, end: Ended) -> None:
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
        self._database.change(JobObject, job.id, lambda job: setattr(job, counter, count))
        message = f"The process of the job ended ({end.cause}) and is restarted"
        add_event(self._database, job.id, job.tenant, message, "warn")
        if task == "train":
            transition(self._database, job.id, ("running",), "queued", "The job is queued")


def _statuses_during(task: Task) -> tuple[JobStatus, ...]:
    """Return the statuses of a job whose process has not completed its task."""
    return ("validating_files",) if task == "check" else ("queued", "running")


def _stopping_statuses(task: Task) -> tuple[JobStatus, ...]:
    """Return the statuses of a job whose process is to be stopped."""
    # A paused job is not trained, but the result of its validation is recorded.
    return ("cancelled", "failed") if task == "check" else ("cancelled", "failed", "paused")
