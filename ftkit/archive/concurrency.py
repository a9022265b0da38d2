"""Concurrent tasks of a sync."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from ftkit.archive.store import CONCURRENCY

T = TypeVar("T")

MAX_PENDING = 4 * CONCURRENCY
"""Maximum number of submitted tasks whose results have not been taken."""


def run_concurrently(tasks: Iterable[Callable[[], T]], stopping: threading.Event) -> Iterator[T]:
    """Yield the results of tasks as they complete, with `CONCURRENCY` tasks running at a time.

    If a task raises, or the caller is interrupted, `stopping` is set and the running tasks are not
    waited for, because a provider that hangs would delay the exit.
    """
    pending: set[Future[T]] = set()
    pool = ThreadPoolExecutor(CONCURRENCY)
    try:
        for task in tasks:
            pending.add(pool.submit(task))
            if len(pending) >= MAX_PENDING:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        done, pending = wait(pending)[0], set()
        yield from (future.result() for future in done)
    except BaseException:
        stopping.set()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
