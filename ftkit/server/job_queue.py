"""Queue of the jobs that wait for a process, in the database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial

import msgspec

from ftkit.server.database import Database
from ftkit.server.lifecycle import add_event
from ftkit.server.objects import JobObject, JobStatus, TurnObject
from ftkit.server.runner import RunnerUnavailableError
from ftkit.server.scheduling import Blocked, Capacity, WaitingJob, choose_job, explain_wait
from ftkit.server.waiting import first_in_queue

EXPLAIN_SECONDS = 1.0
"""Seconds between two checks of the reasons why jobs wait."""

MAX_REASONS = 20
"""Maximum number of events with reasons that a job gets, since reasons can alternate."""

JOBS_PER_CHECK = 100
"""Maximum number of jobs that get such an event in one check."""


class UnusableJobError(Exception):
    """A job cannot be started.

    Attributes:
        job: Id of the job.
        tenant: Tenant that owns it.
        cause: The reason.
    """

    def __init__(self, job: str, tenant: str, cause: Exception) -> None:
        super().__init__(f"job {job} cannot be started: {cause}")
        self.job, self.tenant, self.cause = job, tenant, cause


class JobQueue:
    """Queue of the jobs that wait for a process. Only one thread may use it.

    The last turns of the tenants are stored, so a restarted service continues in the same order.
    Each method loads at most one job of each tenant, however many wait.

    Args:
        database: Database of the service.
        status: Status of the waiting jobs.
        capacity: Number of processes that may run.
    """

    def __init__(self, database: Database, status: JobStatus, capacity: Capacity) -> None:
        self._database, self._status = database, status
        self.capacity = capacity
        turns = database.matching(TurnObject, waiting_status=status)
        self._turns = {turn.tenant: turn.number for turn in turns}
        self._reasons: dict[str, str] = {}
        self._next_check = 0.0

    def take(
        self,
        running: Mapping[str, int],
        excluded: Collection[str],
        has_room: Callable[[JobObject], bool] = lambda job: True,
    ) -> JobObject | None:
        """Return the job to start next, and record the turn of its tenant.

        Args:
            running: Number of processes of each tenant.
            excluded: Ids of jobs that have a process already, or cannot have one.
            has_room: Returns True if a job can be started. If not, it keeps its turn.

        Returns:
            The job, or None if no job waits or may be started.

        Raises:
            UnusableJobError: The job that is next cannot be read, or `has_room` raises.
        """
        if sum(running.values()) >= self.capacity.total:
            return None  # without a look at the database, since this is asked at each poll
        chosen = choose_job(self._waiting(excluded), running, self._turns, self.capacity)
        if chosen is None or not self._can_start(chosen, has_room):
            return None
        turn = TurnObject.of(self._status, chosen.tenant, max(self._turns.values(), default=0) + 1)
        with self._database.transaction():
            self._database.remove(TurnObject, turn.id)
            self._database.add(turn)
            job = self._database.change(JobObject, chosen.id, _forget_reason)
        self._turns[chosen.tenant] = turn.number
        self._reasons.pop(chosen.id, None)
        return job

    def _can_start(self, chosen: WaitingJob, has_room: Callable[[JobObject], bool]) -> bool:
        try:
            job = self._database.get(JobObject, chosen.id)
            return job is not None and has_room(job)
        except (RunnerUnavailableError, sqlite3.Error):  # which concern all jobs
            raise
        except Exception as error:
            raise UnusableJobError(chosen.id, chosen.tenant, error) from error

    def explain(
        self,
        running: Mapping[str, int],
        excluded: Collection[str],
        blocked: Blocked | None = None,
    ) -> None:
        """Add an event to the first waiting job of each tenant that waits for a new reason.

        Calls within `EXPLAIN_SECONDS` of the last check do nothing.

        Args:
            running: Number of processes of each tenant.
            excluded: Ids of jobs that have a process already.
            blocked: Reason why no job is started although the limits allow it, or None.
        """
        if time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + EXPLAIN_SECONDS
        reasons = {
            job.id: explain_wait(job, running, self.capacity, blocked)
            for job in self._waiting(excluded)
        }
        changed = [id for id, reason in reasons.items() if self._reasons.get(id, "") != reason]
        if not changed:
            return  # without a transaction, which would write
        changed = changed[:JOBS_PER_CHECK]
        with self._database.transaction():
            for id in changed:
                self._record_reason(id, reasons[id])
        waiting = {id: reason for id, reason in self._reasons.items() if id in reasons}
        self._reasons = waiting | {id: reasons[id] for id in changed}

    def _record_reason(self, id: str, reason: str) -> None:
        """Add an event with a reason, unless it is the last one that the job got."""
        try:
            job = self._database.get(JobObject, id)
        except msgspec.ValidationError:  # `take` raises it
            return
        if job is None or job.status != self._status or reason in ("", job.wait_reason):
            return
        if job.explanations < MAX_REASONS:
            self._database.change(JobObject, id, partial(_set_reason, reason))
            add_event(self._database, id, job.tenant, f"The job waits: {reason}")

    def _waiting(self, excluded: Collection[str]) -> list[WaitingJob]:
        """Return the first waiting job of each tenant."""
        rows = first_in_queue(self._database, self._status, excluded)
        return [WaitingJob(*row) for row in rows]


def _set_reason(reason: str, job: JobObject) -> None:
    job.wait_reason, job.explanations = reason, job.explanations + 1


def _forget_reason(job: JobObject) -> bool:
    """Forget why a job waited. Return False if no reason was recorded."""
    waited = bool(job.wait_reason)
    job.wait_reason = ""
    return waited
