"""Forms with a file in them, written to the disk as they come: an upload of any size takes the memory of a chunk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.message import Message
from typing import Any

from python_multipart.multipart import MultipartParser

from ftkit.server.errors import invalid, too_large
from ftkit.server.folder import Writer

FIELD_BYTES = 4096
"""Bytes that a field which is no file may have."""

HEADER_BYTES = 8192

PARTS = 32
"""Fields that a form may have, and headers that a field may have."""


class Form:
    """A form that is read: its fields, and the file that was written to `writer`."""

    def __init__(self, writer: Writer, most: int) -> None:
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self.ended = False
        self._writer, self._most = writer, most
        self._header = Message()
        self._name = self._value = self._field = b""
        self._key = ""
        self._is_file = False
        self._parts = 0

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > PARTS:
            raise invalid(f"The form has more than {PARTS} fields.")
        self._header, self._field = Message(), b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name = _grown(self._name, data[start:end], HEADER_BYTES)

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value = _grown(self._value, data[start:end], HEADER_BYTES)

    def on_header_end(self) -> None:
        self._header[self._name.decode("latin-1")] = self._value.decode("utf-8", "replace")
        self._name = self._value = b""
        if len(self._header) > PARTS:
            raise invalid(f"A field of the form has more than {PARTS} headers.")

    def on_headers_finished(self) -> None:
        key = self._header.get_param("name", header="content-disposition")
        file = self._header.get_filename()
        self._key = str(key or "")
        self._is_file = file is not None or self._key in ("file", "data")
        if self._is_file:
            if self.file_name is not None:
                raise invalid("The form has two files.", self._key)
            self.file_name = file or ""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._field = _grown(self._field, data[start:end], FIELD_BYTES)
            return
        self._writer.write(memoryview(data)[start:end])
        if self._writer.size > self._most:
            raise too_large("The file", self._most)

    def on_part_end(self) -> None:
        if not self._is_file:
            self.fields[self._key] = self._field.decode("utf-8", "replace")

    def on_end(self) -> None:
        self.ended = True


def _grown(text: bytes, more: bytes, most: int) -> bytes:
    if len(text) + len(more) > most:
        raise invalid(f"A field of the form is longer than {most:,} bytes.")
    return text + more


async def read_form(kind: str, chunks: AsyncIterator[bytes], writer: Writer, most: int) -> Form:
    """Read a form of content type `kind`, and write its file, of at most `most` bytes, to `writer`; raises `Refusal`."""
    header = Message()
    header["content-type"] = kind
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise invalid("The body must be multipart/form-data.")
    form = Form(writer, most)
    names = (
        "part_begin",
        "header_field",
        "header_value",
        "header_end",
        "headers_finished",
        "part_data",
        "part_end",
        "end",
    )
    try:
        callbacks: Any = {f"on_{name}": getattr(form, f"on_{name}") for name in names}
        parser = MultipartParser(boundary.encode(), callbacks)
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except ValueError as error:
        raise invalid(f"The form cannot be read: {error}") from error
    if not form.ended or form.file_name is None:
        raise invalid("The form has no file, or ends before its end.", "file")
    return form
