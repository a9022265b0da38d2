"""The result of a preparation: rows that are made as they are read, and their ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

import msgspec

from ftkit._atomic import atomic_replace, check_writable
from ftkit._text import validate_command
from ftkit.dataset.inputs import Examples, File, open_sources
from ftkit.errors import FileError, UsageError
from ftkit.prepare.ledger import Ledger
from ftkit.prepare.rows import Row, read_rows

Step = Callable[[Iterable[Row], Ledger], Iterator[Row]]
"""A step of a preparation: takes rows, yields rows, and records what it leaves out in the ledger.

It reads its input as its output is read, so that a chain of steps takes no more memory than one.
"""


class Prepared:
    """Prepared examples. Iterate over them, or write them to a file; either can be done once.

    Attributes:
        ledger: Counts of the rows, complete when the examples have been read to the end.
    """

    def __init__(self, rows: Iterable[Row], ledger: Ledger) -> None:
        self.ledger = ledger
        self._rows: Iterator[Row] | None = iter(rows)

    def __iter__(self) -> Iterator[Any]:
        for row in self.rows():
            yield row.value

    def rows(self) -> Iterator[Row]:
        """Yield the rows, with their origins.

        Raises:
            UsageError: The rows have been read before.
        """
        rows, self._rows = self._rows, None
        if rows is None:
            raise UsageError("the examples have been read already; prepare them again")
        for row in rows:
            self.ledger.written += 1
            yield row

    def write(self, path: Path, map: Path | None = None, rejects: Path | None = None) -> bool:
        """Write the examples to a JSON Lines file.

        All files are replaced when they are complete, or none if an exception is raised or rows
        are rejected without a file for them.

        Args:
            path: The file to write.
            map: JSON Lines file for the origins and the steps of each line.
            rejects: File for the rejected rows, as they are in their sources.

        Returns:
            False if nothing was written, because rows were rejected and `rejects` is None.

        Raises:
            FileError: A file cannot be read or written.
        """
        with suppress(_WithheldError), ExitStack() as stack:
            self._write(*[open_output(stack, name) for name in (path, map, rejects)])
            if rejects is None and self.ledger.total("rejected"):
                raise _WithheldError
            return True
        self.ledger.written = 0
        return False

    def _write(self, data: Any, map: IO[bytes] | None, rejects: IO[bytes] | None) -> None:
        if rejects is not None:
            self.ledger.save_reject = lambda line: rejects.write(line + b"\n")
        for number, row in enumerate(self.rows(), 1):
            data.write(row.encode() + b"\n")
            if map is not None:
                map.write(map_line(number, row) + b"\n")


class _WithheldError(Exception):
    """The output is incomplete and must not be written."""


def map_line(number: int, row: Row) -> bytes:
    """Return the line of a map for a line of the output: its number, origins and steps."""
    return msgspec.json.encode({"line": number, "sources": row.origins, "steps": row.steps})


def prepare_files(
    files: File | Iterable[File] | Examples, steps: Sequence[Step], parameter: str = "files"
) -> Prepared:
    """Return the examples of files, or examples in memory, after some steps.

    Args:
        files: Paths, open files, or examples.
        steps: The steps, in order.
        parameter: Name of the argument `files`, for error messages.

    Raises:
        FileError: A path is not a file.
        UsageError: `files` is empty or of another type.
    """
    sources = open_sources(files, parameter)
    ledger = Ledger()
    rows: Iterator[Row] = (row for source in sources for row in read_rows(source, ledger))
    for step in steps:
        rows = step(rows, ledger)
    return Prepared(rows, ledger)


def read_others(files: Any, parameter: str) -> Iterator[Row]:
    """Yield the rows of files, or examples in memory, that others are compared with.

    Raises:
        FileError: A line is not JSON, or a file cannot be read.
        UsageError: `files` is empty or of another type.
    """
    for source in open_sources(files, parameter):
        ledger = Ledger()
        yield from read_rows(source, ledger)
        if ledger.total("rejected"):
            place = next(entry.origin for entry in ledger.entries if entry.effect == "rejected")
            raise FileError(f"{place} is not JSON; fix it, or run {validate_command(source.path)}")


def open_output(stack: ExitStack, path: Path | None) -> Any:
    """Open a file that is replaced when the stack is left without an exception; None for None.

    Raises:
        FileError: The file cannot be written.
    """
    if path is None:
        return None
    check_writable(str(path))
    temporary = stack.enter_context(atomic_replace(path))
    return stack.enter_context(temporary.open("wb"))
