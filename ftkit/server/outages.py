"""Outages of the runner of training processes, such as a cluster that cannot be reached."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from ftkit.server.objects import JobObject
from ftkit.server.runner import (
    Attempt,
    NotConnectedError,
    Room,
    Runner,
    RunnerUnavailableError,
    RunState,
    Task,
)

OUTAGE_SECONDS = 5.0
"""Seconds to wait before a runner that cannot be reached is tried again."""

T = TypeVar("T")

logger = logging.getLogger("ftkit.server")


class ObservedRunner:
    """Runner that logs the beginning and the end of each outage of another one.

    Args:
        runner: The other runner.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._start: float | None = None  # of the outage
        self._retry_time = 0.0

    @property
    def is_paused(self) -> bool:
        """True while it is too early to call the runner again after it could not be reached."""
        return time.monotonic() < self._retry_time

    @property
    def is_in_outage(self) -> bool:
        """True from a call that did not reach the runner until one that does."""
        return self._start is not None

    def start(self, task: Task, job: JobObject, attempt: Attempt) -> str:
        """Start a process, and return its handle."""
        return self._call(lambda: self._runner.start(task, job, attempt))

    def room(self, job: JobObject) -> Room:
        """Return the room for the training process of a job."""
        return self._call(lambda: self._runner.room(job))

    def state(self, handle: str) -> RunState:
        """Return the state of a process."""
        return self._call(lambda: self._runner.state(handle))

    def stop(self, handle: str) -> None:
        """Have a process end soon, if it runs."""
        self._call(lambda: self._runner.stop(handle))

    def close(self) -> None:
        """Release everything when the service ends."""
        self._runner.close()

    def _call(self, call: Callable[[], T]) -> T:
        now = time.monotonic()
        try:
            result = call()
        except RunnerUnavailableError as error:
            if self._start is None and not isinstance(error, NotConnectedError):
                self._start = now
                logger.warning("%s; trying again every %.0f seconds", error, OUTAGE_SECONDS)
            self._retry_time = time.monotonic() + OUTAGE_SECONDS
            raise
        # Only these results show that the cluster answers: `start` and `stop` may not wait for it.
        if self._start is not None and isinstance(result, Room | RunState):
            seconds = time.monotonic() - self._start
            logger.warning("The runner can be reached again, after %.0f seconds", seconds)
            self._start = None
        return result
