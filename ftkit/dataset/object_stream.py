"""Streams of objects: ranges that are pinned to an ETag and read ahead."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import Any, BinaryIO, cast

from ftkit.dataset.object_client import open_store
from ftkit.dataset.object_errors import changed, object_error
from ftkit.dataset.object_location import Location
from ftkit.errors import FileError

CHUNK_BYTES = 1 << 20
"""Minimum size of a chunk, except for the last one of a request."""

CHUNKS_AHEAD = 3
"""Chunks that are held before they are needed, besides the one that is being read."""

FIRST_BYTES = (1 << 20) + (1 << 16)
"""Bytes of the first request at a place, if it is not known how much is read there."""

REQUEST_BYTES = 16 << 20
"""Most bytes of a request. Each request is twice as large as the one before it, up to this."""


def open_stream(
    location: Location,
    etag: str,
    size: int | None = None,
    expected: tuple[int, int] | None = None,
) -> BinaryIO:
    """Open an object for reading. Bytes are requested when they are read.

    Args:
        location: The object.
        etag: ETag that the object must have.
        size: Bytes of the object, or None if they are not known. Then no position can be given from
            its end.
        expected: Start and end of the range that will be read, which one request asks for; or None
            if it is not known what will be read.
    """
    raw = _ObjectReader(location, etag, size, expected)
    return cast(BinaryIO, io.BufferedReader(raw, CHUNK_BYTES))


class _ObjectReader(io.RawIOBase):
    """Unbuffered stream of an object."""

    def __init__(
        self, location: Location, etag: str, size: int | None, expected: tuple[int, int] | None
    ) -> None:
        self._location = location
        self._etag = etag
        self._size = size
        self._expected = expected
        self._position = 0
        self._chunk = memoryview(b"")
        self._ahead: _ReadAhead | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            if self._size is None:
                raise io.UnsupportedOperation("the size of the object is not known")
            offset += self._size
        if offset < 0:
            raise ValueError(f"negative position {offset}")
        skipped = offset - self._position
        if 0 <= skipped <= len(self._chunk):
            self._chunk = self._chunk[skipped:]
        elif skipped:
            self._stop()
        self._position = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        if not self._chunk:
            self._chunk = memoryview(self._next_chunk())
        count = min(len(buffer), len(self._chunk))
        buffer[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        self._position += count
        return count

    def close(self) -> None:
        self._stop()
        super().close()

    def _next_chunk(self) -> bytes:
        """Return the bytes at the position, or none at the end of the object."""
        while self._size is None or self._position < self._size:
            if self._ahead is None:
                self._ahead = _ReadAhead(self._location, self._chunks(self._position))
            if chunk := self._ahead.next():
                return chunk
            self._ahead = None
        return b""

    def _chunks(self, start: int) -> Iterator[bytes]:
        """Yield the bytes from `start` on: those of the expected range, or else all."""
        if self._expected and self._expected[0] <= start < self._expected[1]:
            yield from self._range(start, self._expected[1])
            return
        room = FIRST_BYTES
        while self._size is None or start < self._size:
            for chunk in self._range(start, start + room):
                start += len(chunk)
                yield chunk
            room = min(2 * room, REQUEST_BYTES)

    def _range(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of a range, as far as the object has them.

        obstore counts its retries and their time from the beginning of a request. So a request
        that fails after some bytes is followed by another one for the rest.
        """
        while start < end:
            result = _request_range(self._location, self._etag, start, end)
            size = self._size = result.meta["size"]
            end, begin = min(end, size), start
            try:
                for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                    start += len(chunk)
                    if start > end:
                        break
                    yield bytes(chunk)
            except Exception as error:
                if start == begin:
                    raise object_error(self._location, error) from error
            else:
                if start != end:
                    raise _wrong_length(self._location, start - begin, end - begin)

    def _stop(self) -> None:
        """Forget what was read ahead."""
        self._chunk = memoryview(b"")
        if self._ahead is not None:
            self._ahead.stop()
            self._ahead = None


def _request_range(location: Location, etag: str, start: int, end: int) -> Any:
    """Return obstore's result for a range of an object that must have this ETag.

    Raises:
        FileError: The range cannot be read, or the object has another ETag.
    """
    import obstore

    store = open_store(location)
    try:
        result = obstore.get(store, location.key, options={"range": (start, end), "if_match": etag})
    except Exception as error:
        raise object_error(location, error) from error
    if result.meta["e_tag"] != etag:
        raise FileError(changed(location))
    return result


def _wrong_length(location: Location, received: int, requested: int) -> FileError:
    return FileError(
        f"cannot read {location.url}: received {received:,} bytes instead of {requested:,}; "
        "try again later"
    )


class _ReadAhead:
    """Thread that reads chunks before they are needed.

    Waiting for it can be interrupted, while obstore may not return for a minute.
    """

    def __init__(self, location: Location, chunks: Iterator[bytes]) -> None:
        self._location, self._chunks = location, chunks
        self._results: SimpleQueue[bytes | Exception] = SimpleQueue()
        self._slots = Semaphore(CHUNKS_AHEAD)
        self._is_stopped = False
        Thread(target=self._run, name="ftkit-objects", daemon=True).start()

    def next(self) -> bytes:
        """Return the next chunk, or none at the end."""
        result = self._results.get()
        self._slots.release()
        if isinstance(result, Exception):
            raise result
        return result

    def stop(self) -> None:
        """Stop reading, at the latest after the chunk that is being read."""
        self._is_stopped = True
        self._slots.release()

    def _run(self) -> None:
        try:
            for chunk in self._chunks:
                self._results.put(chunk)
                self._slots.acquire()
                if self._is_stopped:
                    return
            self._results.put(b"")
        except Exception as error:
            self._results.put(error)
        except BaseException as error:  # a panic of obstore
            self._results.put(object_error(self._location, error))
