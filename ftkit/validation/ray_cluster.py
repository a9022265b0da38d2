"""Scanning on the nodes of a Ray cluster, through a driver process.

    parts → joined shards → Submit → driver process → nodes → Result → summaries, in order
    fingerprints, which stay on the nodes → `PartitionedFingerprints` → Submit → … → lines

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
from typing import BinaryIO, NamedTuple, cast

import msgspec

from ftkit._local import RUN_MODULE
from ftkit.dataset.object_location import is_url
from ftkit.dataset.reader import Part, Shard
from ftkit.errors import FileError, FtkitError, UsageError, install_command, os_error_message
from ftkit.summary import Summary
from ftkit.validation.cluster_fingerprints import STORED, Output, PartitionedFingerprints, Step
from ftkit.validation.ray_messages import (
    Channel,
    Connect,
    Failure,
    FromDriver,
    Heartbeat,
    Ready,
    Release,
    Result,
    Submit,
    ToDriver,
)
from ftkit.validation.ray_tasks import FileDigest, ScanShard, digest_file
from ftkit.validation.scan import Engine, PlannedScan, Progress

CONNECT_SECONDS = 60.0
"""Seconds in which the cluster must be connected, and its nodes checked."""

LISTEN_SECONDS = 10.0
"""Seconds in which the cluster's head must accept a connection."""

HEAD_SECONDS = 30.0
"""Seconds without a heartbeat after which the cluster's head counts as dead."""

END_SECONDS = 10.0
"""Seconds in which the driver process must have ended."""

TASKS_PER_PROCESSOR = 8
"""Minimum number of tasks for each processor; only more shards than that are joined."""

TASK_BYTES = 256 << 20
"""Maximum size of a task of several shards, since a task starts anew if its node dies."""

RUNNING_PER_PROCESSOR = 2
"""Tasks of each processor: one running, one waiting."""

WINDOW = 4
"""Maximum number of tasks without a yielded result, as a multiple of those that run."""


@contextmanager
def ray_cluster(
    address: str, limit: int | None = None, progress: Progress | None = None
) -> Iterator[Engine]:
    """Yield an engine that scans on the nodes of a cluster.

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
        yield Engine(cluster.map, cluster.fingerprints)
    finally:
        cluster.close()


def _check_listening(address: str) -> None:
    """Raise `FtkitError` if nothing listens at an address, since Ray takes minutes to say so."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), LISTEN_SECONDS).close()
    except OSError as error:
        raise FtkitError(
            f"no Ray cluster answers at {address}: {os_error_message(error)}; "
            "is its head node running?"
        ) from error


