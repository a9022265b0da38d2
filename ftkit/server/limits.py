"""Limits on the number of jobs of a tenant."""

from __future__ import annotations

from ftkit.server.database import Database
from ftkit.server.errors import limit_reached
from ftkit.server.objects import UNFINISHED, JobObject

MAX_UNFINISHED = 1_000
"""Maximum number of unfinished jobs of a tenant."""

MAX_JOBS = 100_000
"""Maximum number of jobs of a tenant, finished or not."""


def check_number(database: Database, tenant: str) -> None:
    """Check that a tenant can create a job.

    Raises:
        LimitReachedError: The tenant has too many jobs.
    """
    if database.count(JobObject, tenant, *UNFINISHED) >= MAX_UNFINISHED:
        raise limit_reached(
            f"This account has {MAX_UNFINISHED:,} unfinished jobs;"
            " wait until some have finished, or cancel some."
        )
    if database.count(JobObject, tenant) >= MAX_JOBS:
        raise limit_reached(f"This account has {MAX_JOBS:,} jobs, the maximum.")
