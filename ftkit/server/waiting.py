"""Queries on the jobs that wait in a queue, whose time does not depend on their number."""

from __future__ import annotations

import json
from collections.abc import Collection

from ftkit.server.database import RANK, Database
from ftkit.server.objects import JobObject, JobStatus

FIRST_IN_QUEUE = f"""
WITH RECURSIVE tenants (name) AS (
    SELECT min(tenant) FROM things WHERE kind = :kind AND status = :status
    UNION ALL
    SELECT (
        SELECT min(tenant) FROM things
        WHERE kind = :kind AND status = :status AND tenant > tenants.name
    ) FROM tenants WHERE tenants.name IS NOT NULL
), firsts (seq) AS (
    SELECT (
        SELECT seq FROM things
        WHERE kind = :kind AND status = :status AND tenant = tenants.name
        AND id NOT IN (SELECT value FROM json_each(:excluded))
        ORDER BY {RANK} DESC, seq LIMIT 1
    ) FROM tenants WHERE tenants.name IS NOT NULL
)
SELECT id, tenant, {RANK}, seq FROM firsts JOIN things USING (seq)
"""
"""First job of each tenant in a queue.

Each step is a search of the index (a loose index scan), so the time does not depend on the number
of jobs.
"""

BEFORE_IN_QUEUE = f"""
SELECT count(*) FROM (
    SELECT 1 FROM things
    WHERE kind = :kind AND status = :status AND tenant = :tenant AND {RANK} > :rank
    UNION ALL
    SELECT 1 FROM things
    WHERE kind = :kind AND status = :status AND tenant = :tenant AND {RANK} = :rank
    AND seq < (SELECT seq FROM things WHERE kind = :kind AND id = :id)
    LIMIT :limit
)
"""
"""Number of jobs before another in the queue of its tenant, up to a limit."""


def first_in_queue(
    database: Database, status: JobStatus, excluded: Collection[str]
) -> list[tuple[str, str, int, int]]:
    """Return the first job of each tenant with that status, in the order of the tenants.

    It is the oldest of those with the tenant's highest rank.

    Args:
        database: Database of the service.
        status: Status of the jobs.
        excluded: Ids of jobs to skip.

    Returns:
        For each job its id, tenant and rank, and its number in the order of creation.
    """
    values = {"kind": JobObject.kind, "status": status, "excluded": json.dumps(list(excluded))}
    return database.rows(FIRST_IN_QUEUE, values)


def count_before(database: Database, job: JobObject, limit: int) -> int:
    """Return the number of jobs before another in the queue of its tenant, up to a limit."""
    values: dict[str, str | int] = {"kind": job.kind, "id": job.id, "tenant": job.tenant}
    values |= {"status": job.status, "rank": job.rank, "limit": limit}
    return int(database.rows(BEFORE_IN_QUEUE, values)[0][0])
