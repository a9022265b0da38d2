"""Trying again what may yet work: for a while, never for ever."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ftkit.errors import ProviderError, UnreachableError
from ftkit.jobs.watch import passes

T = TypeVar("T")

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds to wait before a request is sent again, where the service does not say."""

LONGEST = 120.0
"""Seconds that are waited at most when the service says how long."""

GIVE_UP = 4
"""Requests in a row that failed in spite of all patience, after which the service is taken to be out of reach."""


class Patience:
    """Sends requests again that failed for a reason that may pass; for several threads, which wait together when told to.

    Raises the last `ProviderError`, or `UnreachableError` where nothing works any more.
    """

    def __init__(self, sleep: Callable[[float], object] = time.sleep) -> None:
        self._sleep = sleep
        self._lock = threading.Lock()
        self._until = 0.0
        self._failed = 0

    def __call__(self, do: Callable[[], T]) -> T:
        """What `do` returns, once it does."""
        for pause in PAUSES:
            self._wait()
            try:
                done = do()
            except ProviderError as problem:
                if not passes(problem):
                    self._failed = 0
                    raise
                self._pause(problem, pause)
            else:
                self._failed = 0
                return done
        return self._last(do)

    def _wait(self) -> None:
        left = self._until - time.monotonic()
        if left > 0:
            self._sleep(left)

    def _pause(self, problem: ProviderError, pause: float) -> None:
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - not for secrets
        seconds = min(problem.wait, LONGEST) or pause * jitter
        if problem.status == 429:  # it is the account that asks too often, so all threads wait
            with self._lock:
                self._until = max(self._until, time.monotonic() + seconds)
        self._sleep(seconds)

    def _last(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except ProviderError as problem:
            with self._lock:
                self._failed += passes(problem)
                if self._failed >= GIVE_UP:
                    raise UnreachableError(
                        f"{problem}; run the same again later, and it goes on from here"
                    ) from problem
            raise
