"""Tasks that scan shards on the nodes of a cluster. The nodes import this module, without Ray."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache

import msgspec
from msgspec import Struct

from ftkit.dataset.reader import Shard
from ftkit.errors import FileError, FtkitError, os_error_message
from ftkit.validation.ray_messages import Failure
from ftkit.validation.scan import PlannedScan

PIECES, PIECE_BYTES = 16, 1 << 12
"""Number and size of the pieces of a file that are hashed."""


class FileDigest(Struct, frozen=True):
    """Size of a file in bytes, and the SHA-256 of pieces of it.

    It shows that a node has another file at a path, without reading the file to its end.
    """

    size: int
    digest: bytes


class Task(Struct, frozen=True):
    """A shard to scan.

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


def run_task(data: bytes, node: str) -> bytes | Failure:
    """Scan a shard.

    Args:
        data: A `Task`.
        node: Name of this node, for error messages.

    Returns:
        Bytes of the `Summary`, or the error of the file or of the node.
    """
    task = msgspec.msgpack.decode(data, type=Task)
    path = os.fsdecode(task.path)
    try:
        if task.digest is not None:
            _check_file(path, task.digest, node)
        shard = msgspec.structs.replace(task.shard, file=path)
        return msgspec.msgpack.encode(task.scan(shard))
    except FileError as error:
        prefix = f"node {node}: " if task.digest is None else ""  # nodes have keys of their own
        return Failure(os.fsencode(f"{prefix}{error}"), is_file_error=True)
    except FtkitError as error:
        return Failure(os.fsencode(str(error)))


@lru_cache(maxsize=1000)
def _check_file(path: str, digest: FileDigest, node: str) -> None:
    """Raise `FtkitError` if the node has not the file that the digest was made of."""
    try:
        reason = "" if digest_file(path) == digest else f"has another file at {path}"
    except OSError as error:
        reason = f"cannot read {path}: {os_error_message(error)}"
    if reason:
        raise FtkitError(
            f"node {node} {reason}; files on a disk that only this machine reads must be put into "
            "object storage or on a path that all nodes share, or run without `engine`"
        )
