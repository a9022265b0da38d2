"""JSON documents: arrays of objects, objects over several lines, and objects with one array."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import msgspec

from ftkit.dataset.inputs import open_pieces
from ftkit.dataset.reader import Source
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats.base import (
    HEAD_BYTES,
    FileFormat,
    ReadOptions,
    open_source,
    read_beginning,
)
from ftkit.prepare.file_formats.shared.json_scan import PIECE_BYTES, TOKEN, Layout, split_json
from ftkit.prepare.file_formats.shared.text_files import find_encoding, open_text
from ftkit.prepare.rows import Row, decode_row

MEMBERS = frozenset(
    (
        *("messages", "conversations", "conversation", "contents", "tools", "functions", "input"),
        *("output", "prompt", "completion", "completions", "chosen", "rejected", "history"),
        *("choices", "replies", "responses", "parts", "images", "system", "turns"),
    )
)
"""Keys of arrays that are parts of a row, so that the object around them is one."""

_LINE_BREAK = re.compile(rb"[ \t\r]*+\n[ \t\r\n]*+")
"""Line break in valid JSON, which has none inside of strings."""


def read_json(source: Source, audit: Audit, options: ReadOptions) -> Iterator[Row]:
    """Yield the objects of a JSON document. Numbers and texts stay as they are written.

    Raises:
        FileError: The file cannot be read, or is not a JSON document of objects.
    """
    layout, key = find_layout(read_beginning(source))
    with _open_utf8(source) as stream:
        for number, element in enumerate(split_json(stream, source.path, layout, key), 1):
            origin = audit.origin(source.path, element.line, number)
            row = decode_row(element.data, origin, audit)
            if row is not None:
                row.line = _LINE_BREAK.sub(b"", element.data)
                yield row


def find_layout(beginning: bytes) -> tuple[Layout, bytes]:
    """Return the layout of a JSON document, and the key of its array if it is `WRAPPED`."""
    data = _in_utf8(beginning).lstrip()
    if data.startswith(b"["):
        return Layout.ARRAY, b""
    keys, end = arrays_of_objects(data)
    if (end and data[end:].strip()) or not MEMBERS.isdisjoint(map(_text, keys)) or not keys:
        return Layout.VALUES, b""
    return Layout.WRAPPED, keys[0]


def arrays_of_objects(data: bytes) -> tuple[list[bytes], int]:
    """Return the keys of arrays of objects, with quotes, in the object that a text begins with.

    Returns:
        The keys, and the index of the end of the object, or 0 if it is not in the text.
    """
    keys: dict[bytes, None] = {}
    opened: list[bytes] = []
    key = b""
    for match in TOKEN.finditer(data):
        token = match.group()
        if token in b"[{":
            if token == b"{" and len(opened) == 2 and opened[1] == b"[":
                keys[key] = None
            opened.append(token)
        elif token in b"]}":
            if len(opened) < 2:
                return list(keys), match.end()
            opened.pop()
        elif len(opened) == 1:
            key = token
    return list(keys), 0


def recognizes_json(path: str, beginning: bytes) -> bool:
    """Return True for a JSON document that is not JSON Lines."""
    text = _in_utf8(beginning).lstrip()
    if text[:1] not in (b"[", b"{"):
        return False
    first, line_end, rest = text.partition(b"\n")
    is_named_lines = path.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson"))
    if not line_end and is_named_lines and len(beginning) >= HEAD_BYTES:
        return text[:1] == b"["
    try:
        value = msgspec.json.decode(first)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The lines of a damaged JSON Lines file are longer than a bracket.
        is_lines = is_named_lines or rest.lstrip().startswith(b"{")
        return text[:1] == b"[" or first.strip() == b"{" or not is_lines
    if rest.strip():
        return False
    if isinstance(value, list) and is_named_lines:
        return any(map(_is_row, value))
    return not is_named_lines


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and "role" not in value


def _text(token: bytes) -> str:
    return token.strip(b'"').decode(errors="replace")


def _in_utf8(beginning: bytes) -> bytes:
    encoding = find_encoding(beginning)
    if encoding == "utf-8-sig":
        return beginning.removeprefix(codecs.BOM_UTF8)
    return beginning.decode(encoding, errors="replace").encode()


@contextmanager
def _open_utf8(source: Source) -> Iterator[BinaryIO]:
    """Open a document in UTF-8, without a byte order mark."""
    with open_source(source) as stream:
        encoding = find_encoding(stream.peek(4))  # type: ignore[attr-defined]
        if encoding == "utf-8-sig":
            has_mark = stream.peek(3).startswith(codecs.BOM_UTF8)  # type: ignore[attr-defined]
            stream.read(len(codecs.BOM_UTF8) if has_mark else 0)
            yield stream
            return
    with open_text(source, encoding) as text:
        pieces = iter(lambda: text.read(PIECE_BYTES), "")
        yield open_pieces(piece.encode("utf-8", "surrogatepass") for piece in pieces)


FORMATS = (
    FileFormat(
        name="json",
        title="JSON document",
        read=read_json,
        recognizes=recognizes_json,
        layout=(
            "An array of objects, objects over several lines, or an object that has one array of "
            'objects, such as `{"data": [...]}`.'
        ),
        losses=("the other members of an object that has an array of objects",),
    ),
)
