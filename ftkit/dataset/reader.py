"""Reading dataset files: heads, parts and blocks of lines.

    FileRanges(path) → Shard → blocks → lines    ranges that any process can read for itself
    ObjectRanges(URL) → Shard → blocks → lines   the same, of an object in object storage
    SinglePass(path) → Chunk → blocks → lines    bytes that are read once, in order, and hashed

A `Shard` or a `Chunk` is a part of a file; a line belongs to the part that holds its first byte.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from msgspec import Struct

from ftkit.dataset.detect import HEAD_BYTES, Head
from ftkit.dataset.files import check_regular
from ftkit.dataset.lenient_json import MAX_LINE_BYTES
from ftkit.dataset.object_location import is_url
from ftkit.errors import FileError, os_error_message

BLOCK_BYTES = 1 << 18
"""Bytes that are decoded at a time. A line that is longer is read whole, up to `MAX_LINE_BYTES`."""

MAX_SHARDS = 1 << 17
"""Maximum number of shards of a file, whose list is in memory. Those of larger files are larger.

A web server may say that a file has any size.
"""

PART_BYTES = 16 << 20
"""Bytes of a part: few enough that workers finish together, many enough to be worth starting."""

SKIP_BYTES = 1 << 20
"""Bytes that are read at a time of a line that is skipped."""

OVERLAP_BYTES = 1 << 16
"""Bytes after a shard of an object that its request includes, for the end of its last line."""

READ_ERRORS = (OSError, EOFError, zlib.error)
"""Exceptions of reading an open file, compressed or not."""


class Shard(Struct, frozen=True):
    """The lines of `file` whose first byte lies in `[start, end)`. A compressed file is one shard.

    `end` is -1 for a compressed file, whose size is unknown. `etag` is the ETag that `file` must
    have if it is the URL of an object.
    """

    file: str
    start: int
    end: int
    etag: str = ""


class Chunk(Struct, frozen=True):
    """Whole lines of `file`, as bytes that have been read already, from offset `start` on."""

    file: str
    start: int
    data: bytes
    ends_file: bool
    skipped: int = 0
    """Bytes of the last line that are not in `data`, since it is too long to be read."""


Part = Shard | Chunk


class Block(NamedTuple):
    """Some lines, without their line feeds, and their size in bytes, with them.

    A line of more than `MAX_LINE_BYTES` is cut behind the next byte.
    """

    lines: list[bytes]
    size: int
    ends_file: bool


class Source(Protocol):
    """A file to scan: its path, its beginning and its parts in order."""

    path: str

    def head(self) -> Head:
        """Return the beginning of the file."""

    def parts(self) -> Iterable[Part]:
        """Return the parts of the file, in order."""

    def size(self) -> int:
        """Return the number of bytes of the file, which may read it to its end."""


class FileRanges:
    """A file on this machine or a shared drive, whose shards any process can read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def head(self) -> Head:
        """Return the beginning of the file."""
        return read_head(self.path)

    def parts(self) -> list[Shard]:
        """Return the shards of the file."""
        return split(self.path)

    def size(self) -> int:
        """Return the number of bytes of the file, compressed if it is."""
        return os.path.getsize(self.path)


