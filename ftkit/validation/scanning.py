"""Scanning of the parts of files: in this process, or in several for large files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from ftkit.dataset.reader import PART_BYTES, Part
from ftkit.errors import UsageError
from ftkit.summary import Summary
from ftkit.validation.scan import Map, Progress


@contextmanager
def scanning(
    workers: int | None, sizes: Sequence[int], progress: Progress | None = None
) -> Iterator[Map]:
    """Yield a `map` to scan the parts of these files with.

    Args:
        workers: Number of processes; one per processor if None. Small files need only one.
        sizes: Bytes of each file, which decide how many processes are worth starting.
        progress: Called many times for each part.

    Raises:
        UsageError: `workers` is not a positive number.
    """
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise UsageError(f"`workers` must be a whole number from 1, not {workers!r:.100}")
    number = min(workers or os.cpu_count() or 1, sum(max(size // PART_BYTES, 1) for size in sizes))
    if number == 1 or sum(sizes) < PART_BYTES:
        yield _reporting(progress) if progress else map
        return
    from ftkit.validation.pool import process_pool

    with process_pool(number, progress) as map_:
        yield map_


def _reporting(progress: Progress) -> Map:
    """Return a `map` in this process that calls `progress`."""

    def reporting(function: Callable[..., Summary], parts: Iterable[Part]) -> Iterator[Summary]:
        for part in parts:
            yield function(part, advance=partial(progress, part.file))

    return reporting
