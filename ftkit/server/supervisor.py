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
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import msgspec

from ftkit.server.attempts import adopt_checkpoint, end_attempt, new_attempt, store_handle
from ftkit.server.backoff import Backoff
from ftkit.server.cleanup import delete_expired_files, remove_expired, remove_job_data
from ftkit.server.database import Database
from ftkit.server.errors import FullDiskError
from ftkit.server.folder import Folder
from ftkit.server.job_processes import (
    JobProcess,
    finish_pausing,
    handle_end,
    stopping_statuses,
)
from ftkit.server.job_queue import JobQueue, UnusableJobError
from ftkit.server.lifecycle import add_event, fail, transition
from ftkit.server.local_processes import LocalProcesses
from ftkit.server.objects import JobObject, JobStatus
from ftkit.server.outages import ObservedRunner
from ftkit.server.runner import (
    Attempt,
    Ended,
    Runner,
    RunnerError,
    RunnerUnavailableError,
    Task,
)
from ftkit.server.scheduling import INTERRUPTED, Blocked, Capacity

POLL_SECONDS = 0.1
"""Seconds between polls of the jobs and processes."""

ROOM_SECONDS = 0.5
"""Seconds to wait before a runner without room is asked again."""

OBSTACLE_SECONDS, MAX_OBSTACLE_SECONDS = 5.0, 60.0
"""Minimum and maximum seconds to wait before a runner is asked again about jobs it cannot run."""

OBSTACLE_SECONDS_PER_JOB = 0.1
"""Seconds to wait for each of these jobs, since all are read again."""

EXPIRY_SECONDS = 60
"""Seconds between removals of what has expired."""

MAX_VALIDATIONS = 2
"""Maximum number of concurrent validations."""

VALIDATION_SECONDS = 120.0
"""Maximum duration of a validation, without the time for the size of the files."""

VALIDATION_BYTES_PER_SECOND = 200_000
"""Minimum speed of a validation. Encoding the examples takes most of it, about 1 MB a second."""

logger = logging.getLogger("ftkit.server")

OUTAGE = Blocked(None, "the cluster cannot be reached")
"""Reason to wait for all jobs during an outage of the runner of training processes."""

