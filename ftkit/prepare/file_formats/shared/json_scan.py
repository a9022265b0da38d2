"""Scanner that splits JSON documents at the boundaries of their elements, without decoding them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import BinaryIO, NamedTuple

from ftkit._text import excerpt
from ftkit.dataset.lenient_json import MAX_LINE_BYTES
from ftkit.errors import FileError

PIECE_BYTES = 1 << 18
"""Bytes that are read at a time."""

TOKEN = re.compile(rb'[\[\]{}]|"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""A bracket or a string, whose closing quote may not have been read yet."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


class Layout(IntEnum):
    """Layouts of JSON documents. The value is the number of brackets around an element."""

    VALUES = 0
    """Objects, one after the other."""
    ARRAY = 1
    """An array of objects."""
    WRAPPED = 2
    """An object that has an array of objects."""


_SPACE = re.compile(rb"\s*+")
_COMMA = re.compile(rb"\s*+,\s*+")

_BEFORE = {Layout.VALUES: _SPACE, Layout.ARRAY: re.compile(rb"\s*+\[\s*+"), Layout.WRAPPED: _SPACE}
"""Text in front of the first element; in a `WRAPPED` layout, since the bracket of its array."""

_BETWEEN = {Layout.VALUES: _SPACE, Layout.ARRAY: _COMMA, Layout.WRAPPED: _COMMA}
"""Text between two elements."""

_BEHIND = {
    Layout.VALUES: _SPACE,
    Layout.ARRAY: re.compile(rb"\s*+(?:\[\s*+)?\]\s*+"),
    Layout.WRAPPED: re.compile(rb"[^{}]*+\}\s*+"),
}
"""Text behind the last element; in a `WRAPPED` layout, behind the last array or object."""


class Element(NamedTuple):
    """An object as it is in a file."""

    line: int
    """Number of its first line."""
    data: bytes


def split_json(stream: BinaryIO, path: str, layout: Layout, key: bytes = b"") -> Iterator[Element]:
    """Yield the elements of a JSON document. What is inside of them is not checked.

    Memory grows with the largest element, and time with the size of the document.

    Args:
        stream: The document.
        path: Name of its file, for error messages.
        layout: Layout of the document.
        key: Key of the array in a `WRAPPED` layout, with its quotes.

    Raises:
        FileError: The document does not have the layout, or an element has too many bytes.
    """
    scan = _Scan(path, layout, key)
    while piece := stream.read(max(PIECE_BYTES, len(scan.data) - scan.start)):
        scan.feed(piece)
        yield from scan.elements()
        if len(scan.data) - scan.start > MAX_LINE_BYTES:
            raise scan.error(f"an element has more than {MAX_LINE_BYTES:,} bytes")
    scan.end()


class _Scan:
    """Position in a document.

    Attributes:
        data: The bytes from the last element on.
        start: Index of the element that is being read, or of the text behind the last one.
    """

    def __init__(self, path: str, layout: Layout, key: bytes) -> None:
        self.data, self.start = b"", 0
        self._path, self._layout = path, layout
        self._position = self._depth = 0
        self._line = 1
        self._between = _BEFORE[layout]
        self._is_inside = False  # an element
        self._is_over = False  # an array or a wrapping object
        self._wanted, self._key = key, b""
        self._member = b""  # key of the array in the outermost object that is being read

    def feed(self, data: bytes) -> None:
        """Add bytes, and forget those before `start`."""
        self.data = self.data[self.start :] + data
        self._position -= self.start
        self.start = 0

    def elements(self) -> Iterator[Element]:
        """Yield the elements that end in the data."""
        for match in TOKEN.finditer(self.data, self._position):
            token, end = match.group(), match.end()
            if token in b"[{":
                self._open(token, match.start())
            elif token in b"]}":
                if element := self._close(end):
                    yield element
            elif end >= len(self.data) - 1 and not _STRING.fullmatch(token):  # before a backslash
                self._position = match.start()
                return
            elif self._depth == 1:
                self._key = token
        self._position = len(self.data)

    def end(self) -> None:
        """Raise `FileError` if the document is not complete."""
        if self._depth or self._position < len(self.data):
            raise self.error("the JSON document does not end; is the file complete?")
        self._check(_BEHIND[self._layout], len(self.data))

    def error(self, message: str) -> FileError:
        """Return an exception that names the line of `start`."""
        return FileError(f"{self._path}:{self._line}: {message}")

    def _open(self, bracket: bytes, position: int) -> None:
        if self._is_over:
            raise self.error("text behind the end of the JSON document")
        if self._depth == self._layout and self._is_listed(bracket):
            self._check(self._between, position)
            self._between = _BETWEEN[self._layout]
            self._move(position)
            self._is_inside = True
        elif self._depth == 1 and self._layout == Layout.WRAPPED:
            self._member = self._key if bracket == b"[" else b""
            self._move(position + 1)
        self._depth += 1

    def _is_listed(self, bracket: bytes) -> bool:
        """Return True if a bracket opens an element. A `WRAPPED` layout has others as well."""
        if self._layout == Layout.WRAPPED and self._member != self._wanted:
            if self._member and bracket == b"{":
                names = f"{self._wanted.decode()} and {self._member.decode(errors='replace')}"
                raise self.error(f"two arrays of objects, {names}; extract one of them to a file")
            return False
        return True

    def _close(self, position: int) -> Element | None:
        self._depth -= 1
        if self._depth < 0:
            raise self.error("a closing bracket without an opening one")
        element = None
        if self._is_inside and self._depth == self._layout:
            element = Element(self._line, self.data[self.start : position])
            self._move(position)
            self._is_inside = False
        elif self._layout == Layout.WRAPPED and self._depth == 1:
            if self._member == self._wanted:
                self._check(_SPACE, position - 1)
            self._move(position)
        self._is_over = self._depth == 0 and self._layout != Layout.VALUES
        return element

    def _move(self, position: int) -> None:
        self._line += self.data.count(b"\n", self.start, position)
        self.start = position

    def _check(self, pattern: re.Pattern[bytes], end: int) -> None:
        """Raise `FileError` if the text since `start` is not as expected."""
        text = self.data[self.start : end]
        if not pattern.fullmatch(text):
            shown = excerpt(text[:100].decode(errors="replace").strip(), 40)
            raise self.error(f"expected JSON objects separated by commas, not {shown}")
