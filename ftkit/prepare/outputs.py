"""Files to write, all of which are replaced when they are complete, or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from ftkit._atomic import atomic_replace, check_writable
from ftkit.errors import UsageError
from ftkit.prepare.file_formats.arrow import import_pyarrow
from ftkit.prepare.file_formats.parquet import PARQUET, write_parquet

OTHERS = (".gz", ".zip", ".csv", ".tsv", ".xlsx", ".arrow", ".feather")
"""Suffixes of files that rows cannot be written to."""


class Outputs:
    """Open files of `open_outputs`."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._tables: list[tuple[IO[bytes], Path]] = []

    def open(self, path: Path | None) -> Any:
        """Open a file for writing bytes; return None for None.

        Raises:
            FileError: The file cannot be written.
        """
        if path is None:
            return None
        check_writable(str(path))
        return self._stack.enter_context(self._replacement(path).open("wb"))

    def open_rows(self, path: Path) -> IO[bytes]:
        """Open a file for writing rows as JSON Lines, which become Parquet if its name says so.

        Raises:
            FileError: The file cannot be written.
            UsageError: pyarrow is needed and not installed, or the name promises another format.
        """
        check_name(path)
        if path.suffix != PARQUET:
            file: IO[bytes] = self.open(path)
            return file
        check_writable(str(path))
        import_pyarrow()
        lines: IO[bytes] = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 # next line
        self._stack.enter_context(lines)
        self._tables.append((lines, path))
        return lines

    def write_tables(self) -> None:
        """Write the Parquet files.

        Raises:
            FileError: Values have types that Parquet cannot hold together.
        """
        for lines, path in self._tables:
            write_parquet(lines, self._replacement(path))

    def _replacement(self, path: Path) -> Path:
        return self._stack.enter_context(atomic_replace(path))


@contextmanager
def open_outputs() -> Iterator[Outputs]:
    """Yield files to write, which are replaced if the block is left without an exception."""
    with ExitStack() as stack:
        outputs = Outputs(stack)
        yield outputs
        outputs.write_tables()


def check_name(path: Path) -> None:
    """Raise `UsageError` if the name of a file for rows promises a format that is not written."""
    if path.suffix.lower() in OTHERS:
        raise UsageError(
            f"cannot write {path}: ftkit writes JSON Lines, or Parquet to a name with {PARQUET}"
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
    if not os.path.isdir(folder):
        return False
    inside = os.path.join(os.path.realpath(folder), "")
    return os.path.realpath(file).startswith(inside)


def _is_same(one: str, other: str) -> bool:
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)