class SinglePass:
    """A regular, uncompressed file, or a stream, that is read once, in order, and hashed.

    A context manager: the file is open inside the `with` block. Call `head()` first, then
    `parts()`, then `sha256()`, which reads what is left: the hash is that of the whole file, and
    the bytes that were scanned are the bytes that were hashed.
    """

    def __init__(
        self, path: str, part_bytes: int = PART_BYTES, stream: BinaryIO | None = None
    ) -> None:
        """Read the first part.

        Args:
            path: Path of the file, or name of the stream.
            part_bytes: Bytes of a part.
            stream: Buffered stream to read instead of a file.

        Raises:
            FileError: The file cannot be read, or is not a regular file.
        """
        if stream is None:
            check_regular(path)
        self.path = path
        self._part_bytes = part_bytes
        self._hash = hashlib.sha256()
        self._offset = 0
        self._at_end = False
        self._stream = open_file(path) if stream is None else stream
        try:
            self._first = self._read()
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> SinglePass:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def head(self) -> Head:
        """Return the beginning of the file."""
        data = self._first.data
        is_longer = data.find(b"\n", 0, HEAD_BYTES) < 0
        end = (data.find(b"\n", HEAD_BYTES) + 1 or len(data)) if is_longer else HEAD_BYTES
        complete = self._first.ends_file and not self._first.skipped and len(data) <= end
        return _head(self.path, data[:end], complete)

    def parts(self) -> Iterator[Chunk]:
        """Yield the chunks of the file; each is read when it is asked for."""
        chunk = self._first
        del self._first
        while True:
            yield chunk
            if chunk.ends_file:
                return
            del chunk  # so that it can be freed before the next one is read
            chunk = self._read()

    def sha256(self) -> str:
        """Return the SHA-256 of the whole file, as hexadecimal digits."""
        while not self._at_end:
            self._read()
        return self._hash.hexdigest()

    def size(self) -> int:
        """Return the number of bytes of the whole file."""
        self.sha256()
        return self._offset

    def _read(self) -> Chunk:
        stream: Any = self._stream
        start = self._offset
        try:
            data = _complete(stream, stream.read(self._part_bytes))
            self._hash.update(data)
            self._offset += len(data)
            for piece in _rest_of_line(stream, data):
                self._hash.update(piece)
                self._offset += len(piece)
            self._at_end = not stream.peek(1)
        except OSError as error:
            raise FileError(f"cannot read {self.path}: {os_error_message(error)}") from error
        skipped = self._offset - start - len(data)
        return Chunk(self.path, start, data, self._at_end, skipped)


def is_compressed(file: str) -> bool:
    """Return True if the file is read through gzip, because its name ends in `.gz`."""
    return file.endswith(".gz")


def open_file(file: str) -> BinaryIO:
    """Open a file or an object for reading bytes, through gzip if its name says so.

    Raises:
        FileError: The file cannot be opened.
    """
    try:
        return _unpacked(open_stored(file), file)
    except OSError as error:
        raise FileError(f"cannot open {file}: {os_error_message(error)}") from error


def open_stored(file: str) -> BinaryIO:
    """Open a file or an object for reading as it is stored, even if its name ends in `.gz`.

    Raises:
        FileError: There is no such object; reading one raises it, too.
        OSError: The file cannot be opened.
    """
    if not is_url(file):
        return open(file, "rb")
    from ftkit.dataset.object_store import open_object

    return open_object(file)


class _GzipStream(gzip.GzipFile):
    """Reader of a compressed stream that closes the stream, too."""

    def __init__(self, stream: BinaryIO) -> None:
        self._compressed = stream
        super().__init__(fileobj=stream, mode="rb")

    def close(self) -> None:
        super().close()
        self._compressed.close()


def _unpacked(stream: BinaryIO, file: str) -> BinaryIO:
    return cast(BinaryIO, _GzipStream(stream)) if is_compressed(file) else stream


def read_head(file: str) -> Head:
    """Return the beginning of a file.

    Raises:
        FileError: The file cannot be read.
    """
    with open_file(file) as stream:
        try:
            data = stream.read(HEAD_BYTES)
            if b"\n" not in data:
                data += stream.readline(MAX_LINE_BYTES)
            return _head(file, data, complete=not stream.read(1))
        except READ_ERRORS as error:
            raise FileError(f"cannot read {file}: {error}; is it really gzip?") from error


def _head(file: str, data: bytes, complete: bool) -> Head:
    """Return the head with the whole lines in `data`, or with all of it if it has none."""
    if not complete:
        data = data[: data.rfind(b"\n") + 1] or data
    return Head(file, data, complete)


