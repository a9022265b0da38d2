"""Exponential backoff for each failing operation."""

from __future__ import annotations

import time

from msgspec import Struct

FIRST_SECONDS = 0.5
"""Seconds to wait after the first failure. Each further one doubles the wait."""

MAX_SECONDS = 30.0
"""Maximum seconds to wait after a failure."""

FORGET_SECONDS = 600.0
"""Seconds after which a failure without a retry is forgotten, from the end of its wait."""


class Failure(Struct):
    """Last failure.

    Attributes:
        text: Type and message of the exception.
        wait: Seconds to wait.
        retry_time: End of the wait, by the monotonic clock.
    """

    text: str
    wait: float
    retry_time: float


class Backoff:
    """Waits after failures. Each operation has a key, such as the id of a job."""

    def __init__(self) -> None:
        self._failures: dict[str, Failure] = {}

    def is_waiting(self, key: str) -> bool:
        """Return True if it is too early to try again."""
        failure = self._failures.get(key)
        return failure is not None and time.monotonic() < failure.retry_time

    def retry_time(self, key: str) -> float:
        """Return the end of the wait by the monotonic clock, or 0.0 without a failure."""
        failure = self._failures.get(key)
        return failure.retry_time if failure else 0.0

    def waiting(self) -> set[str]:
        """Return the keys for which it is too early to try again."""
        return {key for key in self._failures if self.is_waiting(key)}

    def record(self, key: str, error: Exception) -> bool:
        """Record a failure. Return False if the last one had the same exception."""
        now, text = time.monotonic(), f"{type(error).__name__}: {error}"
        last = self._failures.get(key)
        wait = min(2 * last.wait, MAX_SECONDS) if last else FIRST_SECONDS
        forgotten = now - FORGET_SECONDS
        self._failures = {
            name: failure
            for name, failure in self._failures.items()
            if failure.retry_time > forgotten
        }
        self._failures[key] = Failure(text, wait, now + wait)
        return last is None or last.text != text

    def clear(self, key: str) -> None:
        """Forget a failure, since trying again has succeeded."""
        self._failures.pop(key, None)