class _QueuedTask(NamedTuple):
    """Task that is not yet submitted.

    Attributes:
        data: Bytes of a `ray_tasks.Task`.
        inputs: Its inputs.
        outputs: Number of its outputs.
        shard: The shard that it scans, if it does.
    """

    data: bytes
    inputs: Sequence[Output]
    outputs: int
    shard: Shard | None = None


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
        self._last_heartbeat: float | None = None
        self._submitted = 0
        self._running: dict[int, Shard | None] = {}
        self._received: dict[int, bytes] = {}

    def connect(self) -> None:
        """Connect to the cluster and check the versions of its nodes."""
        self._send(Connect(self._address))
        deadline = time.monotonic() + CONNECT_SECONDS
        while not (self._is_ready and self._processors):
            if time.monotonic() > deadline:
                raise FtkitError(
                    f"no answer from the Ray cluster at {self._address} in {CONNECT_SECONDS:.0f} s;"
                    " ftkit must run on one of its nodes, and one must have a processor"
                )
            self._handle_message(timeout=1)

    def map(self, scan: PlannedScan, parts: Iterable[Part]) -> Iterator[Summary]:
        """Yield the summaries of the parts in order. Adjacent shards have one summary.

        The fingerprints of their examples stay on the nodes; see `STORED`.
        """
        for number, data in self._results(self._scans(scan, parts)):
            summary = msgspec.msgpack.decode(data, type=Summary)
            stored = STORED.pack(0, number, summary.examples)
            yield msgspec.structs.replace(summary, fingerprints=stored)

    def fingerprints(self, summary: Summary) -> PartitionedFingerprints:
        """Return the fingerprints of a file, given the sum of its summaries."""
        return PartitionedFingerprints(summary.fingerprints, self)

    def run(self, steps: Iterable[Step]) -> Iterator[tuple[int, bytes]]:
        """Yield the number of the task of each step, and its result, in order."""
        return self._results(
            _QueuedTask(msgspec.msgpack.encode(step.operation), step.inputs, step.outputs)
            for step in steps
        )

    def release(self, tasks: Iterable[int]) -> None:
        """Drop the outputs of tasks."""
        self._send(Release(tuple(tasks)))

    def _results(self, tasks: Iterator[_QueuedTask]) -> Iterator[tuple[int, bytes]]:
        """Yield the number and the result of each task, in order."""
        task = next(tasks, None)
        yielded = self._submitted
        while task is not None or yielded < self._submitted:
            while task is not None and self._has_room(yielded):
                self._submit(task)
                task = next(tasks, None)
            if yielded in self._received:
                yield yielded, self._received.pop(yielded)
                yielded += 1
            else:
                self._handle_message(timeout=1)

    def _has_room(self, yielded: int) -> bool:
        """Return True if another task can be submitted when that many results were yielded."""
        room = max(1, self._limit or int(RUNNING_PER_PROCESSOR * self._processors))
        return len(self._running) < room and self._submitted - yielded < room * WINDOW

    def _submit(self, task: _QueuedTask) -> None:
        self._running[self._submitted] = task.shard
        self._send(Submit(self._submitted, task.data, tuple(task.inputs), task.outputs))
        self._submitted += 1

    def _scans(self, scan: PlannedScan, parts: Iterable[Part]) -> Iterator[_QueuedTask]:
        """Yield the tasks that scan the parts of one file."""
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
        path, digest = _path_and_digest(first.file)
        for shard in joined(shards, shards_per_task(shards, self._processors)):
            unnamed = msgspec.structs.replace(shard, file="")
            task = ScanShard(scan, unnamed, os.fsencode(path), digest)
            yield _QueuedTask(msgspec.msgpack.encode(task), (), 1, shard)

    def _handle_message(self, timeout: float) -> None:
        """Handle a message of the driver, if one arrives within `timeout` seconds.

        Raises:
            FtkitError: The message is an error, or the driver or the cluster's head has died.
        """
        try:
            message = self._messages.get(timeout=timeout)
        except Empty:
            if self._last_heartbeat and time.monotonic() - self._last_heartbeat > HEAD_SECONDS:
                raise self._connection_lost() from None
            return
        match message:
            case Heartbeat():
                self._processors = message.processors or self._processors
                self._last_heartbeat = time.monotonic()
            case Ready():
                self._is_ready = True
            case Result():
                self._add_result(message)
            case Failure():
                raise self._failure(message)
            case None:
                raise self._connection_lost()

    def _add_result(self, result: Result) -> None:
        self._received[result.number] = result.data
        shard = self._running.pop(result.number)
        if self._progress and shard:
            size = shard.end - shard.start
            if shard.end < 0:  # of a compressed file, whose size is that of its lines
                size = msgspec.msgpack.decode(result.data, type=Summary).size
            self._progress(shard.file, size)

    def _failure(self, failure: Failure) -> FtkitError:
        text = os.fsdecode(failure.message)
        for file in {shard.file for shard in self._running.values() if shard}:
            text = text.replace(os.path.abspath(file), file)
        if failure.is_file_error:
            return FileError(text)
        return FtkitError(text if self._is_ready else f"Ray cluster {self._address}: {text}")

    def _connection_lost(self) -> FtkitError:
        return FtkitError(
            f"the connection to the Ray cluster at {self._address} was lost; its head node, or the "
            "node on this machine, has ended (see: ray status)"
        )

    def _send(self, message: ToDriver) -> None:
        try:
            self._channel.send(message)
        except OSError:
            raise self._connection_lost() from None

    def _read(self) -> None:
        """Queue what the driver sends, and None at its end."""
        with suppress(OSError, ValueError, msgspec.MsgspecError):
            while (message := self._channel.receive()) is not None:
                self._messages.put(cast(FromDriver, message))
        self._messages.put(None)

    def close(self) -> None:
        """End the driver and its tasks. A driver that does not end in time is killed."""
        stdin, stdout = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        with suppress(OSError):
            stdin.close()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            stdout.close()


def shards_per_task(shards: Sequence[Shard], processors: float) -> int:
    """Return the number of adjacent shards of a file that are joined into a task.

    Args:
        shards: All shards of the file; the first one is as large as any.
        processors: Number of processors of the cluster.
    """
    share = int(len(shards) / max(1, TASKS_PER_PROCESSOR * processors))
    size = max(1, shards[0].end - shards[0].start)
    return max(1, min(share, TASK_BYTES // size))


def joined(shards: Sequence[Shard], count: int) -> Iterator[Shard]:
    """Yield the shards of a file, with each `count` adjacent ones joined into one."""
    for start in range(0, len(shards), count):
        yield msgspec.structs.replace(shards[start], end=shards[start : start + count][-1].end)


def _path_and_digest(file: str) -> tuple[str, FileDigest | None]:
    """Return the absolute path of a file with its digest, or a URL with None.

    Raises:
        FileError: The file cannot be read.
    """
    if is_url(file):
        return file, None
    path = os.path.abspath(file)
    try:
        return path, digest_file(path)
    except OSError as error:
        raise FileError(f"cannot open {file}: {os_error_message(error)}") from error
