"""Streaming parser of multipart/form-data uploads.

    request -> batches of 1 MiB -> worker thread: parse -> hash and write the file

The event loop only receives. Parsing, hashing and writing run in worker threads, one batch at a
time, while the next batch arrives, so an upload of any size holds a few batches in memory and other
requests are not delayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from email.message import Message
from typing import Any

from python_multipart.multipart import MultipartParser
from starlette.concurrency import run_in_threadpool

from ftkit.server.errors import InvalidRequestError, too_large
from ftkit.server.folder import Writer

BATCH_BYTES = 1 << 20
"""Bytes that are parsed and written in one call of a worker thread."""

FIELD_BYTES = 4096
"""Maximum size of a field that is not a file."""

HEADER_BYTES = 8192
"""Maximum size of the name and of the value of a header."""

PARTS = 32
"""Maximum number of fields in a form, and of headers in a field."""

CALLBACKS = (
    "part_begin",
    "header_field",
    "header_value",
    "header_end",
    "headers_finished",
    "part_data",
    "part_end",
    "end",
)
"""Events of the parser."""


class Form:
    """A form that is being parsed: receives the events of the parser.

    Args:
        writer: Receives the content of the file.
        limit: Maximum size of the file in bytes.

    Attributes:
        fields: Values of the fields that are not files.
        file_name: Name of the file, or None if there was no file yet.
        complete: True once the end of the form was read.
    """

    def __init__(self, writer: Writer, limit: int) -> None:
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self.complete = False
        self._writer, self._limit = writer, limit
        self._headers = Message()
        self._header_name = self._header_value = self._value = b""
        self._field_name = ""
        self._is_file = False
        self._parts = 0

    def on_part_begin(self) -> None:
        """Begin a field."""
        self._parts += 1
        if self._parts > PARTS:
            raise InvalidRequestError(f"The form has more than {PARTS} fields.")
        self._headers, self._value = Message(), b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Append to the name of a header."""
        self._header_name = _append(self._header_name, data[start:end], HEADER_BYTES)

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Append to the value of a header."""
        self._header_value = _append(self._header_value, data[start:end], HEADER_BYTES)

    def on_header_end(self) -> None:
        """Add a header to the field."""
        name, value = self._header_name.decode("latin-1"), self._header_value
        self._headers[name] = value.decode("utf-8", "replace")
        self._header_name = self._header_value = b""
        if len(self._headers) > PARTS:
            raise InvalidRequestError(f"A field of the form has more than {PARTS} headers.")

    def on_headers_finished(self) -> None:
        """Find out the name of the field, and if it is a file."""
        self._field_name = str(self._headers.get_param("name", header="content-disposition") or "")
        file_name = self._headers.get_filename()
        self._is_file = file_name is not None or self._field_name in ("file", "data")
        if self._is_file:
            if self.file_name is not None:
                raise InvalidRequestError("The form has two files.", self._field_name)
            self.file_name = file_name or ""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Append to the value of the field."""
        if not self._is_file:
            self._value = _append(self._value, data[start:end], FIELD_BYTES)
            return
        self._writer.write(memoryview(data)[start:end])
        if self._writer.size > self._limit:
            raise too_large("The file", self._limit)

    def on_part_end(self) -> None:
        """End a field."""
        if not self._is_file:
            self.fields[self._field_name] = self._value.decode("utf-8", "replace")

    def on_end(self) -> None:
        """End the form."""
        self.complete = True


def _append(text: bytes, data: bytes, limit: int) -> bytes:
    if len(text) + len(data) > limit:
        raise InvalidRequestError(f"A field of the form is longer than {limit:,} bytes.")
    return text + data


async def read_form(
    content_type: str, chunks: AsyncIterator[bytes], writer: Writer, limit: int
) -> Form:
    """Parse a form that has one file.

    Args:
        content_type: `Content-Type` header of the request.
        chunks: Body of the request.
        writer: Receives the content of the file.
        limit: Maximum size of the file in bytes.

    Raises:
        InvalidRequestError: The body is not such a form.
        TooLargeError: The file is larger than `limit`.
    """
    form = Form(writer, limit)
    callbacks: Any = {f"on_{name}": getattr(form, f"on_{name}") for name in CALLBACKS}
    try:
        parser = MultipartParser(_boundary(content_type), callbacks)
        await _parse(parser, chunks)
        parser.finalize()
    except ValueError as error:
        raise InvalidRequestError(f"The form is malformed: {error}") from error
    if not form.complete or form.file_name is None:
        raise InvalidRequestError("The form has no file, or is incomplete.", "file")
    return form


def _boundary(content_type: str) -> bytes:
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise InvalidRequestError("The body must be multipart/form-data.")
    return boundary.encode()


async def _parse(parser: MultipartParser, chunks: AsyncIterator[bytes]) -> None:
    """Feed the body to the parser, each batch in a worker thread while the next one arrives."""
    parsing: asyncio.Task[int] | None = None
    try:
        async for batch in _batches(chunks):
            if parsing:
                await parsing
            parsing = asyncio.create_task(run_in_threadpool(parser.write, batch))
        if parsing:
            await parsing
    finally:
        # The thread must have ended before the caller closes the file.
        if parsing:
            await asyncio.gather(parsing, return_exceptions=True)


async def _batches(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join chunks to batches of at least `BATCH_BYTES`."""
    batch = bytearray()
    async for chunk in chunks:
        batch += chunk
        if len(batch) >= BATCH_BYTES:
            yield bytes(batch)
            batch = bytearray()
    if batch:
        yield bytes(batch)
