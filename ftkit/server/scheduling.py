"""Order of the jobs that wait for a process: limits, round robin between tenants, priorities.

Nothing here reads the database; `job_queue.py` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from ftkit._text import plural
from ftkit.server.errors import EXCERPT, InvalidRequestError

PRIORITY_KEY = "ftkit_priority"
"""Key of a job's metadata that holds its priority."""

MAX_PRIORITY = 10
"""Highest priority; the lowest is its negative."""

INTERRUPTED = MAX_PRIORITY + 1
"""Rank of a job that was running when the service ended, so that it continues first."""

MAX_POSITION = 1_000
"""Maximum number of jobs that are counted before a waiting job."""

_INTEGER = re.compile(r"-?[0-9]{1,2}", re.ASCII)


class WaitingJob(Struct, frozen=True):
    """First waiting job of a tenant.

    Attributes:
        rank: Priority of the job, or `INTERRUPTED`.
        number: Number of the job in the order of creation.
    """

    id: str
    tenant: str
    rank: int
    number: int


class Blocked(Struct, frozen=True):
    """Reason why no process is started although the limits allow it.

    Attributes:
        job: Id of the next job in the queue if only that job has no room, or None.
        reason: Reason why that job, or any job, has no room.
    """

    job: str | None
    reason: str


class Capacity(Struct, frozen=True):
    """Number of processes that may run at a time.

    Attributes:
        total: Maximum number of processes.
        per_tenant: Maximum number of processes of each tenant, or None.
        shared_priorities: Compare the priorities of jobs of different tenants.
    """

    total: int
    per_tenant: int | None = None
    shared_priorities: bool = False


def read_priority(metadata: Mapping[str, str] | None) -> int:
    """Return the priority in the metadata of a job, which is 0 by default.

    Raises:
        InvalidRequestError: The priority is not an integer, or out of range.
    """
    text = (metadata or {}).get(PRIORITY_KEY, "0")
    if not _INTEGER.fullmatch(text) or abs(int(text)) > MAX_PRIORITY:
        raise InvalidRequestError(
            f"Invalid 'metadata.{PRIORITY_KEY}': expected an integer from {-MAX_PRIORITY} to"
            f" {MAX_PRIORITY}, got '{text[:EXCERPT]}'.",
            "metadata",
            "invalid_value",
        )
    return int(text)


def choose_job(
    waiting: Iterable[WaitingJob],
    running: Mapping[str, int],
    turns: Mapping[str, int],
    capacity: Capacity,
) -> WaitingJob | None:
    """Return the job to start next, or None if none may be started.

    The tenant with the fewest processes comes first, then the one whose last turn is longest ago.
    A tenant without a process is therefore passed over at most once by each of the others.
    Interrupted jobs come before all others. With `shared_priorities`, jobs with a higher priority
    come before those with a lower one, whoever owns them.

    Args:
        waiting: First waiting job of each tenant: the oldest of its jobs with the highest rank.
        running: Number of processes of each tenant.
        turns: Number of the last turn of each tenant.
        capacity: Number of processes that may run.
    """

    def order(job: WaitingJob) -> tuple[int, int, int, int]:
        rank = job.rank if capacity.shared_priorities or job.rank == INTERRUPTED else 0
        return -rank, running.get(job.tenant, 0), turns.get(job.tenant, 0), job.number

    if sum(running.values()) >= capacity.total:
        return None
    allowed = (job for job in waiting if not is_at_limit(job.tenant, running, capacity))
    return min(allowed, key=order, default=None)


def is_at_limit(tenant: str, running: Mapping[str, int], capacity: Capacity) -> bool:
    """Return True if a tenant has as many processes as it may have."""
    limit = capacity.per_tenant
    return limit is not None and running.get(tenant, 0) >= limit


def explain_wait(
    job: WaitingJob,
    running: Mapping[str, int],
    capacity: Capacity,
    blocked: Blocked | None = None,
) -> str:
    """Return why the first waiting job of a tenant is not started, or "" if it may start."""
    own, limit = running.get(job.tenant, 0), capacity.per_tenant
    if limit is not None and own >= limit:
        return _count_running(own, limit, "this key")
    total = sum(running.values())
    if total >= capacity.total:
        return _count_running(total, capacity.total, "all keys")
    if blocked is None:
        return ""
    is_own = blocked.job in (None, job.id)
    return blocked.reason if is_own else "the next job in the queue has no room yet"


def explain_position(before: int) -> str:
    """Return why a job waits that is not the first of its tenant.

    Args:
        before: Number of jobs before it, at most `MAX_POSITION`.
    """
    jobs = f"{before:,} or more jobs" if before == MAX_POSITION else plural(before, "job")
    return f"{jobs} of this key {_is_or_are(before)} before it"


def _count_running(count: int, limit: int, owner: str) -> str:
    return f"{count:,} of {limit:,} jobs of {owner} {_is_or_are(count)} running"


def _is_or_are(count: int) -> str:
    return "is" if count == 1 else "are"
