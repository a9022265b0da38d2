"""Streaming parser of multipart/form-data uploads.

    request -> batches of 1 MiB -> worker thread: parse -> hash and write the file

The event loop only receives. Parsing, hashing and writing run in worker threads, one batch at a
time, while the next batch arrives, so an upload of any size holds a few batches in memory and other
requests are not delayed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

from python_multipart.multipart import MultipartParser
from starlette.concurrency import run_in_threadpool

from ftkit.server.errors import EXCERPT, InvalidRequestError, too_large
from ftkit.server.folder import Writer

BATCH_BYTES = 1 << 20
"""Bytes that are parsed and written in one call of a worker thread."""

FIELD_BYTES = 4096
"""Maximum size of a field that is not a file."""

HEADER_BYTES = 8192
"""Maximum size of the name and of the value of a header."""

BOUNDARY_CHARACTERS = 70
"""Maximum length of the boundary: RFC 2046, section 5.1.1."""

TYPICAL_FORM_OVERHEAD = 64 << 10
"""Bytes of a form beside its file that are usually enough: fields, headers and boundaries.

It is subtracted from the announced length of a form, so that a file of just the maximum size is not
refused before it is read.
"""

MAX_FORM_OVERHEAD = 4 << 20
"""Maximum size of a form beyond the maximum size of its file."""

PARAMETER = re.compile(r';\s*([^\s;="]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"]*)\s*', re.DOTALL)
"""Parameter of a header, whose value may be quoted."""

ENCODINGS = ("utf-8", "iso-8859-1", "us-ascii")
"""Encodings of file names."""

MAX_FORM_FIELDS = 32
"""Maximum number of fields in a form."""

MAX_FIELD_HEADERS = 32
"""Maximum number of headers of a field."""

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
        self._headers = 0
        self._disposition = ""
        self._header_name = self._header_value = self._value = b""
        self._field_name = ""
        self._is_file = False
        self._parts = 0

    def on_part_begin(self) -> None:
        """Begin a field."""
        self._parts += 1
        if self._parts > MAX_FORM_FIELDS:
            raise InvalidRequestError(f"The form has more than {MAX_FORM_FIELDS} fields.")
        self._headers, self._disposition, self._value = 0, "", b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Append to the name of a header."""
        self._header_name = _append(self._header_name, data[start:end], HEADER_BYTES)

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Append to the value of a header."""
        self._header_value = _append(self._header_value, data[start:end], HEADER_BYTES)

    def on_header_end(self) -> None:
        """Count the header, and keep it if it has the name of the field."""
        if self._header_name.lower() == b"content-disposition" and not self._disposition:
            self._disposition = self._header_value.decode("utf-8", "replace")
        self._header_name = self._header_value = b""
        self._headers += 1
        if self._headers > MAX_FIELD_HEADERS:
            raise InvalidRequestError(
                f"A field of the form has more than {MAX_FIELD_HEADERS} headers."
            )

    def on_headers_finished(self) -> None:
        """Find out the name of the field, and if it is a file."""
        _, parameters = parse_header(self._disposition)
        self._field_name = parameters.get("name", "")
        file_name = _file_name(parameters)
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


def parse_header(header: str) -> tuple[str, dict[str, str]]:
    """Return the value of a header in lower case, and its parameters by their lower-case names.

    Takes linear time. If a parameter is repeated, the first one counts.

    Raises:
        InvalidRequestError: The header is too long or malformed.
    """
    if len(header) > HEADER_BYTES:
        raise InvalidRequestError(f"A header is longer than {HEADER_BYTES:,} bytes.")
    value, separator, _ = header.partition(";")
    position, end = len(value), len(header.rstrip(" \t;"))
    parameters: dict[str, str] = {}
    while separator and position < end:
        match = PARAMETER.match(header, position)
        if not match:
            raise InvalidRequestError(f"A header is malformed: {header[:EXCERPT]}")
        text = match[2].rstrip()
        if text.startswith('"'):
            text = re.sub(r'\\(["\\])', r"\1", text[1:-1])
        parameters.setdefault(match[1].lower(), text)
        position = match.end()
    return value.strip().lower(), parameters


def _file_name(parameters: dict[str, str]) -> str | None:
    """Return the file name in the parameters of a `Content-Disposition` header, or None.

    `filename*` is a name with its encoding (RFC 8187), which takes precedence.

    Raises:
        InvalidRequestError: The name is in several parameters, or its encoding is unknown.
    """
    if any(name.startswith("filename*") and name != "filename*" for name in parameters):
        raise InvalidRequestError("A file name in several parameters is not supported.", "file")
    if "filename*" not in parameters:
        return parameters.get("filename")
    encoding, *name = parameters["filename*"].split("'", 2)
    if encoding.lower() not in ENCODINGS or len(name) != 2:
        raise InvalidRequestError("The encoding of the file name is not supported.", "file")
    return unquote(name[1], encoding, "replace")


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
        TooLargeError: The file is larger than `limit`, or the rest of the form than
            `MAX_FORM_OVERHEAD`.
    """
    form = Form(writer, limit)
    callbacks: Any = {f"on_{name}": getattr(form, f"on_{name}") for name in CALLBACKS}
    try:
        parser = MultipartParser(_boundary(content_type), callbacks)
        await _parse(parser, _batches(chunks, limit + MAX_FORM_OVERHEAD))
        parser.finalize()
    except ValueError as error:
        raise InvalidRequestError(f"The form is malformed: {error}") from error
    if not form.complete or form.file_name is None:
        raise InvalidRequestError("The form has no file, or is incomplete.", "file")
    return form


def _boundary(content_type: str) -> bytes:
    kind, parameters = parse_header(content_type)
    boundary = parameters.get("boundary", "")
    if kind != "multipart/form-data" or not boundary:
        raise InvalidRequestError("The body must be multipart/form-data.")
    if len(boundary) > BOUNDARY_CHARACTERS or not boundary.isascii():
        raise InvalidRequestError(
            f"The boundary of the form must have at most {BOUNDARY_CHARACTERS} ASCII characters."
        )
    return boundary.encode()


async def _parse(parser: MultipartParser, batches: AsyncIterator[bytes]) -> None:
    """Feed the body to the parser, each batch in a worker thread while the next one arrives."""
    parsing: asyncio.Task[int] | None = None
    try:
        async for batch in batches:
            if parsing:
                await parsing
            parsing = asyncio.create_task(run_in_threadpool(parser.write, batch))
        if parsing:
            await parsing
    finally:
        # The thread must have ended before the caller closes the file.
        if parsing:
            await asyncio.gather(parsing, return_exceptions=True)


async def _batches(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """Join chunks to batches of at least `BATCH_BYTES`.

    Raises:
        TooLargeError: The chunks have more than `limit` bytes.
    """
    batch, size = bytearray(), 0
    async for chunk in chunks:
        batch += chunk
        size += len(chunk)
        if size > limit:
            raise too_large("The form", limit)
        if len(batch) >= BATCH_BYTES:
            yield bytes(batch)
            batch = bytearray()
    if batch:
        yield bytes(batch)
