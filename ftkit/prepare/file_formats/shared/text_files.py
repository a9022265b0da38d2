"""Text files: their encoding and their lines."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from ftkit.dataset.reader import Source
from ftkit.errors import FileError, UsageError
from ftkit.prepare.file_formats.base import (
    MAX_ROW_CHARS,
    MissingOptionError,
    open_source,
)

BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by their byte order mark. That of UTF-32 begins with that of UTF-16."""

_UNDECODED = re.compile("[\udc80-\udcff]")
"""Characters that stand for bytes that could not be decoded."""


def find_encoding(beginning: bytes) -> str:
    """Return the encoding that a byte order mark says, or else UTF-8."""
    return next((name for bom, name in BOMS.items() if beginning.startswith(bom)), "utf-8-sig")


@contextmanager
def open_text(source: Source, encoding: str | None) -> Iterator[IO[str]]:
    """Open a source as text with its own line ends. `Lines` finds what cannot be decoded.

    Args:
        source: The source.
        encoding: Its encoding. Default: as its byte order mark says, or UTF-8.

    Raises:
        FileError: The source cannot be read.
        UsageError: There is no such encoding.
    """
    with open_source(source) as stream:
        name = encoding or find_encoding(stream.peek(4))  # type: ignore[attr-defined]
        try:
            name = "utf-8-sig" if codecs.lookup(name).name == "utf-8" else name
            text = io.TextIOWrapper(stream, name, errors="surrogateescape", newline="")
        except (LookupError, ValueError):
            raise UsageError(f"`encoding`: there is no text encoding {name!r:.60}") from None
        try:
            yield text
        except UnicodeError as error:
            raise _undecodable(source.path, name) from error


class Lines:
    """The lines of a text with their line ends, and those since the last call of `take`.

    Attributes:
        path: Path of the file.
        number: Number of the line that was read last.
    """

    def __init__(self, path: str, text: IO[str], beginning: str = "", number: int = 0) -> None:
        """Begin with lines that have been read already.

        Args:
            path: Path of the file.
            text: The text behind these lines.
            beginning: The lines.
            number: Number of lines before them.
        """
        self.path, self.number = path, number
        self._text, self._beginning = text, io.StringIO(beginning, newline="")
        self._taken: list[str] = []
        self._chars = 0

    def __iter__(self) -> Iterator[str]:
        """Yield the lines.

        Raises:
            FileError: Too many characters have not been taken.
            MissingOptionError: A line cannot be decoded.
        """
        while line := self._beginning.readline() or self._text.readline(MAX_ROW_CHARS + 1):
            self.number += 1
            if not line.isascii() and _UNDECODED.search(line):
                name = getattr(self._text, "encoding", "")
                raise _undecodable(f"{self.path}:{self.number}", name)
            self._taken.append(line)
            self._chars += len(line)
            if self._chars > MAX_ROW_CHARS:
                raise FileError(
                    f"{self.path}:{self.first}: a row of more than {MAX_ROW_CHARS:,} characters "
                    "begins here; is a quote missing?"
                )
            yield line

    @property
    def first(self) -> int:
        """Number of the first line since the last call of `take`."""
        return self.number - len(self._taken) + 1

    def take(self) -> tuple[int, str]:
        """Return the number of the first line and the text of the lines since the last call."""
        first, text = self.first, "".join(self._taken)
        self._taken, self._chars = [], 0
        return first, text


def _undecodable(place: str, encoding: str) -> MissingOptionError:
    name = encoding.upper().removesuffix("-SIG")
    value = "utf-8" if name == "CP1252" else "cp1252"
    problem, advice = f"the text is not {name}", f"set `encoding`, such as {value}"
    return MissingOptionError(place, problem, "encoding", value, advice)
