"""Formats of rows in a shape of one's own: the path of each message, as the user names it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from ftkit._text import excerpt, join_names
from ftkit.errors import FileError, UsageError, did_you_mean, os_error_message
from ftkit.prepare.convert.detection import FIRST_ROWS, SHOWN
from ftkit.prepare.example import Example, Extra, ExtraKind
from ftkit.prepare.paths import Steps, child, has_step, look_up, parse_path, pointer_of
from ftkit.prepare.row_formats.base import EMPTY_CELL, RowError, RowFormat
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.prepare.rows import Row
from ftkit.rules.sources import OWN_CHECK

ROLES = ("system", "developer", "user", "assistant")
"""Roles of messages that a mapping names, in their order in the conversation."""

OPTIONAL = ("system", "developer")
"""Roles of messages that a row may lack. Their value may be a text instead of a column."""

OUTPUTS = ("chosen", "rejected")
"""The two answers of a preference example."""


class Turns(Struct, forbid_unknown_fields=True, kw_only=True):
    """Turns of a conversation in a list of objects."""

    list: str
    """Path of the list."""
    role: str = "$.role"
    """Path of the role in a turn."""
    content: str = "$.content"
    """Path of the text in a turn."""
    roles: dict[str, str] = {}
    """Roles by the names that the turns have for them."""


class Fields(Struct, forbid_unknown_fields=True, kw_only=True):
    """A mapping of rows to messages.

    A path begins with `$`, as in findings: `$.a.b[0]`. Any other value is a column, that is, a key
    of the rows. For `system` and `developer` it is the text of the message if there is no such
    column. A row without a value for these two has no such message.
    """

    system: str | None = None
    system_text: str | None = None
    """Text of the system message."""
    developer: str | None = None
    turns: Turns | None = None
    user: str | None = None
    assistant: str | None = None
    chosen: str | None = None
    rejected: str | None = None


def read_fields(field: Mapping[str, Any]) -> Fields:
    """Return the mapping of rows that the argument `field` describes.

    Args:
        field: Values of `Fields`. `turns.list` and the like are those of `turns`.

    Raises:
        UsageError: The mapping has other keys, or values that are not paths.
    """
    try:
        fields = msgspec.convert(_nested(field), Fields)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"`field` is not a mapping of rows: {error}; its keys are "
            f"{', '.join(Fields.__struct_fields__)}, such as user=$.question"
        ) from None
    if (fields.chosen is None) != (fields.rejected is None):
        raise UsageError("`field` needs both chosen and rejected, or neither")
    if not (fields.user or fields.turns):
        raise UsageError("`field` needs the path of a message of the user, such as user=$.question")
    if not (fields.system is None or fields.system_text is None):
        raise UsageError("`system` and `system_text` exclude each other")
    _finders(fields, ())  # checks the paths
    return fields


def map_rows(fields: Fields, rows: Iterable[Row]) -> tuple[RowFormat, Iterator[Row]]:
    """Return the format of rows that a mapping describes, and all the rows.

    Raises:
        UsageError: The first rows have columns, but not one that the mapping names.
    """
    rows = iter(rows)
    first = list(islice(rows, FIRST_ROWS))
    columns = dict.fromkeys(
        key for row in first if isinstance(row.value, dict) for key in row.value
    )
    if columns:
        _check_columns(fields, columns)
    format = RowFormat(
        name="mapped",
        title="Rows in a shape of one's own",
        layout="{}",
        source=OWN_CHECK,
        holds="conversation" if fields.chosen is None else "preference",
        read=_reader(_finders(fields, columns)),
    )
    return format, chain(first, rows)


def _check_columns(fields: Fields, columns: Collection[str]) -> None:
    """Raise `UsageError` if a mapping names a column that there is not."""
    values = {role: getattr(fields, role) for role in (*ROLES, *OUTPUTS)}
    if fields.turns:
        values["turns.list"] = fields.turns.list
    for name, value in values.items():
        if value is None or value.startswith("$") or value in columns:
            continue
        similar = did_you_mean(value, columns)
        if name not in OPTIONAL:
            names = join_names(columns, SHOWN)
            raise UsageError(f"no column {excerpt(value)}; columns are {names}{similar}")
        if similar and not any(map(str.isspace, value)):
            advice = "; if it is a text, set `system_text`" if name == "system" else ""
            raise UsageError(f"no column {excerpt(value)}{advice}{similar}")


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in a TOML file.

    Raises:
        FileError: The file cannot be read.
        UsageError: It is not TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise FileError(f"cannot read {path}: {os_error_message(error)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a mapping in TOML: {error}") from error


def _nested(field: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in field.items():
        *before, last = str(name).split(".", 2)
        target = nested
        for key in before:
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise UsageError(f"`field` has {key} as a value and as a table")
        target[last] = dict(value) if isinstance(value, Mapping) else value
    return nested


def _look_up(value: Any, path: Steps, pointer: str = "") -> Any:
    for step in path:
        pointer = child(pointer, step)
        if not has_step(value, step):
            raise RowError("nothing at the path of the mapping", pointer)
        value = value[step]
    return value


class _Text(NamedTuple):
    role: str
    content: str
    pointers: tuple[str, ...]
    """JSON pointers to the values it was made of, the text first, or none if it was given."""


Find = Callable[[dict[str, Any]], Iterable[_Text]]
"""Return texts of a row."""


def _finder(role: str, text: str) -> Find:
    path = parse_path(text, "field")
    pointer = pointer_of(path)

    def find(row: dict[str, Any]) -> list[_Text]:
        if role in OPTIONAL and look_up(row, path) in (None, ""):  # as in an empty cell
            return []
        text = RowValue(_look_up(row, path), pointer).text()
        if not text.strip():
            raise RowError(EMPTY_CELL, pointer)
        return [_Text(role, text, (pointer,))]

    return find


def _text_finder(role: str, text: str) -> Find:
    """Return a function that finds the same text in all rows, which have no key of that name."""

    def find(row: dict[str, Any]) -> list[_Text]:
        if text in row:
            raise UsageError(
                f"a row has a key {excerpt(text)}, but none of the first {FIRST_ROWS} rows has, so "
                f"`{role}` was taken for a text; name the key by its path, $[{json.dumps(text)}]"
            )
        return [_Text(role, text, ())]

    return find


def _constant(text: _Text) -> Find:
    return lambda row: (text,)


def _turns_finder(turns: Turns) -> Find:
    list_path, role_path, content_path = (
        parse_path(path, "field") for path in (turns.list, turns.role, turns.content)
    )

    def find(row: dict[str, Any]) -> Iterator[_Text]:
        pointer = pointer_of(list_path)
        for index, turn in enumerate(RowValue(_look_up(row, list_path), pointer).array()):
            place = child(pointer, index)
            role_place, content_place = (
                place + pointer_of(role_path),
                place + pointer_of(content_path),
            )
            name = RowValue(_look_up(turn, role_path, place), role_place).text()
            role = turns.roles.get(name, name)
            if role not in ROLES:
                raise RowError("unknown role; map it in `turns.roles`", role_place, name)
            content = RowValue(_look_up(turn, content_path, place), content_place).text()
            yield _Text(role, content, (content_place, role_place))

    return find


def _finders(fields: Fields, columns: Collection[str]) -> list[Find]:
    """Return a function for each value of a mapping, given the keys of the first rows."""
    finders = []
    for name in Fields.__struct_fields__:
        value = getattr(fields, name)
        if value is None:
            continue
        if name == "turns":
            finders.append(_turns_finder(value))
        elif name == "system_text":
            finders.append(_constant(_Text("system", value, ())))
        elif name in OPTIONAL and not value.startswith("$") and value not in columns:
            finders.append(_text_finder(name, value))
        else:
            finders.append(_finder(name, value))
    return finders


def _reader(finders: list[Find]) -> Callable[[dict[str, Any]], Example]:
    def read(row: dict[str, Any]) -> Example:
        RowValue(row, "").object()
        texts = [text for find in finders for text in find(row)]
        turns = [text for text in texts if text.role in ROLES]
        outputs: dict[str, Any] = {
            text.role: [{"role": "assistant", "content": text.content}]
            for text in texts
            if text.role in OUTPUTS
        }
        return Example(
            messages=[{"role": text.role, "content": text.content} for text in turns],
            places=["".join(text.pointers[:1]) for text in turns],
            extras=_unused(row, {pointer for text in texts for pointer in text.pointers}),
            **outputs,
        )

    return read


def _unused(row: dict[str, Any], used: set[str]) -> list[Extra]:
    """Return the extras for the values of a row that no path of the mapping leads to."""
    partly_used = {
        pointer[:end] for pointer in used for end in range(len(pointer)) if pointer[end] == "/"
    }
    extras: list[Extra] = []
    values: list[tuple[str, Any]] = [("", row)]
    for pointer, value in values:
        if pointer in partly_used:
            steps = value if isinstance(value, dict) else range(len(value))
            values += ((child(pointer, step), value[step]) for step in steps)
        elif pointer not in used and value not in (None, ""):  # as an empty cell
            extras.append(Extra(pointer, ExtraKind.UNUSED, value))
    return extras
