"""Tasks that scan shards and compare examples on the nodes of a cluster.

The nodes import this module, without Ray.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache

import msgspec
from msgspec import Struct

from ftkit.dataset.reader import Shard
from ftkit.errors import FileError, FtkitError, os_error_message
from ftkit.validation.partition_operations import Operation, Outcome
from ftkit.validation.ray_messages import LENGTH, Failure
from ftkit.validation.scan import PlannedScan

PIECES, PIECE_BYTES = 16, 1 << 12
"""Number and size of the pieces of a file that are hashed."""

MIN_OUTPUT_BYTES = 101 << 10
"""Minimum size of an output that is not empty. Ray sends up to 100 KiB to the driver itself."""


class FileDigest(Struct, frozen=True):
    """Size of a file in bytes, and the SHA-256 of pieces of it.

    It shows that a node has another file at a path, without reading the file to its end.
    """

    size: int
    digest: bytes


class ScanShard(Struct, tag=True, frozen=True):
    """A shard to scan. The fingerprints of its examples are an output.

    Attributes:
        scan: The function that scans it.
        shard: The shard, with an empty `file`, since a path may not be UTF-8.
        path: Path or URL of the file.
        digest: Digest of the file on the machine that sent the task, or None for a URL.
    """

    scan: PlannedScan
    shard: Shard
    path: bytes
    digest: FileDigest | None


Task = ScanShard | Operation


def digest_file(path: str) -> FileDigest:
    """Return the digest of a file: of `PIECES` pieces at equal distances, the last at its end.

    Raises:
        OSError: The file cannot be read.
    """
    sha256 = hashlib.sha256()
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        for number in range(PIECES):
            stream.seek(max(size - PIECE_BYTES, 0) * number // (PIECES - 1))
            sha256.update(stream.read(PIECE_BYTES))
    return FileDigest(size, sha256.digest())


Error = Failure | str
"""Error of a task. It is text if the node has other versions of ftkit or Python."""


def run_task(data: bytes, node: str, inputs: Sequence[bytes | Error] = ()) -> list[bytes] | Error:
    """Run a task.

    Args:
        data: A `Task`.
        node: Name of this node, for error messages.
        inputs: Outputs of other tasks, or their errors.

    Returns:
        The result and the outputs; or the error of the file, the node or an input.
    """
    outputs = []
    for output in inputs:
        if not isinstance(output, bytes):
            return output
        outputs.append(unpadded(output))
    task: Task = msgspec.msgpack.decode(data, type=Task)
    outcome = _scan(task, node) if isinstance(task, ScanShard) else task(outputs)
    if isinstance(outcome, Failure):
        return outcome
    return [outcome.result, *map(padded, outcome.outputs)]


def _scan(task: ScanShard, node: str) -> Outcome | Failure:
    """Scan a shard. Return its summary and its fingerprints, or the error of the file or node."""
    path = os.fsdecode(task.path)
    try:
        if task.digest is not None:
            _check_file(path, task.digest, node)
        shard = msgspec.structs.replace(task.shard, file=path)
        summary = task.scan(shard)
        bare = msgspec.structs.replace(summary, fingerprints=b"")
        return Outcome(msgspec.msgpack.encode(bare), [summary.fingerprints])
    except FileError as error:
        prefix = f"node {node}: " if task.digest is None else ""  # nodes have keys of their own
        return Failure(os.fsencode(f"{prefix}{error}"), is_file_error=True)
    except FtkitError as error:
        return Failure(os.fsencode(str(error)))


def padded(output: bytes) -> bytes:
    """Return an output with its length before it, padded so that Ray keeps it on the node."""
    if not output:
        return b""
    return (LENGTH.pack(len(output)) + output).ljust(MIN_OUTPUT_BYTES, b"\0")


def unpadded(data: bytes) -> bytes:
    """Return the output that was padded."""
    if not data:
        return b""
    (length,) = LENGTH.unpack_from(data)
    return data[LENGTH.size : LENGTH.size + length]


@lru_cache(maxsize=1000)
def _check_file(path: str, digest: FileDigest, node: str) -> None:
    """Raise `FtkitError` if the node's file has another digest."""
    try:
        reason = "" if digest_file(path) == digest else f"has another file at {path}"
    except OSError as error:
        reason = f"cannot read {path}: {os_error_message(error)}"
    if reason:
        raise FtkitError(
            f"node {node} {reason}; files on a disk that only this machine reads must be put into "
            "object storage or on a path that all nodes share, or run without `engine`"
        )
