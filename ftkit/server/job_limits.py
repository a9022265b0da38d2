"""Limits on the jobs of a tenant."""

from __future__ import annotations

from msgspec import Struct

from ftkit._text import plural
from ftkit.server.database import Database
from ftkit.server.errors import limit_reached
from ftkit.server.objects import UNFINISHED, JobObject

MAX_JOBS = 100_000
"""Maximum number of jobs of a tenant, finished or not."""

MAX_PAUSES = 1_000
"""Maximum number of times that a job can be paused, since each adds events."""


class TenantLimits(Struct, frozen=True):
    """Limits on the jobs of each tenant.

    Attributes:
        running: Maximum number of concurrent training jobs, or None.
        unfinished: Maximum number of unfinished jobs.
    """

    running: int | None = None
    unfinished: int = 1_000


DEFAULT_LIMITS = TenantLimits()
"""Limits of a service that sets no others."""


def check_job_count(database: Database, tenant: str, limits: TenantLimits) -> None:
    """Check that a tenant can create a job.

    Raises:
        LimitReachedError: The tenant has too many jobs.
    """
    if database.count(JobObject, tenant, *UNFINISHED) >= limits.unfinished:
        raise limit_reached(
            f"This account has {plural(limits.unfinished, 'unfinished job')}, the maximum;"
            " wait until some have finished, or cancel some."
        )
    if database.count(JobObject, tenant) >= MAX_JOBS:
        raise limit_reached(f"This account has {MAX_JOBS:,} jobs, the maximum.")


def check_pauses(job: JobObject) -> None:
    """Check that a job can be paused once more.

    Raises:
        LimitReachedError: The job was paused too often.
    """
    if job.pauses >= MAX_PAUSES:
        raise limit_reached(f"A job can be paused at most {MAX_PAUSES:,} times.")
