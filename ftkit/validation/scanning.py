"""Scanning of the parts of files: in this process, or in several for large files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from ftkit.dataset.reader import PART_BYTES, Part
from ftkit.errors import UsageError
from ftkit.summary import Summary
from ftkit.validation.scan import Map, PlannedScan, Progress

LOCAL = "local"
"""Name of the engine that scans with processes of this machine."""


@contextmanager
def scanning(
    workers: int | None,
    sizes: Sequence[int],
    progress: Progress | None = None,
    engine: str = LOCAL,
) -> Iterator[Map]:
    """Yield a `map` to scan the parts of these files with.

    Args:
        workers: Number of processes, or of tasks at a time; one per processor if None. Small
            files need only one process.
        sizes: Bytes of each file, which decide how many processes are worth starting.
        progress: Called many times for each part.
        engine: `local`, `ray` or `ray=ADDRESS`.

    Raises:
        UsageError: `workers` is not a positive number, or there is no such engine.
    """
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise UsageError(f"`workers` must be a whole number from 1, not {workers!r:.100}")
    address = ray_address(engine)
    if address is not None:
        from ftkit.validation.ray_cluster import ray_cluster

        with ray_cluster(address, workers, progress) as map_:
            yield map_
        return
    number = min(workers or os.cpu_count() or 1, sum(max(size // PART_BYTES, 1) for size in sizes))
    if number == 1 or sum(sizes) < PART_BYTES:
        yield _reporting(progress) if progress else map
        return
    from ftkit.validation.pool import process_pool

    with process_pool(number, progress) as map_:
        yield map_


def ray_address(engine: str) -> str | None:
    """Return the address of the Ray cluster that an engine names, or None for this machine.

    Raises:
        UsageError: There is no such engine, or no connection to such an address.
    """
    name, separator, address = engine.partition("=") if isinstance(engine, str) else ("", "", "")
    if engine == LOCAL:
        return None
    if name != "ray" or (separator and not address):
        raise UsageError(f"`engine` must be local, ray or ray=ADDRESS, not {engine!r:.100}")
    if address.startswith("ray://"):
        raise UsageError(
            f"`engine` cannot connect from outside of a cluster ({address:.100}); "
            "run ftkit on one of its nodes with the engine ray, for example by: ray job submit"
        )
    if not re.fullmatch(r"(auto)?|[\w.-]+:\d+|\[[0-9a-fA-F:]+\]:\d+", address):
        raise UsageError(
            f"`engine` needs auto or HOST:PORT of the cluster's head behind ray=, such as "
            f"10.0.0.1:6379, not {address!r:.100}"
        )
    return address or "auto"


def _reporting(progress: Progress) -> Map:
    """Return a `map` in this process that calls `progress`."""

    def reporting(function: PlannedScan, parts: Iterable[Part]) -> Iterator[Summary]:
        for part in parts:
            yield function(part, advance=partial(progress, part.file))

    return reporting
