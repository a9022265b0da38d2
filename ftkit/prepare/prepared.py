"""The result of a preparation: rows that are made as they are read, and their audit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import msgspec

from ftkit.dataset.inputs import Examples, File, open_sources
from ftkit.dataset.reader import Source
from ftkit.errors import FileError, UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats import read_dataset
from ftkit.prepare.outputs import Outputs, Target, open_outputs
from ftkit.prepare.rows import Row

Read = Callable[[Source, Audit], Iterator[Row]]
"""A function that yields the rows of a source."""

Step = Callable[[Iterable[Row], Audit], Iterator[Row]]
"""A step of a preparation: takes rows, yields rows, and records what it leaves out in the audit.

It reads its input as its output is read, so that a chain of steps takes no more memory than one.
"""


class Prepared:
    """Prepared examples. Iterate over them, or write them to a file; either can be done once.

    Attributes:
        audit: Counts of the rows, complete when the examples have been read to the end.
        allows_losses: False if nothing must be written when values are lost.
    """

    def __init__(self, rows: Iterable[Row], audit: Audit, allows_losses: bool = True) -> None:
        self.audit, self.allows_losses = audit, allows_losses
        self._rows: Iterator[Row] | None = iter(rows)

    def __iter__(self) -> Iterator[Any]:
        """Yield the examples.

        Raises:
            UsageError: The examples have been read before, or one loses values.
        """
        return (row.value for row in self.complete_rows())

    def complete_rows(self) -> Iterator[Row]:
        """Yield the rows, with their origins.

        Raises:
            UsageError: The rows have been read before, or one loses values.
        """
        for row in self.rows():
            if self.has_forbidden_losses:
                loss = next(entry for entry in self.audit.entries if entry.effect == "loss")
                place = f"{loss.origin} {loss.pointer}".rstrip()
                raise UsageError(f"{place}: {loss.reason}; set `on_loss` to drop-row or allow")
            yield row

    @property
    def has_forbidden_losses(self) -> bool:
        """True if values were lost and must not be."""
        return not self.allows_losses and self.audit.total("loss") > 0

    def rows(self) -> Iterator[Row]:
        """Yield the rows, with their origins, and those that lose values, too.

        Raises:
            UsageError: The rows have been read before.
        """
        rows, self._rows = self._rows, None
        if rows is None:
            raise UsageError("the examples have been read already; prepare them again")
        for row in rows:
            self.audit.written += 1
            yield row

    def write(self, path: Target, map: Target | None = None, rejects: Target | None = None) -> bool:
        """Write the examples to a JSON Lines file, or to a Parquet file if its name says so.

        All files are replaced when they are complete, or none if an exception is raised, rows
        are rejected without a file for them, or values are lost that must not be. Objects are
        replaced one after the other, the examples last; see `open_outputs`.

        Args:
            path: The file to write, or the URL of an object.
            map: JSON Lines file for the origins and the steps of each line.
            rejects: File for the rejected rows, as they are in their sources.

        Returns:
            False if nothing was written, because rows were rejected and `rejects` is None, or
            because values were lost.

        Raises:
            FileError: A file cannot be read or written.
        """

        def write(outputs: Outputs) -> None:
            write_rows({path: self.rows()}, outputs, map)
            if self.has_forbidden_losses:
                raise _WithheldError

        return write_complete(self.audit, rejects, write)


class _WithheldError(Exception):
    """The output is incomplete and must not be written."""


def write_complete(
    audit: Audit, rejects: Target | None, write: Callable[[Outputs], object]
) -> bool:
    """Write files and the rejected rows, or nothing if rows are rejected without a file for them.

    Args:
        audit: The audit of the rows. If nothing is written, it counts no rows as written. Rows that
            earlier preparations of a chain rejected count, too.
        rejects: File for the rejected rows, as they are in their sources.
        write: Writes the files.

    Returns:
        False if nothing was written.
    """
    with suppress(_WithheldError), open_outputs() as outputs:
        file = outputs.open(rejects)
        if file is not None:
            for member in audit.chain():
                member.save_reject = lambda line: file.write(line + b"\n")
        write(outputs)
        if file is None and any(member.total("rejected") for member in audit.chain()):
            raise _WithheldError
        return True
    audit.written = 0
    return False


def write_rows(
    parts: Mapping[Target, Iterable[Row]],
    outputs: Outputs,
    map: Target | None,
    names: Mapping[Target, str] | None = None,
) -> None:
    """Write rows to files, and a line for each to a map, with the file if there are several.

    Args:
        parts: The rows of each file.
        outputs: The files to write.
        map: The map.
        names: Name of each file in the map; its path by default.
    """
    map_file = outputs.open(map)
    files = {path: outputs.open_rows(path) for path in parts}
    for path, rows in parts.items():
        name = (names or {}).get(path, str(path)) if len(parts) > 1 else ""
        for number, row in enumerate(rows, 1):
            files[path].write(row.encode() + b"\n")
            if map_file is not None:
                map_file.write(_map_line(number, row, name) + b"\n")


def _map_line(number: int, row: Row, file: str) -> bytes:
    """Return the line of a map for a line of the output: its number, origins and steps.

    Args:
        number: Number of the line.
        row: Its row.
        file: Name of the output, if there are several.
    """
    place = {"file": file, "line": number} if file else {"line": number}
    return msgspec.json.encode({**place, "sources": row.origins, "steps": row.steps})


def prepare_files(
    files: File | Iterable[File] | Examples,
    steps: Sequence[Step],
    parameter: str = "files",
    allows_losses: bool = True,
    read: Read = read_dataset,
) -> Prepared:
    """Return the examples of files, or examples in memory, after some steps.

    Args:
        files: Paths, open files, examples, or a `Prepared`, whose rows keep their origins.
        steps: The steps, in order.
        parameter: Name of the argument `files`, for error messages.
        allows_losses: False if nothing must be written when values are lost.
        read: Reads files, and folders unless it is the default.

    Raises:
        FileError: A path is not a file.
        UsageError: `files` is empty or of another type.
    """
    audit = Audit()
    rows = open_rows(files, parameter, audit, read)
    for step in steps:
        rows = step(rows, audit)
    return Prepared(rows, audit, allows_losses)


def open_rows(
    files: File | Iterable[File] | Examples,
    parameter: str,
    audit: Audit,
    read: Read = read_dataset,
) -> Iterator[Row]:
    """Return the rows of files, of examples in memory, or of a `Prepared`; see `prepare_files`."""
    if isinstance(files, Prepared):
        audit.earlier.append(files.audit)
        return _counted(files.complete_rows(), audit)
    sources = open_sources(files, parameter, allows_folders=read is not read_dataset)
    return chain.from_iterable(read(source, audit) for source in sources)


def _counted(rows: Iterable[Row], audit: Audit) -> Iterator[Row]:
    for row in rows:
        audit.read += 1
        yield row


def read_others(files: Any, parameter: str) -> Iterator[Row]:
    """Yield the rows of files, or examples in memory, that others are compared with.

    Raises:
        FileError: A row or a file cannot be read.
        UsageError: `files` is empty or of another type.
    """
    audit = Audit()
    yield from open_rows(files, parameter, audit)
    for entry in audit.entries:
        if entry.effect == "rejected":
            raise FileError(f"{entry.origin} cannot be read: {entry.reason}; fix or remove the row")
