"""Bodies of the requests to `/internal/jobs/ID`, and of their responses."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ftkit.server.event_limits import MetricValues
from ftkit.server.objects import JobHyperparameters
from ftkit.server.reports import Command, Count, JobEvent, ReportedError

BODY_BYTES = 1 << 20
"""Maximum size of a request."""

BATCH_BYTES = BODY_BYTES // 2
"""Maximum size of the events of a request. A single event is always sent."""

BATCH_EVENTS = 100
"""Maximum number of events of a request."""


class EmptyMessage(Struct, frozen=True):
    """Body of `spec` and `beat`."""


class StateMessage(Struct, frozen=True):
    """Body of `checkpoint`: the state of a step was saved.

    Attributes:
        metrics: Metrics of the step if its adapter is to become a model, or None.
    """

    step: Count
    metrics: MetricValues | None = None


class EventsMessage(Struct, frozen=True):
    """Body of `events`: events to add, and hyperparameters to set, or None."""

    events: list[JobEvent] = []
    hyperparameters: JobHyperparameters | None = None


class DoneMessage(Struct, frozen=True):
    """Body of `done`: the error that the job fails with, or its number of steps and of tokens."""

    steps: Count = 0
    tokens: Count = 0
    error: ReportedError | None = None


class BeatResponse(Struct, frozen=True):
    """Response to `beat`."""

    command: Command


class StartResponse(Struct, frozen=True):
    """Response to `spec`: the job, and what `JobStart` has.

    Attributes:
        job: Public fields of the job.
        internal: Internal fields of the job.
        reported_step: Last step whose metrics were reported.
        published_steps: Steps whose adapters are models.
    """

    job: dict[str, Any]
    internal: dict[str, Any]
    reported_step: int
    published_steps: list[int]
