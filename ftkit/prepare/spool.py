"""Rows in a temporary file, for steps that read them more than once."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from itertools import pairwise
from types import TracebackType
from typing import Any

import msgspec

from ftkit.dataset.exact_numbers import exact_numbers
from ftkit.prepare.audit import Origin
from ftkit.prepare.rows import Row

_decode_line = msgspec.json.Decoder().decode
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(
    tuple[bytes, bool, tuple[Origin, ...], tuple[str, ...], bytes | None]
).decode


class Spool:
    """Rows in a temporary file, in the order in which they are added.

    A row takes 8 bytes of memory. Use it as a context manager, or `close` it.
    """

    def __init__(self) -> None:
        self._file: Any = tempfile.TemporaryFile(prefix="ftkit-")  # noqa: SIM115 # closed by close
        self._ends = array("Q", [0])

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def __del__(self) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, row: Row) -> None:
        """Add a row."""
        data = _encode((row.encode(), row.line is None, row.origins, row.steps, row.source))
        self._file.seek(self._ends[-1])
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def __getitem__(self, index: int) -> Row:
        start, end = self._ends[index], self._ends[index + 1]
        return self._read(start, end)

    def __iter__(self) -> Iterator[Row]:
        for start, end in pairwise(self._ends):
            yield self._read(start, end)

    def _read(self, start: int, end: int) -> Row:
        self._file.seek(start)
        line, is_changed, origins, steps, text = _decode(self._file.read(end - start))
        value = _decode_line(line)
        if is_changed:
            return Row(exact_numbers(line, value), origins, steps, source=text)
        return Row(value, origins, steps, line, text)


class LineSpool:
    """Lines in a temporary file, which are read after all of them are written."""

    def __init__(self) -> None:
        self._file: Any = tempfile.TemporaryFile(prefix="ftkit-")  # noqa: SIM115 # closed by __del__

    def __del__(self) -> None:
        self._file.close()

    def write(self, line: bytes) -> None:
        """Add a line, without its line feed."""
        self._file.write(line + b"\n")

    def read(self) -> Iterator[bytes]:
        """Yield the lines, each with a line feed."""
        self._file.seek(0)
        yield from self._file
