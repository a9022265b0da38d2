"""Maps from the lines of prepared files to the rows of their sources."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from ftkit.errors import FileError, UsageError, os_error_message
from ftkit.prepare.audit import Origin

SUFFIX = ".map.jsonl"
"""Suffix of the maps that are found beside a prepared file."""

PREPARED = (".jsonl", ".parquet")
"""Suffixes of prepared files. A table may have the name of the file that is made of it."""

GENERATIONS = 20
"""Maximum number of maps that a line is followed through."""


class MapEntry(Struct, frozen=True):
    """Line of a map: a line of a prepared file, and the rows that it was made of."""

    line: int
    sources: tuple[Origin, ...]
    steps: tuple[str, ...] = ()
    file: str = ""
    """Name of the prepared file, if the map is of several."""


_decode = msgspec.json.Decoder(MapEntry).decode


def find_map(file: str | os.PathLike[str]) -> Path | None:
    """Return the map beside a prepared file, or None.

    The map of `a.train.jsonl` is `a.train.map.jsonl` or `a.map.jsonl`: that of its name with one
    suffix or more left out.
    """
    path = Path(file)
    name = path.name if path.suffix in PREPARED else ""
    while "." in name:
        name = name.rpartition(".")[0]
        candidate = path.with_name(f"{name}{SUFFIX}") if name else path
        if candidate.name != path.name and candidate.is_file():
            return candidate
    return None


def source_rows(
    map: Path, lines: Collection[int], file: str | os.PathLike[str] | None = None
) -> dict[int, tuple[Origin, ...]]:
    """Return the rows of the first sources for lines of a prepared file.

    A source that was prepared itself, and has a map beside it, is followed to its own sources.

    Args:
        map: The map.
        lines: Numbers of the lines.
        file: The prepared file, by whose name a map of several files is read.

    Returns:
        Rows by line. A line that the map does not have is missing.

    Raises:
        FileError: The map cannot be read, or is no map.
        UsageError: The map is of several files, and `file` is None.
    """
    rows = _entries(map, lines, file)
    for _ in range(GENERATIONS):
        older = _older_rows({origin for origins in rows.values() for origin in origins}, map)
        if not older:
            break
        rows = {
            line: tuple(
                dict.fromkeys(row for origin in origins for row in older.get(origin, (origin,)))
            )
            for line, origins in rows.items()
        }
    return rows


def _older_rows(origins: Iterable[Origin], map: Path) -> dict[Origin, tuple[Origin, ...]]:
    """Return the rows that those rows were made of whose file has a map."""
    lines: dict[str, dict[int, Origin]] = defaultdict(dict)
    for origin in origins:
        if origin.line and not origin.row:
            lines[origin.file][origin.line] = origin
    older: dict[Origin, tuple[Origin, ...]] = {}
    for file, by_line in lines.items():
        path = _map_of_source(file, map)
        entries = _entries(path, by_line, file) if path else {}
        for line, rows in entries.items():
            if file not in {row.file for row in rows}:  # else it is the map of another file
                older[by_line[line]] = rows
    return older


def _map_of_source(file: str, map: Path) -> Path | None:
    """Return the map of a source, which is named relative to the working directory or to `map`."""
    for path in (Path(file), map.parent / file):
        if path.is_file():
            older = find_map(path)
            return older if older and not older.samefile(map) else None
    return None


def _entries(
    map: Path, lines: Collection[int], file: str | os.PathLike[str] | None
) -> dict[int, tuple[Origin, ...]]:
    rows: dict[int, tuple[Origin, ...]] = {}
    for entry in _read(map):
        if entry.line not in lines:
            continue
        if not entry.file or (file is not None and Path(entry.file).name == Path(file).name):
            rows[entry.line] = entry.sources
        elif file is None:
            raise UsageError(f"{map} has the lines of several files; name one of them as `file`")
    return rows


def _read(map: Path) -> Iterator[MapEntry]:
    try:
        with map.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield _decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    raise FileError(f"{map}:{number} is not a line of a map") from None
    except OSError as error:
        raise FileError(f"cannot read {map}: {os_error_message(error)}") from error
