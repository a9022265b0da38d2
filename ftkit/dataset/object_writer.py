"""Writing of objects: multipart uploads that replace an object when they are complete, or never."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

from ftkit.dataset.object_client import open_store, request
from ftkit.dataset.object_errors import is_refused, object_error
from ftkit.dataset.object_location import Location, parse_url
from ftkit.errors import FileError, UsageError

PART_BYTES = 16 << 20
"""Bytes of a part of an upload."""

MAX_PARTS = 10_000
"""Maximum number of parts of an upload at S3 and Google Cloud Storage.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

PARTS_AT_ONCE = 3
"""Parts of an upload that are sent at the same time, and held in memory."""

PIECE_BYTES = 1 << 20
"""Bytes that are handed over to the upload at a time."""

QUEUED_PIECES = 2
"""Maximum number of pieces that wait for the upload."""

POLL_SECONDS = 0.2
"""Seconds between two checks of a waiting writer for a failure of the upload."""


class _AbortedError(Exception):
    """The upload must be aborted; raised where it asks for more."""


class ObjectWriter(io.RawIOBase):
    """Binary file whose content is uploaded while it is written.

    The object becomes visible with `complete`. Use `object_writer` or `open_upload`, which abort
    the upload after an exception, so that the store keeps no parts. A writer holds up to
    `PARTS_AT_ONCE` + 1 parts in memory, and less than another part in its queue.
    """

    def __init__(self, url: str) -> None:
        """Create a writer. Call `begin` before anything is written.

        Raises:
            FileError: The settings of the store cannot be used.
            UsageError: The URL is invalid, or of a server that takes no uploads.
        """
        super().__init__()
        self.url = url
        self._location = writable_location(url)
        self._store = open_store(self._location)
        self._pieces: Queue[bytes | None] = Queue(QUEUED_PIECES)
        self._buffer = bytearray()
        self._size = 0
        self._is_begun, self._is_aborted, self._is_completed = Event(), False, False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._upload, name="ftkit-objects", daemon=True)

    def begin(self) -> None:
        """Begin the upload, so that a wrong bucket or key is an error before any work.

        Raises:
            FileError: The object cannot be written.
        """
        self._thread.start()
        self._is_begun.wait()
        self._check()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Add bytes.

        Raises:
            FileError: The upload has failed, or would have too many parts.
            ValueError: The upload is complete.
        """
        if self._is_completed:
            raise ValueError("write to a completed upload")
        self._buffer += data
        if len(self._buffer) >= PIECE_BYTES:
            self.flush()
        return len(data)

    def flush(self) -> None:
        """Hand over all bytes to the upload, which sends those of whole parts.

        Raises:
            FileError: The upload has failed, or would have too many parts.
        """
        if not self._buffer or self._is_aborted:
            return
        self._size += len(self._buffer)
        if self._size > PART_BYTES * MAX_PARTS:
            limit = f"{PART_BYTES * MAX_PARTS / 1e9:,.0f} GB"
            raise FileError(f"cannot write {self.url}: it has more than {limit}; split it")
        self._hand_over(bytes(self._buffer))
        self._buffer.clear()

    def complete(self) -> None:
        """Send what is left, and make the object visible.

        Raises:
            FileError: The upload has failed. The store has no part of it.
            ValueError: The upload was aborted.
        """
        if self._is_aborted:
            raise ValueError("the upload was aborted")
        self.flush()
        self._hand_over(None)
        self._thread.join()
        self._check()
        self._is_completed = True

    def abort(self) -> None:
        """Delete the parts in the store, and wait until they are. Do nothing after `complete`."""
        self._is_aborted = True
        with suppress(Empty):
            while True:
                self._pieces.get_nowait()
        with suppress(Full):
            self._pieces.put_nowait(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _hand_over(self, piece: bytes | None) -> None:
        while self._thread.is_alive():
            with suppress(Full):
                self._pieces.put(piece, timeout=POLL_SECONDS)
                return
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise object_error(self._location, self._error, "write") from self._error

    def _upload(self) -> None:
        from obstore import put

        try:
            put(
                self._store,
                self._location.key,
                self._iterate_pieces(),
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        except _AbortedError:
            pass
        except BaseException as error:  # also a panic; it is raised in the thread that writes
            self._error = error
        finally:
            self._is_begun.set()

    def _iterate_pieces(self) -> Iterator[bytes]:
        """Yield the queued pieces. obstore aborts the upload if its iterator raises."""
        self._is_begun.set()
        while True:
            piece = self._pieces.get()
            if self._is_aborted:
                raise _AbortedError
            if piece is None:
                return
            yield piece


def writable_location(url: str) -> Location:
    """Return the location of an object to write.

    Raises:
        UsageError: The URL is invalid, has wildcards, or is of a server that takes no uploads.
    """
    location = parse_url(url)
    if not location.is_bucket:
        raise UsageError(f"cannot write {url}: only s3://, gs:// and az:// URLs can be written")
    if location.is_pattern:
        raise UsageError(f"cannot write {url}: it has wildcards; name one object")
    return location


def check_bucket(url: str) -> None:
    """Raise an error if the bucket of an object cannot be used, which takes one request.

    Keys may write what they cannot read, so other errors are left to the upload.

    Raises:
        FileError: There is no such bucket, or the keys or the settings are wrong.
        UsageError: The URL is invalid, or of a server that takes no uploads.
    """
    location = writable_location(url)
    store = open_store(location)
    from obstore import get

    try:
        request(location, lambda: get(store, location.key, options={"range": (0, 1)}), "write")
    except FileError as error:
        if is_refused(error.__cause__):
            raise


@contextmanager
def object_writer(url: str) -> Iterator[ObjectWriter]:
    """Yield a binary file that becomes an object if the block is left without an exception.

    After any exception, also `KeyboardInterrupt`, the upload is aborted: the object is as it was,
    and the store has no part of the new one.

    Args:
        url: URL of the object, such as `s3://bucket/train.jsonl`.

    Raises:
        FileError: The object cannot be written.
    """
    with open_upload(url) as writer:
        yield writer
        writer.complete()


@contextmanager
def open_upload(url: str) -> Iterator[ObjectWriter]:
    """Yield a writer that must be completed in the block, and is aborted if it is not.

    Raises:
        FileError: The object cannot be written.
    """
    writer = ObjectWriter(url)
    try:
        writer.begin()
        yield writer
    finally:
        writer.abort()
        writer.close()
