"""Scanning on the nodes of a Ray cluster, through a driver process.

    parts → joined shards → Order → driver process → nodes → Result → summaries, in order

This process never imports Ray; see `ray_driver`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import chain
from queue import Empty, SimpleQueue
from threading import Thread
from typing import BinaryIO, cast

import msgspec

from ftkit._local import RUN_MODULE
from ftkit.dataset.object_location import is_url
from ftkit.dataset.reader import Part, Shard
from ftkit.errors import FileError, FtkitError, UsageError, install_command, os_error_message
from ftkit.summary import Summary
from ftkit.validation.ray_messages import (
    Alive,
    Channel,
    Failed,
    FromDriver,
    Order,
    Ready,
    Result,
    Start,
)
from ftkit.validation.ray_tasks import Sample, Task, sample_file
from ftkit.validation.scan import Map, PlannedScan, Progress

CONNECT_SECONDS = 60.0
"""Seconds that connecting may take, with the check of the nodes."""

LISTEN_SECONDS = 10.0
"""Seconds in which the cluster's head must accept a connection."""

HEAD_SECONDS = 30.0
"""Seconds without a sign of life after which the cluster's head counts as dead."""

END_SECONDS = 10.0
"""Seconds in which the driver process must have ended."""

TASKS_PER_PROCESSOR = 8
"""Tasks for each processor at least: shards are joined while there are more."""

MAX_JOINED = 16
"""Maximum number of shards in a task. What a dead node has done of a task is lost."""

RUNNING_PER_PROCESSOR = 2
"""Tasks that the cluster has for each processor: one being run, one waiting."""

WINDOW = 4
"""Tasks that are not yet added up, as a multiple of those that the cluster has at a time."""


@contextmanager
def ray_cluster(
    address: str, limit: int | None = None, progress: Progress | None = None
) -> Iterator[Map]:
    """Yield a `map` over the nodes of a cluster.

    Args:
        address: Address of the cluster as Ray takes it, such as `auto` or `10.0.0.1:6379`.
        limit: Maximum number of tasks at a time; one for each processor if None.
        progress: Called after each task.

    Raises:
        UsageError: Ray is not installed, or the parts are not those of a file.
        FileError: A node cannot read a file.
        FtkitError: There is no such cluster, it was lost, or a task failed for good.
    """
    if find_spec("ray") is None:
        raise UsageError(f"`engine` ray needs the package ray: {install_command('ray')}")
    _check_listening(address)
    cluster = Cluster(address, limit, progress)
    try:
        cluster.connect()
        yield cluster.map
    finally:
        cluster.close()


