"""Process pools that scan the parts of large files."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from threading import Thread

from ftkit.dataset.reader import PART_BYTES, Part
from ftkit.errors import UsageError
from ftkit.summary import Summary
from ftkit.validation.scan import Map

Progress = Callable[[str, int], None]
"""Called with a file's name and the number of bytes scanned since the last call."""

PARTS_PER_WORKER = 2
"""Parts that are in flight for each worker: one being scanned, one waiting."""


@contextmanager
def scanning(
    workers: int | None, files: Sequence[Path], progress: Progress | None = None
) -> Iterator[Map]:
    """Yield a `map` to scan the parts of these files with.

    Args:
        workers: Number of processes; one per processor if None. Small files need only one.
        files: The files, whose sizes decide how many processes are worth starting.
        progress: Called after each part.

    Raises:
        UsageError: `workers` is not a positive number.
    """
    with _pool(workers, files) as map_:
        yield _reporting(map_, progress) if progress else map_


@contextmanager
def _pool(workers: int | None, files: Sequence[Path]) -> Iterator[Map]:
    """Yield a `map` over processes if the files are large enough, else the builtin."""
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise UsageError(f"`workers` must be a whole number from 1, not {workers!r:.100}")
    sizes = [path.stat().st_size for path in files]
    number = min(workers or os.cpu_count() or 1, sum(max(size // PART_BYTES, 1) for size in sizes))
    if number == 1 or sum(sizes) < PART_BYTES:
        yield map
        return
    pool = ProcessPoolExecutor(number, mp_context=_context(), initializer=_start_worker)
    try:
        yield _bounded(pool, number * PARTS_PER_WORKER)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in active_children():
            child.kill()  # it may still have the signal handlers of its parent
        raise
    pool.shutdown()


def _bounded(pool: ProcessPoolExecutor, window: int) -> Map:
    """Return the pool's `map` with at most `window` parts in flight, since they may hold bytes."""

    def bounded(function: Callable[[Part], Summary], parts: Iterable[Part]) -> Iterator[Summary]:
        futures: deque[Future[Summary]] = deque()
        for part in parts:
            futures.append(pool.submit(function, part))
            if len(futures) >= window:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()

    return bounded


def _context() -> BaseContext:
    return get_context("fork" if sys.platform == "linux" else "spawn")


def _start_worker() -> None:
    """Set up a worker: it leaves interrupts to its parent and ends when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.disable()  # scanning makes no cycles worth collecting
    Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _reporting(map_: Map, progress: Progress) -> Map:
    """Return the map, calling `progress` after each part."""

    def reporting(function: Callable[[Part], Summary], parts: Iterable[Part]) -> Iterator[Summary]:
        files: deque[str] = deque()

        def noting() -> Iterator[Part]:
            for part in parts:
                files.append(part.file)
                yield part

        for summary in map_(function, noting()):
            progress(files.popleft(), summary.size)
            yield summary

    return reporting
