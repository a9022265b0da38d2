"""Conversion of a stored file to chat examples, and safe fixes of its examples."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ftkit._private import open_private
from ftkit._text import plural, shorten
from ftkit.dashboard.check_results import DATA, MAX_PREPARED_BYTES, PreparedFile
from ftkit.dataset.inputs import open_source
from ftkit.errors import FtkitError, UsageError
from ftkit.prepare import prepared
from ftkit.prepare.audit import Audit, Entry
from ftkit.prepare.convert.column_names import COLUMNS, likely_column
from ftkit.prepare.convert.convert import COLUMN_NOT_USED, convert
from ftkit.prepare.convert.detection import UnknownShapeError
from ftkit.prepare.example import ExtraKind
from ftkit.prepare.file_formats import read_file
from ftkit.prepare.file_formats.base import MissingOptionError, ReadOptions
from ftkit.prepare.fix.fix import fix
from ftkit.report.excerpts import Example, excerpt_of
from ftkit.report.prepare import LABELS

PREVIEW = 3
"""Number of examples that are shown."""

FIRST_ROWS = 100
"""Number of rows whose keys are the columns to choose from."""

MAX_COLUMNS, COLUMN_LENGTH, VALUE_LENGTH = 200, 120, 40
"""Maximum number of columns, and of characters of their names and of the values that are shown."""

Columns = tuple[tuple[str, str], ...]
"""Columns to choose from, each with its first value."""

UNUSED = (COLUMN_NOT_USED, ExtraKind.LOG_KEY)
"""Reasons for values of columns that are not in the data."""

MAX_NOTES, NOTE_LENGTH = 20, 300
"""Maximum number of notes, and of characters of one."""

PLACES = 3
"""Number of places that are named for each reason."""

CHOOSE = "Choose the columns that hold the messages."
"""Problem of a file whose columns are not known to be messages."""


def convert_file(path: Path, output: Path, arguments: dict[str, Any]) -> PreparedFile:
    """Convert the rows of a file to chat examples, and write these unless there is a problem.

    Args:
        path: The file.
        output: Beginning of the names of the files to write.
        arguments: The `suffix` that the name of the file had; the columns of the `user`, the
            `assistant` and the `system` messages, if they were chosen; and options of the reader.
    """
    link = output.with_name(f"{output.name}-source{arguments['suffix']}")
    try:
        os.link(path, link)
    except OSError:
        shutil.copyfile(path, link)
    reading = ReadOptions(
        **{name: arguments[name] for name in ReadOptions.__struct_fields__ if arguments.get(name)}
    )
    fields = {role: arguments[role] for role in COLUMNS if arguments.get(role)}
    try:
        result = _convert(link, output, fields, reading)
    finally:
        link.unlink()
    if result.problem:
        output.with_name(output.name + DATA).unlink(missing_ok=True)
    return result


def _convert(
    link: Path, output: Path, fields: dict[str, str], reading: ReadOptions
) -> PreparedFile:
    try:
        columns = _columns(link, reading)
        try:
            rows = convert(
                str(link), to="chat", field=fields or None, on_loss="allow", reading=reading
            )
            result = _write(rows, output)
        except UnknownShapeError as error:
            return _to_choose(error, columns)
        problem = "" if result.written else _nothing_written(result, bool(rows.audit.tables))
        title = next(iter(rows.audit.titles.values()), "JSON Lines")
        chosen = dict(rows.audit.columns) | fields
        return replace(result, problem=problem, title=title, columns=columns, chosen=chosen)
    except MissingOptionError as error:
        problem = _sentence(error.problem)
        return PreparedFile(problem=problem, option=error.option, value=error.value)
    except FtkitError as error:
        problem = _sentence(str(error).replace(str(link), "the file"))
        return PreparedFile(problem=problem, columns=_known_columns(link, reading), chosen=fields)


def _nothing_written(result: PreparedFile, is_table: bool) -> str:
    """Return the reason why no row became an example, and what to do."""
    if result.read:
        return "No row became an example; see the reasons below."
    empty = "only the names of the columns, and no rows" if is_table else "no rows"
    return f"The file has {empty}. Add rows, and upload it again."


def _sentence(error: str) -> str:
    return f"{error[:1].upper()}{error[1:].rstrip('.')}."


def fix_file(path: Path, output: Path, _: dict[str, Any]) -> PreparedFile:
    """Fix the examples of a file with safe fixes, and write them.

    Args:
        path: The file.
        output: Beginning of the names of the files to write.
    """
    return _write(fix(str(path), provider="local"), output)


def _to_choose(error: UnknownShapeError, columns: Columns) -> PreparedFile:
    """Return the result for rows in no known format, with a guess for each role."""
    names = [name for name in error.texts if name in dict(columns)]
    if not names:
        return PreparedFile(problem=str(error).partition("; set `from_`")[0])
    guesses = {role: likely_column(role, names) for role in ("user", "assistant")}
    chosen = {role: name for role, name in guesses.items() if name}
    return PreparedFile(problem=CHOOSE, columns=columns, chosen=chosen)


def _columns(link: Path, reading: ReadOptions) -> Columns:
    """Return the keys of the first rows, which can be chosen as columns, with their first values.

    Raises:
        FtkitError: The file cannot be read.
    """
    rows = read_file(open_source(str(link), "file"), Audit(), reading)
    columns: dict[str, str] = {}
    for row in islice(rows, FIRST_ROWS):
        for key, value in row.value.items() if isinstance(row.value, dict) else ():
            if len(key) <= COLUMN_LENGTH and not key.startswith("$") and not columns.get(key):
                columns[key] = shorten(value, VALUE_LENGTH) if isinstance(value, str) else ""
    return tuple(columns.items())[:MAX_COLUMNS]


def _known_columns(link: Path, reading: ReadOptions) -> Columns:
    """Return the columns, or nothing if the file cannot be read."""
    try:
        return _columns(link, reading)
    except FtkitError:
        return ()


def _write(rows: prepared.Prepared, output: Path) -> PreparedFile:
    """Write prepared rows, and return the result."""
    preview: list[Example] = []
    size = 0
    with open_private(output.with_name(output.name + DATA)) as file:
        for number, row in enumerate(rows.rows(), 1):
            line = row.encode()
            size += len(line) + 1
            if size > MAX_PREPARED_BYTES:
                limit = f"{MAX_PREPARED_BYTES >> 20} MiB"
                raise UsageError(f"The result has more than {limit}; split the file first.")
            file.write(line + b"\n")
            if number <= PREVIEW:
                preview.append(excerpt_of(line, number, []))
    audit = rows.audit
    return PreparedFile(
        read=audit.read,
        written=audit.written,
        bytes=size,
        unused=tuple(_unused(audit)),
        notes=tuple(_notes(audit)),
        preview=tuple(preview),
    )


def _unused(audit: Audit) -> list[str]:
    """Return the columns whose values are not in the data."""
    pointers = dict.fromkeys(entry.pointer for entry in audit.entries if entry.reason in UNUSED)
    return [pointer[1 : COLUMN_LENGTH + 1] for pointer in islice(pointers, MAX_COLUMNS)]


def _notes(audit: Audit) -> Iterator[str]:
    """Yield what else was changed or left out, by reason, with the first places."""
    counts = {key: count for key, count in audit.counts.items() if key[2] not in UNUSED}
    for (effect, step, reason), count in islice(counts.items(), MAX_NOTES):
        entries = (
            entry
            for entry in audit.entries
            if (entry.effect, entry.step, entry.reason) == (effect, step, reason)
        )
        places = ", ".join(map(_place, islice(entries, PLACES)))
        more = ", …" if count > PLACES else ""
        yield f"{LABELS[effect]}: {reason}: {count:,} ({places}{more})"[:NOTE_LENGTH]
    if len(counts) > MAX_NOTES:
        yield f"and {plural(len(counts) - MAX_NOTES, 'more reason')}"


def _place(entry: Entry) -> str:
    origin = entry.origin
    place = f"line {origin.line:,}" if origin.line else f"row {origin.row:,}"
    return f"{place} {entry.pointer}".rstrip()
