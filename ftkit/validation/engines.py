"""Engines that scan the parts of files: this process, several processes, or a Ray cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from ftkit.dataset.reader import PART_BYTES, Part
from ftkit.errors import UsageError
from ftkit.summary import Summary
from ftkit.validation.scan import Engine, Map, PlannedScan, Progress

LOCAL = "local"
"""Name of the engine that scans in processes of this machine."""


@contextmanager
def open_engine(
    workers: int | None,
    sizes: Sequence[int],
    progress: Progress | None = None,
    engine: str = LOCAL,
) -> Iterator[Engine]:
    """Yield an engine that scans the parts of files.

    Args:
        workers: Number of processes, or of tasks at a time; one per processor if None. Small
            files need only one process.
        sizes: Bytes of each file, which decide how many processes are worth starting.
        progress: Called with the bytes scanned since the last call: many times for each part on
            this machine, once after each task in a cluster.
        engine: `local`, `ray` or `ray=HOST:PORT`.

    Raises:
        UsageError: `workers` is not a positive number, or there is no such engine.
    """
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise UsageError(f"`workers` must be a whole number from 1, not {workers!r:.100}")
    address = ray_address(engine)
    if address is not None:
        from ftkit.validation.ray_cluster import ray_cluster

        with ray_cluster(address, workers, progress) as engine_:
            yield engine_
        return
    number = min(workers or os.cpu_count() or 1, sum(max(size // PART_BYTES, 1) for size in sizes))
    if number == 1 or sum(sizes) < PART_BYTES:
        yield Engine(_map_with_progress(progress) if progress else map)
        return
    from ftkit.validation.pool import process_pool

    with process_pool(number, progress) as map_:
        yield Engine(map_)


def ray_address(engine: str) -> str | None:
    """Return the address of the Ray cluster that an engine names, or None for this machine.

    Raises:
        UsageError: There is no such engine, or the address has another form.
    """
    name, separator, address = engine.partition("=") if isinstance(engine, str) else ("", "", "")
    if engine == LOCAL:
        return None
    if name != "ray" or (separator and not address):
        raise UsageError(f"`engine` must be local, ray or ray=HOST:PORT, not {engine!r:.100}")
    if address.startswith("ray://"):
        raise UsageError(
            f"`engine` cannot be a Ray Client address ({address:.100}); run ftkit on a node of the "
            "cluster with the engine ray"
        )
    if not re.fullmatch(r"(auto)?|[\w.-]+:\d+|\[[0-9a-fA-F:]+\]:\d+", address):
        raise UsageError(
            f"`engine` must have HOST:PORT of the cluster's head, or auto, after ray=, such as "
            f"ray=10.0.0.1:6379, not {address!r:.100}"
        )
    return address or "auto"


def _map_with_progress(progress: Progress) -> Map:
    """Return the builtin `map`, but with calls of `progress`."""

    def map_parts(function: PlannedScan, parts: Iterable[Part]) -> Iterator[Summary]:
        for part in parts:
            yield function(part, advance=partial(progress, part.file))

    return map_parts
