"""Grouping of rows that belong together, wherever in the files they are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import IO, Any

import msgspec
from msgspec import Struct

from ftkit.dataset.canonical import canonical_form
from ftkit.prepare.ledger import Origin
from ftkit.prepare.rows import Row

NONE = -1
"""Offset that stands for no record."""


class _Record(Struct, array_like=True):
    previous: int
    """Offset of the record before this one in the same group."""
    line: bytes
    is_unchanged: bool
    origins: tuple[Origin, ...]
    steps: tuple[str, ...]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode
_decode_line = msgspec.json.Decoder().decode
_LENGTH_BYTES = 8


def group_rows(rows: Iterable[Row], key: Callable[[Row], Any]) -> Iterator[list[Row]]:
    """Yield the rows that have the same key together, in the order of their first rows.

    The rows wait in a temporary file. Memory holds a hash and an offset for each group, and the
    rows of one group.

    Args:
        rows: The rows, which are read to the end before the first group is yielded.
        key: Returns the key of a row, a JSON value.
    """
    last: dict[bytes, int] = {}  # in the order of first rows
    with tempfile.TemporaryFile(prefix="ftkit-") as file:
        for row in rows:
            hash = blake2b(canonical_form(key(row)), digest_size=16).digest()
            offset = file.tell()
            _write(file, row, last.get(hash, NONE))
            last[hash] = offset
        for offset in last.values():
            yield _read_group(file, offset)


def _write(file: IO[bytes], row: Row, previous: int) -> None:
    record = _Record(previous, row.encode(), row.line is not None, row.origins, row.steps)
    data = _encode(record)
    file.write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)


def _read_group(file: IO[bytes], offset: int) -> list[Row]:
    """Return the rows of the group whose last record is at an offset."""
    rows = []
    while offset != NONE:
        file.seek(offset)
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        record = _decode(file.read(length))
        line = record.line if record.is_unchanged else None
        rows.append(Row(_decode_line(record.line), record.origins, record.steps, line))
        offset = record.previous
    return rows[::-1]
