"""Limits of the events that the processes of a job report, so that none can fill the database."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from ftkit.server.bodies import MAX_EPOCHS
from ftkit.server.errors import InvalidRequestError
from ftkit.server.objects import JobObject

MAX_MESSAGE = 10_000
"""Maximum number of characters of the message of an event or an error."""

MAX_METRICS = 64
"""Maximum number of metrics of a step."""

MAX_NAME = 64
"""Maximum number of characters of a name or a key."""

EVENT_BYTES = 10_000_000
"""Maximum size of the events of a job, without those of its steps."""

STEP_BYTES = 4_000
"""Maximum size of the events of an example in an epoch, on average."""

ROW_BYTES = 200
"""Size of an event in the database without its content."""

Name = Annotated[str, Meta(max_length=MAX_NAME)]
"""Name of a metric, code of an error, or name of a parameter."""

Message = Annotated[str, Meta(max_length=MAX_MESSAGE)]
"""Message of an event or an error."""

MetricValues = Annotated[dict[Name, int | float], Meta(max_length=MAX_METRICS)]
"""Metrics of a step by their names."""


def event_size(event: msgspec.Struct) -> int:
    """Return the size of an event in the database in bytes."""
    return ROW_BYTES + len(msgspec.json.encode(event))


def count_event_bytes(job: JobObject, size: int) -> None:
    """Add the size of new events to that of the job's earlier ones.

    The job has at most as many steps as examples in all epochs.

    Raises:
        InvalidRequestError: The events take more than the job may have.
    """
    chosen = job.hyperparameters.n_epochs
    # The process has set the number, and the operator's recipe may allow more than the API.
    max_epochs: int = max(MAX_EPOCHS, job.recipe.get("epochs", 0))
    epochs = min(chosen, max_epochs) if isinstance(chosen, int) else max_epochs
    limit = EVENT_BYTES + STEP_BYTES * job.examples * epochs
    if job.event_bytes + size > limit:
        raise InvalidRequestError(
            f"The events of the job would take more than {limit:,} bytes: its processes report more"
            " than its steps.",
            "events",
            "too_many_events",
        )
    job.event_bytes += size