def split(file: str, size: int = PART_BYTES) -> list[Shard]:
    """Split a file into shards of about `size` bytes, in order.

    Raises:
        FileError: The file cannot be found.
    """
    try:
        total = os.stat(file).st_size
    except OSError as error:
        raise FileError(f"cannot open {file}: {os_error_message(error)}") from error
    return shards_of(file, total, size)


def shards_of(file: str, total: int, size: int, etag: str = "") -> list[Shard]:
    """Return the shards of about `size` bytes of a file or an object of `total` bytes, in order.

    Args:
        file: Path of the file, or URL of the object.
        total: Bytes of the file.
        size: Bytes of a shard.
        etag: ETag of the object.
    """
    if is_compressed(file):
        return [Shard(file, 0, -1, etag)]
    size = max(size, -(-total // MAX_SHARDS))
    starts = range(0, max(total, 1), size)
    return [Shard(file, start, min(start + size, total), etag) for start in starts]


def blocks(part: Part) -> Iterator[Block]:
    """Yield the lines of a part in blocks of about `BLOCK_BYTES`.

    Raises:
        OSError, EOFError, zlib.error: The file cannot be read; see `READ_ERRORS`.
    """
    return _read_blocks(part) if isinstance(part, Shard) else _cut_blocks(part)


def _read_blocks(shard: Shard) -> Iterator[Block]:
    with _open_shard(shard) as opened:
        stream: Any = opened
        if shard.start:
            stream.seek(shard.start - 1)
            _skip_line(stream, shard.end - shard.start + 1)
        while shard.end < 0 or stream.tell() < shard.end:
            room = BLOCK_BYTES if shard.end < 0 else min(BLOCK_BYTES, shard.end - stream.tell())
            data = _complete(stream, stream.read(room))
            if not data:
                return
            size = len(data) + sum(map(len, _rest_of_line(stream, data)))
            lines = _lines(data)
            del data  # a line may be large, and is held only once
            yield Block(lines, size, not stream.peek(1))


def _open_shard(shard: Shard) -> BinaryIO:
    """Open the file of a shard from its beginning, to be read from the shard on."""
    if not shard.etag:
        return open_file(shard.file)
    from ftkit.dataset.object_store import open_range

    start = max(shard.start - 1, 0)  # the byte before tells if a line begins at the shard
    end = None if shard.end < 0 else shard.end + OVERLAP_BYTES
    return _unpacked(open_range(shard.file, shard.etag, start, end), shard.file)


def _complete(stream: Any, data: bytes) -> bytes:
    """Return the data with the rest of its last line, or `MAX_LINE_BYTES` and one byte of it."""
    if not data or data.endswith(b"\n"):
        return data
    begun = len(data) - data.rfind(b"\n") - 1
    rest: bytes = stream.readline(MAX_LINE_BYTES + 1 - begun)
    return data + rest


def _rest_of_line(stream: Any, data: bytes) -> Iterator[bytes]:
    """Yield the bytes that `_complete` left out."""
    is_open = bool(data) and not data.endswith(b"\n")
    while is_open and (piece := stream.readline(SKIP_BYTES)):
        yield piece
        is_open = not piece.endswith(b"\n")


def _skip_line(stream: Any, limit: int) -> None:
    """Move to the beginning of the next line, or by `limit` bytes if that is nearer."""
    while limit and (piece := stream.readline(min(limit, SKIP_BYTES))):
        limit = 0 if piece.endswith(b"\n") else limit - len(piece)


def _cut_blocks(chunk: Chunk) -> Iterator[Block]:
    data, start = chunk.data, 0
    while start < len(data):
        end = data.find(b"\n", start + BLOCK_BYTES - 1) + 1 or len(data)
        lines = _lines(data[start:end])
        is_last = end == len(data)
        size = end - start + (chunk.skipped if is_last else 0)
        yield Block(lines, size, chunk.ends_file and is_last)
        start = end


def _lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines
