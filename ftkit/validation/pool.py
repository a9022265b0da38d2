"""Processes that scan the shards of large files, and what is told of their progress."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from threading import Thread

from ftkit.errors import UsageError
from ftkit.summary import Shard, Summary
from ftkit.validation.scan import SHARD, Map

Progress = Callable[[str, int], None]
"""Called with a file's name and the bytes scanned since the last call."""


@contextmanager
def scanning(
    workers: int | None, files: Sequence[Path], progress: Progress | None = None
) -> Iterator[Map]:
    """A `map` to scan the shards of these files with, telling `progress` of each that is done."""
    with _pool(workers, files) as map_:
        yield _reporting(map_, progress)


@contextmanager
def _pool(workers: int | None, files: Sequence[Path]) -> Iterator[Map]:
    """A `map` over processes where the files are large enough for it, else the builtin."""
    if workers is not None and workers < 1:
        raise UsageError(f"workers must be 1 or more, not {workers}")
    shards = sum(max(path.stat().st_size // SHARD, 1) for path in files)
    number = min(workers or os.cpu_count() or 1, shards)
    if number == 1 or sum(path.stat().st_size for path in files) < SHARD:
        yield map
        return
    pool = ProcessPoolExecutor(number, mp_context=_context(), initializer=_start_worker)
    try:
        yield pool.map
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in active_children():
            child.kill()  # it may still have the signal handlers of its parent
        raise
    pool.shutdown()


def _context() -> BaseContext:
    return get_context("fork" if sys.platform == "linux" else "spawn")


def _start_worker() -> None:
    """A worker leaves interrupts to its parent, ends when that is gone, and makes no cycles worth collecting."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.disable()
    Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _reporting(map_: Map, progress: Progress | None) -> Map:
    """The map, telling `progress` of each shard that is done."""
    if progress is None:
        return map_

    def reporting(
        function: Callable[[Shard], Summary], shards: Iterable[Shard]
    ) -> Iterator[Summary]:
        listed = list(shards)
        for shard, summary in zip(listed, map_(function, listed), strict=True):
            progress(shard.file, summary.size)
            yield summary

    return reporting
