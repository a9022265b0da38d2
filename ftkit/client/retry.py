"""Retries with exponential backoff."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ftkit.client.errors import is_transient
from ftkit.errors import ProviderError, UnreachableError

T = TypeVar("T")

DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds to wait before each retry if the provider names no delay."""

MAX_DELAY = 120.0
"""Maximum number of seconds to wait if the provider names a delay."""

MAX_CONSECUTIVE_FAILURES = 4
"""Requests that may fail in a row, each after all its retries, before the provider counts as
unreachable."""


class Retry:
    """Policy that sends a request again after a transient error.

    One instance may be shared by several threads. A rate limit holds for the whole account, so all
    of them wait for it. Example:

        retry = Retry()
        job = retry(lambda: client.job("ftjob-abc123"))
    """

    def __init__(self, sleep: Callable[[float], object] = time.sleep) -> None:
        self._sleep = sleep
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._failures = 0

    def __call__(self, request: Callable[[], T]) -> T:
        """Return the result of `request`, called again after each transient error.

        Raises:
            ProviderError: The error is permanent, or the last retry failed.
            UnreachableError: `MAX_CONSECUTIVE_FAILURES` requests in a row have failed.
        """
        for delay in DELAYS:
            self._wait_for_rate_limit()
            try:
                result = request()
            except ProviderError as error:
                if not is_transient(error):
                    self._failures = 0
                    raise
                self._back_off(error, delay)
            else:
                self._failures = 0
                return result
        return self._last_attempt(request)

    def _wait_for_rate_limit(self) -> None:
        seconds = self._paused_until - time.monotonic()
        if seconds > 0:
            self._sleep(seconds)

    def _back_off(self, error: ProviderError, delay: float) -> None:
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - not used for secrets
        seconds = min(error.wait, MAX_DELAY) or delay * jitter
        if error.status == 429:
            with self._lock:
                self._paused_until = max(self._paused_until, time.monotonic() + seconds)
        self._sleep(seconds)

    def _last_attempt(self, request: Callable[[], T]) -> T:
        try:
            return request()
        except ProviderError as error:
            with self._lock:
                self._failures += is_transient(error)
                if self._failures >= MAX_CONSECUTIVE_FAILURES:
                    raise UnreachableError(
                        f"{error}; run the same command again later to continue"
                    ) from error
            raise
