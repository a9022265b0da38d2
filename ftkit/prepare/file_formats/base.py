"""The type of a file format, and what the readers of all of them share."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from msgspec import Struct

from ftkit.dataset.inputs import open_pieces
from ftkit.dataset.lenient_json import MAX_LINE_BYTES
from ftkit.dataset.object_ranges import ObjectRanges
from ftkit.dataset.reader import READ_ERRORS, Chunk, FileRanges, Source, open_stored
from ftkit.errors import FileError, UsageError, os_error_message
from ftkit.prepare.audit import Audit
from ftkit.prepare.rows import Row

GZIP = b"\x1f\x8b"
"""Magic number of gzip."""

HEAD_BYTES = 1 << 16
"""Bytes of the beginning of a file by which its format is detected."""

MAX_ROW_CHARS = 16_000_000
"""Maximum characters of a row of a table, all cells together."""


class MissingOptionError(UsageError):
    """A file cannot be read without an option of its reader.

    Attributes:
        place: Path of the file, and the line if there is one.
        problem: What is wrong, such as "the text is not UTF-8".
        option: Name of the field of `ReadOptions`.
        value: A value that may be right.
    """

    def __init__(self, place: str, problem: str, option: str, value: str, advice: str) -> None:
        super().__init__(f"{place}: {problem}; {advice}")
        self.place, self.problem, self.option, self.value = place, problem, option, value

    def __reduce__(self) -> tuple[Any, ...]:
        advice = str(self).removeprefix(f"{self.place}: {self.problem}; ")
        return type(self), (self.place, self.problem, self.option, self.value, advice)


class ReadOptions(Struct, frozen=True, kw_only=True):
    """Options of the readers of files. None stands for the default."""

    delimiter: str | None = None
    """Separator of the cells of a CSV file. Default: the one that its first rows show."""
    encoding: str | None = None
    """Encoding of a text file. Default: UTF-8, or UTF-16 with a byte order mark."""
    sheet: str | None = None
    """Name of the sheet of a workbook. Default: the only one that is not empty."""
    me: str | None = None
    """Name of the person whose messages in a chat become those of the assistant."""
    pause: float | None = None
    """Hours without a message after which another conversation of a chat begins. Default: 6."""


Reader = Callable[[Source, Audit, ReadOptions], Iterator[Row]]
"""Function that yields the rows of a file and records the rows it cannot read in the audit."""


class FileFormat(Struct, frozen=True, kw_only=True):
    """A format of files from which rows can be read."""

    name: str
    title: str
    """Name for people, such as "Excel workbook (XLSX)"."""
    read: Reader
    recognizes: Callable[[str, bytes], bool]
    """Return True for the path and the beginning of a file that is certainly in this format."""
    priority: int = 2
    """The formats with the lowest number are tried first."""
    suffixes: tuple[str, ...] = ()
    """Suffixes of the names of files that are certainly meant to be in this binary format."""
    is_table: bool = False
    """True if the keys of its rows are the columns of a table."""
    options: tuple[str, ...] = ()
    """Names of the fields of `ReadOptions` that the reader uses."""
    layout: str
    """Description of the content, for the documentation."""
    losses: tuple[str, ...] = ()
    """Content that is not read, for the documentation."""


@contextmanager
def open_source(source: Source) -> Iterator[BinaryIO]:
    """Open a source for reading bytes, through gzip if they begin with its magic number.

    Raises:
        FileError: The file cannot be opened, or an exception of reading it was raised in the block.
    """
    try:
        with _open(source) as stream:
            if stream.peek(2)[:2] == GZIP:  # type: ignore[attr-defined]
                with gzip.open(stream) as unpacked:
                    yield cast(BinaryIO, unpacked)
            else:
                yield stream
    except READ_ERRORS as error:
        reason = os_error_message(error)
        raise FileError(f"cannot read {source.path}: {reason}; is the file complete?") from error


def _open(source: Source) -> BinaryIO:
    return open_ranges(source) or open_pieces(_pieces(source))


def open_ranges(source: Source) -> BinaryIO | None:
    """Open a file or an object, as it is stored, where any bytes of it can be read.

    Returns:
        None for a source that can be read only once, in order.
    """
    if isinstance(source, ObjectRanges):
        return open_stored(source.object)
    return open_stored(source.path) if isinstance(source, FileRanges) else None


def _pieces(source: Source) -> Iterator[bytes]:
    for part in source.parts():
        if isinstance(part, Chunk):
            yield part.data
            if part.skipped:
                message = f"{source.path} has a line of more than {MAX_LINE_BYTES:,} bytes"
                raise FileError(f"{message}; write it to a file and name its path")


def read_beginning(source: Source) -> bytes:
    """Return the first `HEAD_BYTES` of a source, unpacked.

    Raises:
        FileError: The source cannot be read.
    """
    if isinstance(source, (FileRanges, ObjectRanges)):
        with open_source(source) as stream:
            return stream.read(HEAD_BYTES)
    data = source.head().data[:HEAD_BYTES]
    if data[:2] != GZIP:
        return data
    with gzip.open(io.BytesIO(data)) as unpacked:
        return unpacked.read1(HEAD_BYTES)


@contextmanager
def open_seekable(source: Source, title: str) -> Iterator[BinaryIO]:
    """Open a source for a format that cannot be read in order.

    Raises:
        FileError: The source is a stream, or compressed.
    """
    stream = open_ranges(source)
    if stream is None:
        raise FileError(f"{source.path} is a stream; write it to a file first, to read {title}")
    with stream:
        if stream.read(len(GZIP)) == GZIP:
            raise FileError(f"{source.path} is compressed; unpack it with gunzip to read {title}")
        stream.seek(0)
        yield stream
