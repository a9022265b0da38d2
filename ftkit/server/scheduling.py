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
"""Number at which the jobs before a waiting job are no longer counted."""

INTEGER = re.compile(r"-?[0-9]{1,2}", re.ASCII)
"""Notation of a priority."""


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


class Capacity(Struct, frozen=True):
    """Number of processes that may run at a time.

    Attributes:
        total: Maximum number of processes.
        tenant: Maximum number of processes of each tenant, or None.
        shared_priorities: Compare the priorities of all tenants, and not only those of each.
    """

    total: int
    tenant: int | None = None
    shared_priorities: bool = False


def read_priority(metadata: Mapping[str, str] | None) -> int:
    """Return the priority in the metadata of a job, which is 0 by default.

    Raises:
        InvalidRequestError: The priority is no integer, or out of range.
    """
    text = (metadata or {}).get(PRIORITY_KEY, "0")
    if not INTEGER.fullmatch(text) or abs(int(text)) > MAX_PRIORITY:
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
    Interrupted jobs come before all others, and with `shared_priorities` those with a higher
    priority do.

    Args:
        waiting: First waiting job of each tenant: the oldest of those with its highest rank.
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
    return capacity.tenant is not None and running.get(tenant, 0) >= capacity.tenant


def explain_wait(job: WaitingJob, running: Mapping[str, int], capacity: Capacity) -> str:
    """Return the reason why the first job of a tenant is not started, or "" if it may be."""
    if capacity.tenant is not None and is_at_limit(job.tenant, running, capacity):
        return _share(running[job.tenant], capacity.tenant, "this key")
    total = sum(running.values())
    return _share(total, capacity.total, "all keys") if total >= capacity.total else ""


def explain_position(before: int) -> str:
    """Return the reason why a job waits that is not the first of its tenant.

    Args:
        before: Number of jobs before it, at most `MAX_POSITION`.
    """
    jobs = f"{before:,} or more jobs" if before == MAX_POSITION else plural(before, "job")
    return f"{jobs} of this key {_verb(before)} before it"


def _share(count: int, limit: int, owner: str) -> str:
    return f"{count:,} of {limit:,} jobs of {owner} {_verb(count)} running"


def _verb(count: int) -> str:
    return "is" if count == 1 else "are"
