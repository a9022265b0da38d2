"""Progress of a job from its events, of which samples are read if they are many."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from ftkit.server.database import Database
from ftkit.server.job_search import EVENTS
from ftkit.server.objects import JobObject

MAX_EVENTS = 256
"""Maximum number of events of a job that are all read; of more, samples are."""

LATEST = 20
"""Number of events that are read beside the samples: the latest."""

SAMPLES = 48
"""Number of samples of the training losses of a job."""

VALID_SAMPLES = 16
"""Number of samples of the validation losses of a job."""

TRAIN_DISTANCE = 8
"""Maximum number of events that are read for a sample of the training losses."""

VALID_DISTANCE = 64
"""Maximum number of events that are read for a sample of the validation losses."""

Losses = list[tuple[int, float]]
"""Losses by step."""


class JobProgress(Struct, frozen=True):
    """Progress of a job.

    Attributes:
        step: Last step with a training loss, 0 before the first one.
        total: Number of steps, 0 if it is unknown.
        train: Training losses, a sample of many.
        valid: Validation losses, a sample of many.
    """

    step: int = 0
    total: int = 0
    train: Losses = []
    valid: Losses = []


class _Metrics(Struct):
    """Metrics of an event; those of a message are empty."""

    step: int | None = None
    total_steps: int | None = None
    train_loss: float | None = None
    valid_loss: float | None = None


class _Event(Struct):
    data: _Metrics


_DECODER = msgspec.json.Decoder(_Event)


def read_progress(database: Database, job: JobObject) -> JobProgress:
    """Return the progress of a job, from all of its events if they are few, else from samples."""
    events = EVENTS.format(tenant=":tenant", id=":id")
    values = {"tenant": job.tenant, "id": job.id}
    latest = database.rows(f"{events} ORDER BY seq DESC LIMIT {MAX_EVENTS + 1}", values)
    rows = dict(latest)
    if len(latest) > MAX_EVENTS:
        rows = dict(latest[:LATEST])
        rows |= _samples(database, events, values, "train_loss", SAMPLES, TRAIN_DISTANCE)
        if job.validation_file:
            rows |= _samples(database, events, values, "valid_loss", VALID_SAMPLES, VALID_DISTANCE)
    return _progress(_DECODER.decode(rows[seq]) for seq in sorted(rows))


def _samples(
    database: Database,
    events: str,
    values: dict[str, str],
    name: str,
    count: int,
    distance: int,
) -> dict[int, str]:
    """Return events with a metric, at even distances: each costs a search of the index."""
    statement = f"""
WITH RECURSIVE ends (low, high) AS (
    SELECT (SELECT seq FROM ({events} ORDER BY seq LIMIT 1)),
        (SELECT seq FROM ({events} ORDER BY seq DESC LIMIT 1))
), numbers (number) AS (
    VALUES (0) UNION ALL SELECT number + 1 FROM numbers WHERE number < {count - 1}
), places (place) AS (
    SELECT low + (high - low) * number / {count} FROM ends, numbers
)
SELECT seq, shown FROM things WHERE seq IN (
    SELECT (
        SELECT seq FROM ({events} AND seq >= place ORDER BY seq LIMIT {distance})
        WHERE instr(shown, '"{name}"') LIMIT 1
    ) FROM places
)"""
    return dict(database.rows(statement, values))


def _progress(events: Iterable[_Event]) -> JobProgress:
    """Return the progress that events report, the oldest first."""
    total = 0
    train: Losses = []
    valid: Losses = []
    for event in events:
        metrics = event.data
        if metrics.step is None:
            continue
        total = metrics.total_steps or total
        if metrics.train_loss is not None:
            train.append((metrics.step, metrics.train_loss))
        if metrics.valid_loss is not None:
            valid.append((metrics.step, metrics.valid_loss))
    return JobProgress(train[-1][0] if train else 0, total, train, valid)
