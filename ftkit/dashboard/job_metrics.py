"""Metrics of jobs from their events, read once and then only the new ones."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.jobs.metrics import is_plottable, total_steps
from ftkit.server.database import Database, PageQuery
from ftkit.server.objects import EventObject, JobObject
from ftkit.server.reports import STARTED

BATCH = 10_000
"""Number of events that are read at a time."""

MAX_POINTS = 20_000
"""Maximum number of points of a column: an even selection of more."""

MAX_MESSAGES = 10_000
"""Maximum number of messages of a job that are listed without its metrics, the newest ones."""

MAX_COLUMNS = 40
"""Maximum number of columns of a job."""

MAX_JOBS = 16
"""Maximum number of jobs whose metrics are kept in memory."""

NOT_METRICS = ("step", "total_steps")
"""Data of events that are no metrics."""


class _Event(Struct):
    """Fields of an event that are read."""

    id: str
    created_at: int
    type: str
    message: str
    data: dict[str, Any]


_DECODER = msgspec.json.Decoder(_Event)


class Column:
    """Values of a metric with their steps: every Nth one, and the last."""

    def __init__(self) -> None:
        self._steps, self._values = array("q"), array("d")
        self._interval, self._count = 1, 0
        self._last: tuple[int, float] | None = None

    def add(self, step: int, value: float) -> None:
        """Append a value."""
        self._last = None
        if self._count % self._interval:
            self._last = (step, value)
        else:
            self._steps.append(step)
            self._values.append(value)
        self._count += 1
        if len(self._steps) > MAX_POINTS:
            self._steps, self._values = self._steps[::2], self._values[::2]
            self._interval *= 2

    def points(self) -> list[tuple[int, float]]:
        """Return steps and values."""
        points = list(zip(self._steps, self._values, strict=True))
        return [*points, self._last] if self._last else points


class JobMetrics:
    """Metrics of a job by step, as far as its events have been read. Threads may share them.

    Attributes:
        total_steps: Number of steps of the whole training, or 0 if it is unknown.
        started_at: Unix time at which the training began first, or None.
        version: Id of the last event that was read, or "".
    """

    def __init__(self) -> None:
        self.total_steps = 0
        self.started_at: int | None = None
        self.version = ""
        self._messages: deque[str] = deque(maxlen=MAX_MESSAGES)
        self._columns: dict[str, Column] = {}
        self._lock = threading.Lock()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, among them "step"."""
        with self._lock:
            return ("step", *self._columns)

    def series(self, names: Iterable[str]) -> list[tuple[int, float]]:
        """Return steps and values of the first of the columns that has any."""
        with self._lock:
            for name in names:
                column = self._columns.get(name)
                if column:
                    return column.points()
        return []

    @property
    def messages(self) -> list[str]:
        """Ids of the newest events without metrics, oldest first."""
        with self._lock:
            return list(self._messages)

    def update(self, database: Database, job: JobObject) -> None:
        """Read the events that were added since the last call."""
        with self._lock:
            has_more = True
            while has_more:
                query = PageQuery(parent=job.id, after=self.version, limit=BATCH, oldest_first=True)
                rows, has_more = database.page(EventObject, job.tenant, query)
                for row in rows:
                    self._add(_DECODER.decode(row))

    def _add(self, event: _Event) -> None:
        self.version = event.id
        if event.type != "metrics":
            self._messages.append(event.id)
            if self.started_at is None and event.message == STARTED:
                self.started_at = event.created_at
            return
        step = event.data.get("step")
        if not isinstance(step, int):
            return
        self.total_steps = total_steps(event.data) or self.total_steps
        for name, value in event.data.items():
            if name not in NOT_METRICS and is_plottable(value):
                self._column(name).add(step, value)

    def _column(self, name: str) -> Column:
        column = self._columns.get(name)
        if column is None:
            column = Column()
            if len(self._columns) < MAX_COLUMNS:
                self._columns[name] = column
        return column


class MetricsCache:
    """Metrics of the jobs that were looked at last."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, JobMetrics] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, database: Database, job: JobObject) -> JobMetrics:
        """Return the metrics of a job, which the caller has access to."""
        with self._lock:
            metrics = self._jobs.setdefault(job.id, JobMetrics())
            self._jobs.move_to_end(job.id)
            while len(self._jobs) > MAX_JOBS:
                self._jobs.popitem(last=False)
        metrics.update(database, job)
        return metrics
