"""Downloads of what jobs have made: adapters as zip archives, and logs."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ftkit.server.adapters import CONFIG, WEIGHTS

ADAPTER_FILES = (CONFIG, WEIGHTS)
"""Files of an adapter, as PEFT names them."""

CHUNK = 1 << 20
"""Bytes that are read at a time."""

ZIP_EPOCH = 315_532_800
"""Unix time of 1980-01-01, the earliest date in a zip archive."""


class _Output:
    """Stream without positions, which holds what was written until it is taken."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Append bytes."""
        self._chunks.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing, since nothing is buffered."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data


def zip_adapter(adapter: Path) -> Iterator[bytes]:
    """Yield a zip archive with the files of an adapter only.

    Memory does not grow with the files. They are not compressed, since that hardly makes weights
    smaller.

    Args:
        adapter: Folder of the adapter.
    """
    return _zip_files([adapter / name for name in ADAPTER_FILES])


def _zip_files(paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield a zip archive with these files under their names."""
    output = _Output()
    with zipfile.ZipFile(output, "w") as archive:  # type: ignore[call-overload]
        for path in paths:
            with path.open("rb") as file:
                stat = os.fstat(file.fileno())
                info = zipfile.ZipInfo(path.name, time.gmtime(max(stat.st_mtime, ZIP_EPOCH))[:6])
                info.external_attr, info.file_size = 0o644 << 16, stat.st_size
                with archive.open(info, "w") as entry:
                    while data := file.read(CHUNK):
                        entry.write(data)
                        yield output.take()
    yield output.take()


def is_complete(adapter: Path) -> bool:
    """Return True if all files of an adapter are there."""
    return all((adapter / name).is_file() for name in ADAPTER_FILES)


def read_log(path: Path, size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of a log, which may be growing."""
    with path.open("rb") as file:
        while size > 0 and (data := file.read(min(CHUNK, size))):
            size -= len(data)
            yield data


def read_tail(path: Path, size: int) -> tuple[str, bool]:
    """Return the last lines of a log, and False if there is more before them.

    Args:
        path: Path of the log. The text is empty if the file does not exist.
        size: Maximum number of bytes.
    """
    try:
        with path.open("rb") as file:
            start = max(file.seek(0, os.SEEK_END) - size, 0)
            file.seek(start)
            data = file.read(size)
    except FileNotFoundError:
        return "", True
    if start:
        data = data.partition(b"\n")[2] or data
    return data.decode("utf-8", "replace"), not start
