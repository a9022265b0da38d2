"""Datasets as Python callers name them: paths, URLs, open files, and examples in memory."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import IO, Any, BinaryIO, cast

from ftkit._text import excerpt
from ftkit.dataset.files import check_readable
from ftkit.dataset.object_location import is_pattern, is_url
from ftkit.dataset.object_ranges import ObjectRanges, find_objects
from ftkit.dataset.reader import FileRanges, SinglePass, Source
from ftkit.errors import FileError, UsageError

File = str | os.PathLike[str] | IO[bytes] | IO[str]
"""A path, a URL of an object, or an open file in binary or text mode."""

Examples = Iterable[Mapping[str, Any]]
"""Examples in memory, such as a list of dictionaries."""

READ_BYTES = 1 << 18
"""Bytes, or characters, that are read from an open file at a time."""

IN_MEMORY = "<examples>"
"""Name of examples in memory, in reports."""


def open_sources(
    files: File | Iterable[File] | Examples, parameter: str, allows_folders: bool = False
) -> list[Source]:
    """Return the sources that an argument names: one for examples, else one for each file.

    Args:
        files: The argument.
        parameter: Name of the parameter, for error messages.
        allows_folders: Accept folders, too. Only the `path` of their sources can be used.

    Raises:
        FileError: A path is not a file.
        UsageError: The argument is empty or of another type.
    """
    argument: Any = files
    if isinstance(argument, (str, os.PathLike)) or hasattr(argument, "read"):
        return _open_files(argument, parameter, allows_folders)
    if isinstance(argument, Mapping):
        raise UsageError(f"`{parameter}` is one example; put it in a list: [example]")
    if hasattr(argument, "to_dict") and hasattr(argument, "columns"):
        rows = "to_dicts()" if hasattr(argument, "to_dicts") else 'to_dict("records")'
        kind = type(argument).__name__
        raise UsageError(f"`{parameter}` is a {kind}; give its rows, such as `df.{rows}`")
    if isinstance(argument, (bytes, bytearray)) or not isinstance(argument, Iterable):
        raise _wrong_type(parameter, argument)
    items = iter(argument)
    try:
        first = next(items)
    except StopIteration:
        raise UsageError(f"`{parameter}` is empty; name at least one file or example") from None
    if isinstance(first, Mapping):
        return [stream_source(IN_MEMORY, _lines(chain([first], items), parameter))]
    return [
        source
        for number, item in enumerate(chain([first], items))
        for source in _open_files(item, f"{parameter}[{number}]", allows_folders)
    ]


def open_source(file: File | Examples, parameter: str) -> Source:
    """Return the only source that an argument names; see `open_sources`.

    Raises:
        UsageError: The argument names several files.
    """
    sources = open_sources(file, parameter)
    if len(sources) > 1:
        raise UsageError(f"`{parameter}` must be one file, not {len(sources)}")
    return sources[0]


def sizes_of(sources: Iterable[Source]) -> list[int]:
    """Return the sizes in bytes of the files and objects; streams have no size in advance."""
    return [source.size() for source in sources if isinstance(source, (FileRanges, ObjectRanges))]


def _open_files(file: Any, parameter: str, allows_folders: bool) -> list[Source]:
    """Return the source of a file, or those of the objects that a pattern matches."""
    if is_pattern(file):
        return [ObjectRanges(remote) for remote in find_objects(file)]
    return [_open_file(file, parameter, allows_folders)]


def _open_file(file: Any, parameter: str, allows_folders: bool) -> Source:
    if isinstance(file, (str, os.PathLike)):
        path = os.fspath(file)
        if not isinstance(path, str):
            raise _wrong_type(parameter, path)
        if is_url(path):
            return ObjectRanges(path)
        if not (allows_folders and os.path.isdir(path)):
            check_readable(path)
        return FileRanges(path)
    if not hasattr(file, "read"):
        raise _wrong_type(parameter, file)
    name = getattr(file, "name", None)
    name = name if isinstance(name, str) else f"<{type(file).__name__}>"
    return stream_source(name, _pieces(file, name))


def _wrong_type(parameter: str, value: object) -> UsageError:
    return UsageError(
        f"`{parameter}` must be a path, an open file, or a list of paths or of examples, "
        f"not {type(value).__name__} {excerpt(value, 40)}"
    )


def stream_source(name: str, pieces: Iterator[bytes]) -> SinglePass:
    """Return pieces of bytes as a source that can be read once."""
    return SinglePass(name, stream=open_pieces(pieces))


def open_pieces(pieces: Iterator[bytes]) -> BinaryIO:
    """Return a buffered stream of pieces of bytes."""
    return cast(BinaryIO, io.BufferedReader(_Pieces(pieces)))


def _pieces(file: IO[bytes] | IO[str], name: str) -> Iterator[bytes]:
    """Yield the rest of an open file. Text becomes UTF-8."""
    while True:
        try:
            piece: Any = file.read(READ_BYTES)
        except (OSError, ValueError) as error:  # closed, not readable, or text of another encoding
            raise FileError(f"cannot read {name}: {error}") from error
        if not isinstance(piece, (str, bytes, bytearray, memoryview)):
            kind = type(piece).__name__
            raise UsageError(f"cannot read {name}: `read` returned {kind}, not bytes or text")
        if not piece:
            return
        yield piece.encode("utf-8", "surrogatepass") if isinstance(piece, str) else bytes(piece)


def _lines(examples: Iterable[Any], parameter: str) -> Iterator[bytes]:
    """Yield the lines that `json.dumps` makes of the examples."""
    for number, example in enumerate(examples):
        if not isinstance(example, Mapping):
            kind = type(example).__name__
            raise UsageError(f"`{parameter}[{number}]` must be an example, a dict, not {kind}")
        try:
            line = json.dumps(example if isinstance(example, dict) else dict(example))
        except (TypeError, ValueError, RecursionError) as error:
            message = f"`{parameter}[{number}]` cannot be written as JSON: {error}"
            raise UsageError(message) from error
        yield f"{line}\n".encode()


class _Pieces(io.RawIOBase):
    """Raw stream of pieces of bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with bytes of one piece; return their number, or 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        data = self._rest[: len(buffer)]
        buffer[: len(data)] = data
        self._rest = self._rest[len(data) :]
        return len(data)