def _check_listening(address: str) -> None:
    """Raise `FtkitError` if nothing listens at an address, since Ray takes minutes to say so."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), LISTEN_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise FtkitError(
            f"no Ray cluster answers at {address}: {os_error_message(error)}; "
            "is its head node running?"
        ) from error


class Cluster:
    """A cluster, through its driver process."""

    def __init__(self, address: str, limit: int | None, progress: Progress | None) -> None:
        self._address, self._limit, self._progress = address, limit, progress
        self._process = subprocess.Popen(
            [*RUN_MODULE, "ftkit.validation.ray_driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=os.path.abspath(os.sep),  # the driver's folder is on the path of its tasks
            start_new_session=True,  # interrupts are for this process, which closes the driver's
        )
        streams = (self._process.stdout, self._process.stdin)
        self._channel = Channel(*(cast(BinaryIO, stream) for stream in streams))
        self._messages: SimpleQueue[FromDriver | None] = SimpleQueue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        self._is_ready = False
        self._processors = 0.0
        self._last_sign: float | None = None
        self._sent = 0
        self._files: dict[int, tuple[str, int]] = {}
        self._results: dict[int, bytes] = {}

    def connect(self) -> None:
        """Connect to the cluster and check the versions of its nodes."""
        self._send(Start(self._address))
        deadline = time.monotonic() + CONNECT_SECONDS
        while not (self._is_ready and self._processors):
            if time.monotonic() > deadline:
                raise FtkitError(
                    f"no answer from the Ray cluster at {self._address} in {CONNECT_SECONDS:.0f} s;"
                    " ftkit must run on one of its nodes, and one must have a processor"
                )
            self._take(timeout=1)

    def map(self, scan: PlannedScan, parts: Iterable[Part]) -> Iterator[Summary]:
        """Yield the summaries of the parts in order. Adjacent shards have one summary."""
        tasks = self._tasks(scan, parts)
        is_last = False
        added = self._sent
        while not is_last or added < self._sent:
            while not is_last and self._has_room(added):
                task = next(tasks, None)
                is_last = task is None
                if task is not None:
                    self._send(Order(self._sent, task))
                    self._sent += 1
            if added in self._results:
                data = self._results.pop(added)
                added += 1
                yield msgspec.msgpack.decode(data, type=Summary)
            elif added < self._sent:
                self._take(timeout=1)

    def _has_room(self, added: int) -> bool:
        room = max(1, self._limit or int(RUNNING_PER_PROCESSOR * self._processors))
        return len(self._files) < room and self._sent - added < room * WINDOW

    def _tasks(self, scan: PlannedScan, parts: Iterable[Part]) -> Iterator[bytes]:
        """Yield the tasks for some parts of one file; note for each the file and its bytes."""
        iterator = iter(parts)
        first = next(iterator, None)
        if first is None:
            return
        if not isinstance(first, Shard):
            raise UsageError(
                f"{first.file} is read by this machine only, so `engine` ray cannot share it; "
                "write it to a file on a path that all nodes share, or to object storage"
            )
        shards = cast(list[Shard], list(chain([first], iterator)))
        path, sample = _sample(first.file)
        most = max(1, int(len(shards) / max(1, TASKS_PER_PROCESSOR * self._processors)))
        for shard in joined(shards, min(most, MAX_JOINED)):
            self._files[self._sent] = shard.file, shard.end - shard.start
            task = Task(scan, msgspec.structs.replace(shard, file=""), os.fsencode(path), sample)
            yield msgspec.msgpack.encode(task)

    def _take(self, timeout: float) -> None:
        """Take a message of the driver, if there is one in time."""
        try:
            message = self._messages.get(timeout=timeout)
        except Empty:
            if self._last_sign and time.monotonic() - self._last_sign > HEAD_SECONDS:
                raise self._lost() from None
            return
        match message:
            case Alive():
                self._processors = message.processors or self._processors
                self._last_sign = time.monotonic()
            case Ready():
                self._is_ready = True
            case Result():
                self._keep(message)
            case Failed():
                raise self._error(message)
            case _:
                raise self._lost()

    def _keep(self, result: Result) -> None:
        self._results[result.number] = result.summary
        file, size = self._files.pop(result.number)
        if self._progress:
            if size < 0:
                size = msgspec.msgpack.decode(result.summary, type=Summary).size
            self._progress(file, size)

    def _error(self, failed: Failed) -> FtkitError:
        text = os.fsdecode(failed.message)
        for file in {file for file, _ in self._files.values()}:
            text = text.replace(os.path.abspath(file), file)
        if failed.of_file:
            return FileError(text)
        return FtkitError(text if self._is_ready else f"Ray cluster {self._address}: {text}")

    def _lost(self) -> FtkitError:
        return FtkitError(
            f"the connection to the Ray cluster at {self._address} was lost; its head node, or the "
            "node on this machine, has ended (see: ray status)"
        )

    def _send(self, message: Start | Order) -> None:
        try:
            self._channel.send(message)
        except OSError:
            raise self._lost() from None

    def _read(self) -> None:
        """Queue what the driver sends, and None at its end."""
        with suppress(OSError, ValueError, msgspec.MsgspecError):
            while (message := self._channel.receive()) is not None:
                self._messages.put(cast(FromDriver, message))
        self._messages.put(None)

    def close(self) -> None:
        """End the driver and its tasks."""
        stdin, stdout = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        with suppress(OSError):
            stdin.close()
        try:
            self._process.wait(END_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            stdout.close()


def joined(shards: Sequence[Shard], most: int) -> Iterator[Shard]:
    """Yield the shards of a file, with up to `most` adjacent ones joined into one."""
    for start in range(0, len(shards), most):
        yield msgspec.structs.replace(shards[start], end=shards[start : start + most][-1].end)


def _sample(file: str) -> tuple[str, Sample | None]:
    """Return the absolute path of a file and its sample; a URL is itself and has no sample.

    Raises:
        FileError: The file cannot be read.
    """
    if is_url(file):
        return file, None
    path = os.path.abspath(file)
    try:
        return path, sample_file(path)
    except OSError as error:
        raise FileError(f"cannot open {file}: {os_error_message(error)}") from error
