"""Splitting of JSON text into lines: the elements of an array, or values that follow each other.

The text comes in pieces, and only the current value is held. Nothing is lost: whatever is not JSON
becomes a line, too, on which the rules report it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftkit.dataset.lenient_json import MAX_LINE_BYTES
from ftkit.errors import FileError

SPACE = b" \t\r\n"
SEPARATORS = SPACE + b","
BOM = b"\xef\xbb\xbf"

_PLAIN = re.compile(rb'[^"\[\]{},\n]*+')
"""Bytes that cannot end a value."""
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_SPACES = re.compile(rb'("(?:[^"\\]++|\\.)*+(?:"|\Z))|[ \t\r]*+\n[ \t\r\n]*+', re.DOTALL)
"""A string, or white space with a line feed."""
_BREAKS = re.compile(rb"[\r\n]")
_ESCAPES = {b"\r": rb"\r", b"\n": rb"\n"}

QUOTE, BACKSLASH, COMMA, LINE_FEED = b'"\\,\n'


class _Splitter:
    """Splits text into values, which end with their bracket, a comma or, outside of one, a line."""

    def __init__(self, depth: int) -> None:
        self._outer = depth
        """Depth of the brackets around the values."""
        self._depth = depth
        self._buffer = bytearray()
        self._position = 0
        self._in_string = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the values that end in a piece."""
        self._buffer += piece
        while self._advance():
            yield from self._cut()
        if len(self._buffer) > MAX_LINE_BYTES:
            raise FileError(f"an example has more than {MAX_LINE_BYTES / 1e6:.0f} MB; split it")

    def end(self) -> Iterator[bytes]:
        """Yield what is left at the end of the text."""
        self._position = len(self._buffer)
        yield from self._cut()

    def _advance(self) -> bool:
        """Move behind the end of the next value; return False if it is not in the buffer."""
        while self._position < len(self._buffer):
            if self._in_string:
                self._position = self._end_of(_IN_STRING)
                if self._buffer[self._position : self._position + 1] != b'"':
                    return False  # the string goes on, perhaps with an escaped character
                self._in_string = False
                self._position += 1
                continue
            self._position = self._end_of(_PLAIN)
            if self._position == len(self._buffer):
                return False
            byte = self._buffer[self._position]
            self._position += 1
            if self._ends_value(byte):
                return True
        return False

    def _end_of(self, pattern: re.Pattern[bytes]) -> int:
        match = pattern.match(self._buffer, self._position)
        assert match is not None
        return match.end()

    def _ends_value(self, byte: int) -> bool:
        if byte == QUOTE:
            self._in_string = True
        elif byte in b"[{":
            self._depth += 1
        elif byte in b"]}":
            self._depth -= 1
            return self._depth <= self._outer
        elif self._depth == self._outer:
            return byte == COMMA or (byte == LINE_FEED and self._outer == 0)
        return False

    def _cut(self) -> Iterator[bytes]:
        """Yield the value before the position, as a line, and forget it."""
        value = bytes(self._buffer[: self._position])
        del self._buffer[: self._position]
        self._position = 0
        if self._outer and self._depth < self._outer:  # the end of the array
            value = value[:-1] + b" " if value[-1:] == b"]" else value
            self._outer = self._depth = max(self._depth, 0)
        self._depth = max(self._depth, self._outer)
        value = value.strip(SEPARATORS)
        if value:
            yield _on_one_line(value) + b"\n"


def _on_one_line(value: bytes) -> bytes:
    """Return JSON text without line feeds; those in strings, which JSON does not allow, escaped."""

    def replace(match: re.Match[bytes]) -> bytes:
        string = match[1]
        if not string:
            return b" "
        return _BREAKS.sub(lambda control: _ESCAPES[control[0]], string)

    return _SPACES.sub(replace, value)


def split_array(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield each element of a JSON array as a line."""
    first = b""
    for first in pieces:
        first = first.removeprefix(BOM).lstrip(SPACE)
        if first:
            break
    yield from _split(_Splitter(1), first.removeprefix(b"["), pieces)


def split_values(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield each of the JSON values that follow each other as a line."""
    yield from _split(_Splitter(0), next(pieces, b"").removeprefix(BOM), pieces)


def _split(splitter: _Splitter, first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from splitter.feed(first)
    for piece in pieces:
        yield from splitter.feed(piece)
    yield from splitter.end()
