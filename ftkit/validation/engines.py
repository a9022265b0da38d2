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


AUTO = "auto"
"""Address of the Ray cluster of this machine."""

MAX_PORT = 65_535
"""Largest number of a port."""

_ADDRESS = re.compile(r"(?:[\w-]{1,63}(?:\.[\w-]{1,63})*|\[[0-9a-fA-F:]+\]):(\d{1,5})", re.ASCII)
"""Host and port of the head of a cluster."""


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

    The engines `ray` and `ray=auto` have the address in `RAY_ADDRESS`, or `auto` without it.

    Raises:
        UsageError: There is no such engine, or the address has another form.
    """
    if engine == LOCAL:
        return None
    match = re.fullmatch(r"ray(?:=(.+))?", engine, re.DOTALL) if isinstance(engine, str) else None
    if not match:
        raise UsageError(f"`engine` must be local, ray or ray=HOST:PORT, not {engine!r:.100}")
    is_given = match[1] not in (None, AUTO)
    address = match[1] if is_given else os.environ.get("RAY_ADDRESS") or AUTO
    name = "`engine`" if is_given else "RAY_ADDRESS"
    value = "" if "@" in address else f", not {address!r:.100}"  # it may have a password
    if address.startswith("ray://"):
        raise UsageError(
            f"{name} must not be the address of a Ray Client{value}; run ftkit on a node of the "
            "cluster with the engine ray"
        )
    port = _ADDRESS.fullmatch(address)
    if address != AUTO and not (port and 0 < int(port[1]) <= MAX_PORT):
        prefix = "HOST:PORT of the cluster's head, or auto"
        form = f"have {prefix}, after ray=, such as ray=" if is_given else f"be {prefix}, such as "
        raise UsageError(f"{name} must {form}10.0.0.1:6379{value}")
    return address


def _map_with_progress(progress: Progress) -> Map:
    """Return the builtin `map`, but with calls of `progress`."""

    def map_parts(function: PlannedScan, parts: Iterable[Part]) -> Iterator[Summary]:
        for part in parts:
            yield function(part, advance=partial(progress, part.file))

    return map_parts
