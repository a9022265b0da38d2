"""Process pools that scan the parts of large files.

Import this module only for a pool: multiprocessing takes 15 ms.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import active_children, get_context
from multiprocessing.context import BaseContext
from threading import Thread
from types import ModuleType
from typing import Any

from ftkit.dataset.reader import Part
from ftkit.errors import FtkitError
from ftkit.summary import Summary
from ftkit.validation.scan import Map, PlannedScan, Progress

PARTS_PER_WORKER = 2
"""Parts that are in flight for each worker: one being scanned, one waiting."""

REPORT_SECONDS = 0.1
"""Seconds between two calls of a `Progress` function."""

ENDING = (signal.SIGINT, signal.SIGTERM)
"""Signals that end the command."""

_scanned: Any = None
"""Shared number of bytes that all workers have scanned, in a worker."""


@contextmanager
def process_pool(number: int, progress: Progress | None = None) -> Iterator[Map]:
    """Yield a `map` over processes.

    Args:
        number: Number of processes.
        progress: Called every `REPORT_SECONDS`, and after each part.

    Raises:
        FtkitError: A worker process was killed.
    """
    context = _context()
    scanned: Any = context.Value("Q") if progress else None
    pool = ProcessPoolExecutor(
        number, mp_context=context, initializer=_start_worker, initargs=(os.getpid(), scanned)
    )
    report = _Reporter(progress, scanned) if progress else None
    others = set(active_children())
    try:
        starting = _held_signals if context.get_start_method() == "fork" else _hidden_main
        yield _bounded(pool, number * PARTS_PER_WORKER, report, starting)
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(active_children()) - others:
            child.kill()  # it may still have the signal handlers of its parent
        if isinstance(error, BrokenProcessPool):
            raise FtkitError(
                "a worker process was killed, maybe for lack of memory; use fewer workers"
            ) from error
        raise
    pool.shutdown()


class _Reporter:
    """Reports what all workers have scanned since the last time."""

    def __init__(self, progress: Progress, scanned: Any) -> None:
        self._progress = progress
        self._counter = scanned.get_obj()  # read without its lock, which a killed worker may hold
        self._reported = 0

    def wait_for(self, future: Future[Summary], file: str) -> None:
        """Wait for a part of a file. All parts in flight are of this file."""
        is_done = False
        while not is_done:
            is_done = bool(wait([future], REPORT_SECONDS).done)
            scanned = self._counter.value
            if scanned > self._reported:
                self._progress(file, scanned - self._reported)
                self._reported = scanned


def _bounded(
    pool: ProcessPoolExecutor,
    window: int,
    reporter: _Reporter | None,
    starting: Callable[[], AbstractContextManager[None]],
) -> Map:
    """Return the pool's `map` with at most `window` parts in flight, since they may hold bytes.

    Args:
        pool: The pool.
        window: Maximum number of parts in flight.
        reporter: Reporter of the progress, if any.
        starting: Context manager around calls that may start workers.
    """

    def bounded(function: PlannedScan, parts: Iterable[Part]) -> Iterator[Summary]:
        futures: deque[tuple[Future[Summary], str]] = deque()

        def first_result() -> Summary:
            future, file = futures.popleft()
            if reporter:
                reporter.wait_for(future, file)
            return future.result()

        for part in parts:
            arguments = (_scan_and_count, function, part) if reporter else (function, part)
            with starting():
                futures.append((pool.submit(*arguments), part.file))
            if len(futures) >= window:
                yield first_result()
        while futures:
            yield first_result()

    return bounded


def _context() -> BaseContext:
    """Return the context of the fastest start method that is safe: fork, or else spawn.

    obstore has threads, which do not survive a fork: a forked process that uses it waits forever.
    """
    may_fork = sys.platform == "linux" and "obstore" not in sys.modules
    return get_context("fork" if may_fork else "spawn")


@contextmanager
def _held_signals() -> Iterator[None]:
    """Hold back signals that end the command while workers may be started.

    Python ignores the exceptions of their handlers in functions that it calls around a fork, and
    the command would go on.
    """
    if not hasattr(signal, "pthread_sigmask"):  # on Windows, where nothing is forked
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Hide the main module from workers that are spawned, and hold back signals.

    Each worker would import the main module, although it needs nothing of it. A script that calls
    ftkit outside of `if __name__ == "__main__"` would run again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        with _held_signals():
            yield
    finally:
        sys.modules["__main__"] = main


def _start_worker(parent: int, scanned: Any) -> None:
    """Set up a worker: it leaves interrupts to its parent and ends when the parent is gone."""
    global _scanned
    _scanned = scanned
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    gc.disable()  # scanning makes no cycles worth collecting
    Thread(target=_end_with_parent, args=(parent,), daemon=True).start()


def _scan_and_count(function: PlannedScan, part: Part) -> Summary:
    """Scan a part in a worker, adding to the number of bytes that all workers have scanned."""
    return function(part, advance=_advance)


def _advance(size: int) -> None:
    with _scanned.get_lock():
        _scanned.value += size


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
