"""Lock files: the subset of every row of earlier splits, as JSON Lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from msgspec import Struct

from ftkit.errors import FileError, UsageError, os_error_message
from ftkit.prepare.similarity.minhash import Integers

VERSION = 1

MAX_LINE = 10_000
"""Maximum bytes of a line of a lock file."""


class Header(Struct, frozen=True, forbid_unknown_fields=True):
    """First line of a lock file: what must be the same in all splits that use it."""

    version: int
    subsets: tuple[str, ...]
    group: str
    salt: str


class LockedRow(Struct, frozen=True, forbid_unknown_fields=True):
    """A row: hashes of its content and of its group, as hexadecimal digits, and its subset."""

    row: str
    group: str
    subset: str


_encode = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(Header).decode
_decode_entry = msgspec.json.Decoder(LockedRow).decode


class Lock:
    """Rows and groups whose subset is fixed.

    A row takes 33 bytes of memory.
    """

    def __init__(self, header: Header, entries: Iterable[tuple[int, int, int]] = ()) -> None:
        """Create a lock.

        Args:
            header: The header of the file.
            entries: Hash of the row, hash of its group, and number of its subset.
        """
        self.header = header
        dtype = np.dtype([("row", np.uint64), ("group", np.uint64), ("subset", np.int8)])
        self._entries = np.fromiter(entries, dtype)
        self._orders = {
            name: np.argsort(self._entries[name], kind="stable") for name in ("row", "group")
        }

    def subsets(self, name: str, hashes: Integers) -> Integers:
        """Return the number of the subset of each row or group, or -1.

        Args:
            name: `row` or `group`.
            hashes: Hashes of rows or of groups.
        """
        if not len(self._entries):
            return np.full(len(hashes), -1, np.int8)
        entries = self._entries[self._orders[name]]
        places = np.minimum(np.searchsorted(entries[name], hashes), len(entries) - 1)
        return np.where(entries[name][places] == hashes, entries["subset"][places], np.int8(-1))

    def write(self, file: BinaryIO, rows: Integers, groups: Integers, subsets: Integers) -> None:
        """Write the lock, with further rows.

        Args:
            file: Binary file.
            rows: Hashes of the rows of a split. Those that are locked already stay as they are.
            groups: Hashes of their groups.
            subsets: Numbers of their subsets.
        """
        file.write(_encode(self.header) + b"\n")
        _, first = np.unique(rows, return_index=True)
        new = np.sort(first[self.subsets("row", rows[first]) < 0])
        _write(
            file, self.header.subsets, (self._entries[name] for name in ("row", "group", "subset"))
        )
        _write(file, self.header.subsets, (rows[new], groups[new], subsets[new]))


def _write(file: BinaryIO, names: Sequence[str], columns: Iterable[Integers]) -> None:
    file.writelines(
        _encode(LockedRow(f"{row:016x}", f"{group:016x}", names[subset])) + b"\n"
        for row, group, subset in zip(*columns, strict=True)
    )


def read_lock(path: Path, header: Header) -> Lock:
    """Return the lock in a file, or an empty one if there is no file.

    Raises:
        FileError: The file cannot be read, or is not a lock file.
        UsageError: The file is of splits with other options.
    """
    if not path.exists():
        return Lock(header)
    try:
        with path.open("rb") as file:
            _check(_decode_header(file.readline(MAX_LINE)), header, path)
            return Lock(header, _read_entries(file, header.subsets))
    except OSError as error:
        raise FileError(f"cannot read {path}: {os_error_message(error)}") from error
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        message = f"{path} is not a lock file of `ftkit split`; name another file"
        raise FileError(message) from error


def _check(former_header: Header, header: Header, path: Path) -> None:
    for name in ("version", "subsets", "group", "salt"):
        former, present = getattr(former_header, name), getattr(header, name)
        if former != present:
            name = "ratio" if name == "subsets" else name
            raise UsageError(
                f"{path} is of splits with another `{name}`: {_text(former)}, not "
                f"{_text(present)}; use the same, or another lock file"
            )


def _text(value: object) -> str:
    return f"{len(value)} subsets" if isinstance(value, tuple) else repr(value)


def _read_entries(file: BinaryIO, subsets: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    while line := file.readline(MAX_LINE):
        entry = _decode_entry(line)
        yield int(entry.row, 16), int(entry.group, 16), subsets.index(entry.subset)
