"""Searching, sorting and paging of a tenant's jobs.

The time of each query is bounded by the number of jobs of the tenant, not by the number of events.
"""

from __future__ import annotations

import json

from msgspec import Struct

from ftkit.server.database import Database, lower
from ftkit.server.objects import UNFINISHED, JobObject, JobStatus

STATUS_GROUPS: dict[str, tuple[JobStatus, ...]] = {
    "unfinished": UNFINISHED,
    "running": ("running", "pausing"),
    "waiting": ("validating_files", "queued"),
    "paused": ("paused",),
    "succeeded": ("succeeded",),
    "failed": ("failed",),
    "cancelled": ("cancelled",),
}
"""Statuses by the name of the filter that selects them."""

MAX_SCANNED = 200
"""Maximum number of events of a job that are read for a value of its last step."""

MAX_MODEL_LENGTH = 500
"""Maximum number of characters of the name of a base model to choose."""

SEARCHED = (
    *(f"shown, '$.{name}'" for name in ("id", "model", "fine_tuned_model", "training_file")),
    *(f"shown, '$.{name}'" for name in ("user_provided_suffix", "error.message")),
    *(f"kept, '$.names.{name}'" for name in ("training", "validation")),
)
"""Values of a job in which a text is searched, beside its metadata."""

EVENTS = (
    "SELECT seq, shown FROM things WHERE kind = 'event' AND tenant = {tenant} AND parent = {id}"
)
"""SQL query for the events of a job."""


def _last_value(name: str) -> str:
    """Return the SQL expression for the last value of a metric of a job."""
    events = EVENTS.format(tenant="jobs.tenant", id="jobs.id")
    return (
        f"(SELECT json_extract(shown, '$.data.{name}') FROM"
        f" ({events} ORDER BY seq DESC LIMIT {MAX_SCANNED})"
        f""" WHERE instr(shown, '"{name}"') AND json_extract(shown, '$.data.{name}') IS NOT NULL"""
        " LIMIT 1)"
    )


SORT_KEYS = {
    "created": "seq",
    "finished": "json_extract(shown, '$.finished_at')",
    "duration": (
        "coalesce(json_extract(shown, '$.finished_at'), CAST(strftime('%s', 'now') AS INTEGER))"
        " - json_extract(shown, '$.created_at')"
    ),
    "train_loss": _last_value("train_loss"),
    "valid_loss": (
        "CASE WHEN json_extract(shown, '$.validation_file') IS NOT NULL"
        f" THEN {_last_value('valid_loss')} END"
    ),
}
"""SQL expressions by the name of the value that the jobs are sorted by."""


class JobQuery(Struct, frozen=True, kw_only=True):
    """Selection of a page of a tenant's jobs.

    Attributes:
        group: One of `STATUS_GROUPS`, or "" for all statuses.
        model: Base model as the client named it, or "".
        text: Part of an id, a name, a file name, the metadata or an error, or "".
        sort: One of `SORT_KEYS`.
        is_descending: Highest values first. Jobs without a value come last in any case.
        page: Number of the page, from 1.
        size: Maximum number of jobs on a page.
    """

    group: str = ""
    model: str = ""
    text: str = ""
    sort: str = "created"
    is_descending: bool = True
    page: int = 1
    size: int = 25

    def condition(self) -> tuple[str, dict[str, str | int]]:
        """Return the SQL condition on the jobs except on their status, and its parameters."""
        condition = "kind = 'job' AND tenant = :tenant AND parent = ''"
        values: dict[str, str | int] = {}
        if self.model:
            condition += " AND json_extract(shown, '$.model') = :model"
            values["model"] = self.model
        if self.text:
            parts = " OR ".join(f"instr(lower(json_extract({name})), :text)" for name in SEARCHED)
            metadata = (
                "SELECT 1 FROM json_each(shown, '$.metadata') WHERE instr(lower(value), :text)"
            )
            condition += f" AND ({parts} OR EXISTS ({metadata}))"
            values["text"] = lower(self.text)
        return condition, values


def find_jobs(database: Database, tenant: str, query: JobQuery) -> list[JobObject]:
    """Return the jobs of a page."""
    condition, values = query.condition()
    if query.group:
        statuses = ", ".join(f"'{status}'" for status in STATUS_GROUPS[query.group])
        condition += f" AND status IN ({statuses})"
    order = "DESC" if query.is_descending else "ASC"
    key = SORT_KEYS[query.sort]
    statement = (
        f"SELECT parent, shown, kept, {key} AS value FROM things AS jobs WHERE {condition}"
        f" ORDER BY value IS NULL, value {order}, seq {order} LIMIT :size OFFSET :start"
    )
    values |= {"tenant": tenant, "size": query.size, "start": (query.page - 1) * query.size}
    return [
        JobObject.from_documents(tenant, parent, json.loads(public), json.loads(internal))
        for parent, public, internal, _ in database.rows(statement, values)
    ]


def count_jobs(database: Database, tenant: str, query: JobQuery) -> dict[str, int]:
    """Return the numbers of jobs that a query selects in each status, whatever its group."""
    condition, values = query.condition()
    statement = f"SELECT status, count(*) FROM things WHERE {condition} GROUP BY status"
    return dict(database.rows(statement, values | {"tenant": tenant}))


def list_models(database: Database, tenant: str, limit: int) -> list[str]:
    """Return the base models of a tenant's jobs, in alphabetical order, at most `limit`."""
    statement = (
        "SELECT DISTINCT json_extract(shown, '$.model') AS model FROM things"
        " WHERE kind = 'job' AND tenant = :tenant AND parent = ''"
        " AND length(model) BETWEEN 1 AND :length"
        " ORDER BY model LIMIT :limit"
    )
    values: dict[str, str | int] = {"tenant": tenant}
    values |= {"length": MAX_MODEL_LENGTH, "limit": limit}
    return [row[0] for row in database.rows(statement, values)]
