"""Interface through which a training process reports to the service, and its messages.

A process on the machine of the service writes to the database (`database_reports.py`). One on
another machine sends the same messages over HTTP (`remote_reports.py`), and the service writes
them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, Protocol

from msgspec import Meta, Struct

from ftkit.server.event_limits import (
    MAX_MESSAGE,
    Message,
    MetricValues,
    Name,
)
from ftkit.server.objects import (
    JobError,
    JobHyperparameters,
    JobObject,
    JobStatus,
)

BEAT_SECONDS = 0.25
"""Seconds between the beats of a process on the machine of the service."""

STARTED = "Fine-tuning job started"
"""Message of the event when a training process begins, as at OpenAI."""

TRAINING: tuple[JobStatus, ...] = ("running", "pausing")
"""Statuses of a job that is being trained. One that is pausing may finish before it can pause."""

Command = Literal["continue", "pause", "cancel"]
"""Answer to a beat."""

MAX_COUNT = 2**53 - 1
"""Largest number that all JSON parsers read exactly (RFC 8259, section 6)."""

COMMANDS: dict[JobStatus, Command] = {
    "pausing": "pause",
    "paused": "cancel",
    "failed": "cancel",
    "cancelled": "cancel",
}
"""Answers to beats by the status of the job; "continue" for all others."""

Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
"""Number of steps, tokens or seconds in a message."""


MAX_TIME = 253_402_300_799
"""Last second of the year 9999, as Unix time; later ones are no dates in Python."""


class JobEvent(Struct, frozen=True, kw_only=True):
    """Event of a job.

    Attributes:
        key: Identity of the event among those of the job: sending it again has no effect.
        data: Metrics of a step with its number as "step", or nothing.
        estimated_finish: Unix time at which training will end, or None; of events with metrics.
    """

    key: Annotated[str, Meta(min_length=1, max_length=64)]
    message: Message
    level: Literal["info", "warn", "error"] = "info"
    data: MetricValues = {}
    estimated_finish: Annotated[int, Meta(ge=0, le=MAX_TIME)] | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for metrics without a step: the next attempt could not resume."""
        step = self.data.get("step")
        if self.data and not (isinstance(step, int) and 0 <= step <= MAX_COUNT):
            raise ValueError("the metrics of an event need the number of their step")


class ReportedError(Struct, frozen=True):
    """Error that a job fails with, see `JobError`."""

    code: Name
    message: Message
    param: Name | None

    @classmethod
    def of(cls, error: JobError) -> ReportedError:
        """Return an error with the beginning of its message, if that is too long."""
        return cls(error.code, error.message[:MAX_MESSAGE], error.param)


class JobStart(Struct, frozen=True):
    """Job to train, and what earlier processes have reported of it.

    Attributes:
        reported_step: Last step whose metrics have been reported.
        published_steps: Steps of the checkpoints that are models.
        is_remote: True if the process saves its states in the folder of its attempt.
    """

    job: JobObject
    reported_step: int = 0
    published_steps: Sequence[int] = ()
    is_remote: bool = False


class Reports(Protocol):
    """Reports of a training process to the service.

    Any method may raise `StaleAttemptError`, or end the process, once another process trains the
    job. Methods may be called from several threads.
    """

    def begin(self) -> JobStart | None:
        """Report that training starts. Return None if the job is not to be trained any more."""
        ...

    def beat(self) -> Command:
        """Report that the process runs, and return what it is to do."""
        ...

    def set_hyperparameters(self, hyperparameters: JobHyperparameters) -> None:
        """Replace the requested hyperparameters with the resolved ones."""
        ...

    def add_event(self, event: JobEvent) -> None:
        """Add an event to the job, unless it has one with that key."""
        ...

    def commit(self, step: int) -> None:
        """Report that the state of a step was saved, so that training resumes from there."""
        ...

    def publish(self, step: int, metrics: dict[str, Any]) -> None:
        """Publish the adapter of a saved state as a model."""
        ...

    def fail(self, error: JobError) -> None:
        """End the job with an error."""
        ...

    def succeed(self, steps: int, tokens: int) -> None:
        """End the job with the adapter of its last step.

        Args:
            steps: Number of the last step, whose state was saved.
            tokens: Number of trained tokens.
        """
        ...


class Heartbeat(threading.Thread):
    """Thread that reports that the process runs, and carries out what the service answers.

    Attributes:
        pause: Set once the process is to save its state and end.

    Args:
        reports: Where to report.
        seconds: Seconds between two reports.
    """

    def __init__(self, reports: Reports, seconds: float = BEAT_SECONDS) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._reports, self._seconds = reports, seconds
        self.pause = threading.Event()

    def run(self) -> None:
        """Report until the process ends, and end it if the job was cancelled."""
        while True:
            with suppress(Exception):  # such as a busy database; the next beat tries again
                command = self._reports.beat()
                if command == "cancel":
                    os._exit(0)
                if command == "pause":
                    self.pause.set()
            time.sleep(self._seconds)
