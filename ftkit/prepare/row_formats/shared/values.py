"""Checks of the values of rows, for the readers and writers of row formats."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, get_args

import msgspec
from msgspec.structs import replace

from ftkit._text import excerpt
from ftkit.dataset.canonical import has_repeated_key
from ftkit.dataset.exact_numbers import exact_numbers
from ftkit.dataset.lenient_json import MAX_DEPTH, nests_deeper
from ftkit.dataset.types import Message as AnyMessage
from ftkit.dataset.types import ToolDefinition
from ftkit.prepare.example import Extra, ExtraKind, Message
from ftkit.prepare.paths import child, path_steps, pointer_of
from ftkit.prepare.row_formats.base import RowError
from ftkit.prepare.row_formats.shared.row_value import RowValue

MAX_UNKNOWN = 100
"""Maximum unknown keys inside the messages of a row, since each takes a pass over them."""

_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)` - at `(.*?)`", re.DOTALL)
_PLACE = re.compile(r"(.*) - at `(.*?)`", re.DOTALL)
_KEYS = {
    type_.__struct_config__.tag: frozenset(type_.__struct_fields__) | {"role"}
    for type_ in get_args(AnyMessage)
}
_decode = msgspec.json.Decoder().decode


def unknown_keys(value: RowValue, keys: Collection[str], message: int = -1) -> list[Extra]:
    """Return the extras for keys of an object that a format does not know. A null says nothing."""
    return [
        Extra(other.pointer, ExtraKind.UNKNOWN_KEY, other.value, message)
        for other in value.others(keys)
    ]


def read_messages(array: RowValue, first: int = 0) -> tuple[list[Message], list[Extra]]:
    """Return messages in OpenAI's chat format, without keys that are null, and their extras.

    Args:
        array: The array of the messages.
        first: Index of its first message in the example, or -1 if its extras are the example's.
    """
    messages: list[Message] = []
    extras: list[Extra] = []
    if not array.array():
        array.fail("no messages")
    for index, item in enumerate(array.elements()):
        role = item.object().get("role")
        keys = _KEYS.get(role) if isinstance(role, str) else None
        if keys is None:
            raise RowError("unknown role", child(item.pointer, "role"), excerpt(role, 40))
        if not item.value.keys() <= keys:
            extras += unknown_keys(item, keys, first + index if first >= 0 else -1)
        messages.append(
            {
                key: value
                for key, value in item.value.items()
                if key in keys and (value is not None or key == "content")
            }
        )
    checked, more = check_type(RowValue(messages, array.pointer), list[AnyMessage])
    return checked, [*extras, *(_of_message(extra, array.pointer, first) for extra in more)]


def _of_message(extra: Extra, pointer: str, first: int) -> Extra:
    if first < 0:
        return extra
    index = extra.pointer[len(pointer) + 1 :].partition("/")[0]
    return replace(extra, message=first + int(index))


def read_tools(tools: RowValue | None) -> tuple[list[dict[str, Any]] | None, list[Extra]]:
    """Return definitions of tools in OpenAI's format, or None for none, and their extras."""
    return (None, []) if tools is None else check_type(tools, list[ToolDefinition])


def check_type(value: RowValue, type_: Any) -> tuple[Any, list[Extra]]:
    """Return a value without keys that its type does not know, and the extras for those.

    Args:
        value: The value, which is not changed.
        type_: Type of `ftkit.dataset.types`.

    Raises:
        RowError: The value is not of the type.
    """
    extras: list[Extra] = []
    for _ in range(MAX_UNKNOWN):
        try:
            msgspec.convert(value.value, type_)
        except msgspec.ValidationError as error:
            value, removed = _without_unknown(value, error)
            extras += removed
        else:
            return value.value, extras
    raise RowError("too many unknown keys", value.pointer)


def _without_unknown(
    value: RowValue, error: msgspec.ValidationError
) -> tuple[RowValue, list[Extra]]:
    text = str(error)
    unknown = _UNKNOWN_FIELD.fullmatch(text)
    if not unknown:
        match = _PLACE.fullmatch(text)
        message, path = match.groups() if match else (text, "$")
        inner = pointer_of(path_steps(path))
        raise RowError("not as OpenAI's format requires", value.pointer + inner, message) from None
    key, steps = unknown[1], path_steps(unknown[2])
    copy: Any = value.value.copy()
    holder: Any = copy
    for step in steps:
        holder[step] = holder[step].copy()
        holder = holder[step]
    removed = holder.pop(key)
    place = value.pointer + pointer_of((*steps, key))
    extras = [] if removed is None else [Extra(place, ExtraKind.UNKNOWN_KEY, removed)]
    return RowValue(copy, value.pointer), extras


def parse_json(text: str, pointer: str) -> Any:
    """Return the value of JSON inside a text.

    Raises:
        RowError: It is not JSON, or repeats a key, which would be lost.
    """
    data = text.encode("utf-8", "surrogatepass")
    try:
        if nests_deeper(data, MAX_DEPTH):
            raise RecursionError
        value = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RowError("text is not JSON", pointer, excerpt(text, 40)) from error
    if has_repeated_key(data, value):
        raise RowError("JSON inside the text repeats a key", pointer, excerpt(text, 40))
    return exact_numbers(data, value)
