"""Tasks that scan shards on the nodes of a cluster. The nodes import this module, without Ray."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache

import msgspec
from msgspec import Struct

from ftkit.dataset.reader import Shard
from ftkit.errors import FileError, FtkitError, os_error_message
from ftkit.validation.scan import PlannedScan

SAMPLES, SAMPLE_BYTES = 16, 1 << 12
"""Number and size of the pieces of a file that tell whether two machines have the same file."""


class Sample(Struct, frozen=True):
    """Size of a file in bytes, and a hash of pieces of it."""

    size: int
    digest: bytes


class Task(Struct, frozen=True):
    """A shard to scan. `path` is the file of the shard, which is empty there: it may not be UTF-8.

    `sample` is that of a file on a disk of the machine that sent the task, or None for a URL.
    """

    scan: PlannedScan
    shard: Shard
    path: bytes
    sample: Sample | None


def sample_file(path: str) -> Sample:
    """Return the sample of a file: `SAMPLES` pieces at equal distances, the last at its end.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        for number in range(SAMPLES):
            stream.seek(max(size - SAMPLE_BYTES, 0) * number // (SAMPLES - 1))
            digest.update(stream.read(SAMPLE_BYTES))
    return Sample(size, digest.digest())


def run_task(data: bytes, node: str) -> tuple[str, bytes]:
    """Scan a shard.

    Args:
        data: A `Task`.
        node: Name of this node, for error messages.

    Returns:
        `summary` and the bytes of a `Summary`; or `error` and a message, which is `file-error` for
        one that does not depend on the node.
    """
    task = msgspec.msgpack.decode(data, type=Task)
    path = os.fsdecode(task.path)
    try:
        if task.sample is not None:
            _check_file(path, task.sample, node)
        shard = msgspec.structs.replace(task.shard, file=path)
        return "summary", msgspec.msgpack.encode(task.scan(shard))
    except FileError as error:
        if task.sample is None:  # nodes have keys of their own
            error = FileError(f"node {node}: {error}")
        return "file-error", os.fsencode(str(error))
    except FtkitError as error:
        return "error", os.fsencode(str(error))


@lru_cache(maxsize=1000)
def _check_file(path: str, sample: Sample, node: str) -> None:
    """Raise `FtkitError` if the file is not the one that the driver has."""
    try:
        own = sample_file(path)
        reason = "" if own == sample else f"has another file at {path}"
    except OSError as error:
        reason = f"cannot read {path}: {os_error_message(error)}"
    if reason:
        raise FtkitError(
            f"node {node} {reason}; files on a disk that only this machine reads must be put into "
            "object storage or on a path that all nodes share, or run without `engine`"
        )
