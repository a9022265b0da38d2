"""Files and objects to write, all of which are replaced when they are complete, or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

from ftkit._atomic import atomic_replace, check_writable
from ftkit.dataset.object_errors import is_missing
from ftkit.dataset.object_location import is_url, parse_url
from ftkit.dataset.object_ranges import find_objects
from ftkit.dataset.object_writer import ObjectWriter, uploading, writable_location
from ftkit.errors import FileError, UsageError
from ftkit.prepare.file_formats.arrow import import_pyarrow
from ftkit.prepare.file_formats.parquet import PARQUET, write_parquet

OTHERS = (".gz", ".zip", ".csv", ".tsv", ".xlsx", ".arrow", ".feather")
"""Suffixes of files that rows cannot be written to."""


Target: TypeAlias = str | os.PathLike[str]
"""Path of a file to write, or URL of an object."""


class Outputs:
    """Open files and objects of `open_outputs`."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._files: list[IO[bytes]] = []
        self._records: list[ObjectWriter] = []
        self._data: list[ObjectWriter] = []
        self._tables: list[tuple[IO[bytes], str]] = []

    def open(self, target: Target | None, is_data: bool = False) -> Any:
        """Open a file or an object for writing bytes; return None for None.

        Args:
            target: The path or URL.
            is_data: Complete the upload of an object after those that are no data, such as a map.

        Raises:
            FileError: It cannot be written.
        """
        uploads = self._data if is_data else self._records
        return None if target is None else self._open(os.fspath(target), uploads)

    def open_rows(self, target: Target) -> IO[bytes]:
        """Open a file or an object for writing rows as JSON Lines.

        They become Parquet if its name says so.

        Raises:
            FileError: It cannot be written.
            UsageError: pyarrow is needed and not installed, or the name promises another format.
        """
        name = os.fspath(target)
        check_name(name)
        if os.path.splitext(name)[1] != PARQUET:
            file: IO[bytes] = self._open(name, self._data)
            return file
        check_target(name)
        import_pyarrow()
        folder = None if is_url(name) else os.path.dirname(name) or "."
        lines: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 # next line
        self._stack.enter_context(lines)
        self._tables.append((lines, name))
        return lines

    def complete(self) -> None:
        """Write the Parquet files, and complete the uploads.

        All files are on the disk, and all parts but the last are sent, before the first upload is
        completed. Uploads of data are completed after the others.

        Raises:
            FileError: Values have types that Parquet cannot hold together, or an upload fails.
        """
        for lines, name in self._tables:
            write_parquet(lines, self._table(name), name)
        opened: list[Any] = [*self._files, *self._records, *self._data]
        for file in opened:
            file.flush()
        written: list[str] = []
        for upload in (*self._records, *self._data):
            try:
                upload.complete()
            except FileError as error:
                if written:
                    error.args = (f"{error}; written already: {', '.join(written)}",)
                raise
            written.append(upload.url)

    def _open(self, name: str, uploads: list[ObjectWriter]) -> Any:
        check_target(name)
        if is_url(name):
            upload = self._stack.enter_context(uploading(name))
            uploads.append(upload)
            return upload
        file = self._stack.enter_context(self._replacement(name).open("wb"))
        self._files.append(file)
        return file

    def _table(self, name: str) -> Any:
        """Return the path or the file that a Parquet file is written to."""
        return self._open(name, self._data) if is_url(name) else self._replacement(name)

    def _replacement(self, name: str) -> Path:
        return self._stack.enter_context(atomic_replace(name))


@contextmanager
def open_outputs() -> Iterator[Outputs]:
    """Yield files to write, which are replaced if the block is left without an exception.

    Objects are replaced before files, one after the other: a store cannot replace several at once.
    If one of them fails, those before it stay, and the exception names them.
    """
    with ExitStack() as stack:
        outputs = Outputs(stack)
        yield outputs
        outputs.complete()


def check_target(name: str) -> None:
    """Raise an error if nothing can be written to a path or a URL.

    Raises:
        FileError: The path cannot be written.
        UsageError: The URL is invalid, or of a server that takes no uploads.
    """
    if is_url(name):
        writable_location(name)
    else:
        check_writable(name)


def find_existing(name: str) -> str | None:
    """Return the file or the object that an output would replace, or None.

    Raises:
        FileError: The bucket of an object does not exist or cannot be read.
    """
    if not is_url(name):
        return name if os.path.exists(name) else None
    try:
        (existing,) = find_objects(name)
    except FileError as error:
        if error.__cause__ is not None and is_missing(error.__cause__):
            return None
        raise
    return existing


def check_name(target: Target) -> None:
    """Raise `UsageError` if the name of a file for rows promises a format that is not written."""
    name = os.fspath(target)
    if os.path.splitext(name)[1].lower() in OTHERS:
        raise UsageError(
            f"cannot write {name}: ftkit writes JSON Lines, or Parquet to a name with {PARQUET}"
        )


def refuse_overwriting(outputs: Sequence[str], inputs: Iterable[str]) -> None:
    """Raise `UsageError` if an output would replace an input or another output."""
    read = list(inputs)
    for index, output in enumerate(outputs):
        if any(_is_same(output, path) for path in read):
            raise UsageError(f"{output} is an input; name another file to write")
        if any(_is_inside(output, path) for path in read):
            raise UsageError(f"{output} is in a folder that is an input; name another file")
        if any(_is_same(output, other) for other in outputs[:index]):
            raise UsageError(f"{output} is named for two outputs; name another file")


def _is_inside(file: str, folder: str) -> bool:
    if is_url(file) or not os.path.isdir(folder):
        return False
    inside = os.path.join(os.path.realpath(folder), "")
    return os.path.realpath(file).startswith(inside)


def _is_same(one: str, other: str) -> bool:
    if is_url(one) or is_url(other):
        return is_url(one) and is_url(other) and parse_url(one) == parse_url(other)
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)
