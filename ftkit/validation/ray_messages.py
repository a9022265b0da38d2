"""Messages between ftkit and the driver process of a Ray cluster, over its standard streams."""

from __future__ import annotations

import struct
from threading import Lock
from typing import BinaryIO

import msgspec
from msgspec import Struct

LENGTH = struct.Struct("<Q")
"""Prefix of a message: its number of bytes."""


class Connect(Struct, tag=True, frozen=True):
    """First message to the driver: connect to the cluster at this address."""

    address: str


class Submit(Struct, tag=True, frozen=True):
    """A numbered task for the cluster.

    Attributes:
        number: Number of the task, from 0.
        task: Bytes of a `ray_tasks.Task`.
        inputs: Outputs of other tasks, each by the number of the task and that of the output.
        outputs: Number of outputs, which stay on the node.
    """

    number: int
    task: bytes
    inputs: tuple[tuple[int, int], ...] = ()
    outputs: int = 0


class Release(Struct, tag=True, frozen=True):
    """The outputs of these tasks are not needed any more."""

    tasks: tuple[int, ...]


class Ready(Struct, tag=True, frozen=True):
    """The nodes have been checked, and tasks can be submitted."""


class Heartbeat(Struct, tag=True, frozen=True):
    """Heartbeat of the cluster's head, with the number of processors of all nodes."""

    processors: float


class Result(Struct, tag=True, frozen=True):
    """Result of a task: bytes of a `Summary`, or of the result of an operation."""

    number: int
    data: bytes


class Failure(Struct, tag=True, frozen=True):
    """Error that ends the command. The message is bytes, since paths need not be UTF-8."""

    message: bytes
    is_file_error: bool = False
    """True if the file is the cause, so that the command would fail on one machine, too."""


ToDriver = Connect | Submit | Release
FromDriver = Ready | Heartbeat | Result | Failure


class Channel:
    """Messages over two streams. Sending is thread-safe."""

    def __init__(self, source: BinaryIO, target: BinaryIO) -> None:
        self._source, self._target = source, target
        self._lock = Lock()

    def send(self, message: ToDriver | FromDriver) -> None:
        """Send a message.

        Raises:
            OSError: The other side has closed the stream.
        """
        data = msgspec.msgpack.encode(message)
        with self._lock:
            self._target.write(LENGTH.pack(len(data)))
            self._target.write(data)
            self._target.flush()

    def receive(self) -> ToDriver | FromDriver | None:
        """Return the next message, or None at the end of the stream."""
        prefix = self._source.read(LENGTH.size)
        if len(prefix) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack(prefix)
        data = self._source.read(length)
        if len(data) < length:
            return None
        message: ToDriver | FromDriver = msgspec.msgpack.decode(data, type=ToDriver | FromDriver)
        return message