STARTS_FROM: dict[Task, JobStatus] = {"check": "validating_files", "train": "queued"}
"""Status of the jobs for which a process with that task is started."""


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
        self._training_runner = ObservedRunner(runner or local)
        self._runners: dict[Task, Runner] = {"check": local, "train": self._training_runner}
        self._trains_here = runner is None
        capacities: dict[Task, Capacity] = {"check": Capacity(MAX_VALIDATIONS), "train": capacity}
        self._queues = {
            task: JobQueue(database, STARTS_FROM[task], capacities[task]) for task in STARTS_FROM
        }
        self._processes: dict[str, JobProcess] = {}
        self._obstacles: dict[str, str] = {}  # why no node can run a job, by its id
        self._backoff = Backoff()  # by the id of a job, or by a task of the supervisor
        self._unrecovered: dict[str, str] | None = None  # tenants, by the id of their job
        self._blocked: Blocked | None = None  # the next job, while the runner has no room for it
        self._next_room_check = self._next_obstacle_check = 0.0
        self._stopping = threading.Event()
        self._next_removal = time.monotonic() + EXPIRY_SECONDS

    def run(self) -> None:
        """Supervise until `stop` is called."""
        while not self._stopping.wait(POLL_SECONDS):
            self._try("the jobs", self._poll)

    def stop(self) -> None:
        """Stop the thread and the processes on this machine. A restarted server goes on."""
        self._stopping.set()
        self.join()
        for runner in self._runners.values():
            runner.close()
        for id in self._processes:
            # The next start clears it.
            with suppress(OSError, sqlite3.Error, msgspec.ValidationError):
                remove_job_data(self._database, self._folder, id)

    def _recover(self) -> None:
        """Find the processes that outlived an earlier server, and restart the other jobs."""
        if self._unrecovered is None:
            statuses = ("queued", "running", "pausing")
            self._unrecovered = self._database.owners(JobObject, *statuses)
        for id, tenant in list(self._unrecovered.items()):
            self._try(f"recover {id}", partial(self._recover_job, id), id, tenant)

    def _recover_job(self, id: str) -> None:
        job = self._database.get(JobObject, id)
        if job and (job.handle or job.status != "queued"):
            if job.handle and self._is_alive(job.handle):
                process = JobProcess("train", job.tenant, job.handle, time.monotonic())
                self._processes[id] = process
            else:
                self._requeue(id)
        assert self._unrecovered is not None
        del self._unrecovered[id]

    def _requeue(self, id: str) -> None:
        """Restart a job whose process ended with an earlier server, unless it was to be paused."""
        with self._database.transaction():
            end_attempt(self._database, id)
            message = "The service was restarted; the job continues"
            transition(self._database, id, ("running",), "queued", message, rank=INTERRUPTED)
            finish_pausing(self._database, id)

    def _is_alive(self, handle: str) -> bool:
        """Return False if a process has ended for certain."""
        if not self._training_runner.is_paused:
            with suppress(RunnerUnavailableError):
                return not isinstance(self._training_runner.state(handle), Ended)
        return True

    def _poll(self) -> None:
        self._recover()
        for id, running in list(self._processes.items()):
            if running.task == "check" or not self._training_runner.is_paused:
                self._try(id, partial(self._observe, id, running), id, running.tenant)
        for task in STARTS_FROM:
            if task == "check" or not self._training_runner.is_paused:
                self._try(f"the queue to {task}", partial(self._start_processes, task))
        self._try("the waiting jobs", self._explain_waits)
        self._try("what has expired", self._remove_expired)

    def _try(self, key: str, action: Callable[[], object], job: str = "", tenant: str = "") -> None:
        """Do something, unless it failed recently. A failure concerns nothing else.

        Calls of a runner that cannot be reached are repeated by the next poll after its pause.

        Args:
            key: Key of its failures.
            action: What is to be done.
            job: Job that it is done for, or "".
            tenant: Tenant that owns the job.
        """
        if self._backoff.is_waiting(key):
            return
        try:
            with suppress(RunnerUnavailableError):
                action()
        except Exception as error:  # for example a full disk, which may have room again later
            self._note_failure(key, error, job, tenant)
        else:
            self._backoff.clear(key)

    def _note_failure(self, key: str, error: Exception, job: str, tenant: str) -> None:
        """Log a failure, and add it to the events of its job, both once."""
        if not self._backoff.record(key, error):
            return
        logger.error("Cannot supervise %s; trying again", key, exc_info=error)
        reason = _explain(error)
        message = f"The service cannot run the job now ({reason}); it tries again"
        if job:
            with suppress(Exception):  # the failure is in the log
                add_event(self._database, job, tenant, message, "warn", key=f"failure {reason}")

    def _observe(self, id: str, running: JobProcess) -> None:
        """Handle the end of a process, or stop one that should not run any more."""
        runner = self._runners[running.task]
        state = running.end or runner.state(running.handle)
        if isinstance(state, Ended):
            running.end = state  # if handling it fails, for example on a full disk
            handle_end(self._database, self._folder, id, running, state)
            del self._processes[id]
            self._after_exit()
            return
        job = self._database.get(JobObject, id)
        if job is None or job.status in stopping_statuses(running.task):
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
            self._try(job.id, partial(self._start, task, job), job.id, job.tenant)
            if task == "train" and self._training_runner.is_paused:
                break

    def _explain_waits(self) -> None:
        blocked = OUTAGE if self._training_runner.is_in_outage else self._blocked
        queue = self._queues["train"]
        queue.explain(self._count_processes("train"), self._excluded(), blocked)

    def _take(self, task: Task) -> JobObject | None:
        """Return the job to start next, if there is room for it."""
        has_room = self._has_room if task == "train" else _always_has_room
        if task == "train":
            if time.monotonic() < self._next_room_check:
                return None
            self._forget_obstacles()
        while True:
            excluded = self._excluded()
            try:
                running = self._count_processes(task)
                job = self._queues[task].take(running, excluded, has_room)
            except UnusableJobError as error:
                self._note_failure(error.job, error.cause, error.job, error.tenant)
                continue
            if job or self._excluded() == excluded:
                return job

    def _excluded(self) -> set[str]:
        """Return the ids of the jobs for which no process is to be started now."""
        unrecovered = self._unrecovered or {}
        waiting = self._backoff.waiting()
        return {*self._processes, *self._obstacles, *unrecovered, *waiting}

    def _forget_obstacles(self) -> None:
        """Forget after a while why no node can run some jobs, since the nodes may be others."""
        if time.monotonic() >= self._next_obstacle_check:
            seconds = max(OBSTACLE_SECONDS, OBSTACLE_SECONDS_PER_JOB * len(self._obstacles))
            self._next_obstacle_check = time.monotonic() + min(seconds, MAX_OBSTACLE_SECONDS)
            self._obstacles.clear()

    def _has_room(self, job: JobObject) -> bool:
        """Return True if the runner has room for a job. If no node could run it, add an event."""
        room = self._training_runner.room(job)
        self._blocked = Blocked(job.id, room.reason) if room.reason else None
        if room.obstacle:
            self._obstacles[job.id] = room.obstacle
            message = f"The job waits: {room.obstacle}"
            add_event(self._database, job.id, job.tenant, message, "warn", key="obstacle")
        elif not room.is_free:
            # Smaller jobs do not overtake it, or it might wait forever.
            self._next_room_check = time.monotonic() + ROOM_SECONDS
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
        return Counter(
            item.tenant for item in self._processes.values() if item.task == task and not item.end
        )

    def _start(self, task: Task, job: JobObject) -> None:
        """Start a process of a job."""
        if task == "train" and self._fail_if_disk_full(job):
            return
        process = self._start_process(task, job)
        if process:
            self._processes[job.id] = process

    def _start_process(self, task: Task, job: JobObject) -> JobProcess | None:
        """Start a process of a job. Return None if there is nothing to observe."""
        if task == "check":
            limit = self._validation_seconds(job)
            handle = self._runners[task].start(task, job, Attempt(job.id, 0))
            return JobProcess(task, job.tenant, handle, time.monotonic(), limit)
        attempt = None if self._training_runner.is_paused else new_attempt(self._database, job.id)
        if attempt is None:
            return None
        try:
            return self._start_attempt(job, attempt)
        except RunnerError as error:
            fail(self._database, job.id, "server_error", str(error))
            return None
        except Exception:
            # There may be a process all the same, as after a crash of the service.
            self._unrecovered = {**(self._unrecovered or {}), job.id: job.tenant}
            raise

    def _start_attempt(self, job: JobObject, attempt: Attempt) -> JobProcess:
        adopt_checkpoint(self._folder, job.id, attempt.number)
        if self._trains_here:
            self._before_training()
        process = JobProcess("train", job.tenant, attempt.name, time.monotonic())
        with suppress(RunnerUnavailableError):  # the process may run: its state decides
            process.handle = self._training_runner.start("train", job, attempt)
            store_handle(self._database, attempt, process.handle)
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


def _always_has_room(job: JobObject) -> bool:
    return True


def _explain(error: Exception) -> str:
    """Return the reason of a failure for the owner of a job, without a path of the service."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) if isinstance(error, sqlite3.Error) else type(error).__name__
