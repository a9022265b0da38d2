"""Checks of the values of rows, for the readers and writers of row formats."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, get_args

import msgspec

from ftkit._text import excerpt
from ftkit.dataset.canonical import has_repeated_key
from ftkit.dataset.lenient_json import MAX_DEPTH, nests_deeper
from ftkit.dataset.types import Message as AnyMessage
from ftkit.dataset.types import ToolDefinition
from ftkit.prepare.exact_numbers import exact_numbers
from ftkit.prepare.example import Example, Extra, Message
from ftkit.prepare.paths import child, path_steps, pointer_of
from ftkit.prepare.row_formats.base import RowError

MAX_UNKNOWN = 100
"""Maximum unknown keys inside the messages of a row, since each takes a pass over them."""

UNKNOWN = "unknown key"
"""Kind of an extra that its format does not know."""

_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)` - at `(.*?)`", re.DOTALL)
_PLACE = re.compile(r"(.*) - at `(.*?)`", re.DOTALL)
_KEYS = {
    type_.__struct_config__.tag: frozenset(type_.__struct_fields__) | {"role"}
    for type_ in get_args(AnyMessage)
}
_decode = msgspec.json.Decoder().decode


def check_object(value: Any, pointer: str = "") -> dict[str, Any]:
    """Return a value that must be a JSON object."""
    if not isinstance(value, dict):
        raise RowError("not a JSON object", pointer, excerpt(value, 40))
    return value


def check_list(value: Any, pointer: str) -> list[Any]:
    """Return a value that must be an array."""
    if not isinstance(value, list):
        raise RowError("not an array", pointer, excerpt(value, 40))
    return value


def text_of(row: dict[str, Any], key: str, pointer: str = "") -> str:
    """Return the text of a key that must be there."""
    if key not in row:
        raise RowError(f"`{key}` is missing", pointer)
    return check_text(row[key], child(pointer, key))


def optional_text(row: dict[str, Any], key: str, pointer: str = "") -> str:
    """Return the text of a key, or "" if it is missing or null."""
    value = row.get(key)
    return "" if value is None else check_text(value, child(pointer, key))


def check_text(value: Any, pointer: str) -> str:
    """Return a value that must be a text."""
    if not isinstance(value, str):
        raise RowError("not a text", pointer, excerpt(value, 40))
    return value


def unknown_keys(
    row: dict[str, Any], keys: Collection[str], pointer: str = "", message: int = -1
) -> list[Extra]:
    """Return the extras for keys that a format does not know. A null says nothing."""
    return [
        Extra(child(pointer, key), UNKNOWN, value, message)
        for key, value in row.items()
        if key not in keys and value is not None
    ]


def read_messages(value: Any, pointer: str, first: int = 0) -> tuple[list[Message], list[Extra]]:
    """Return messages in OpenAI's chat format, without keys that are null, and their extras.

    Args:
        value: The value that must be an array of such messages.
        pointer: JSON pointer to it.
        first: Index of its first message in the example, or -1 if its extras are the example's.
    """
    messages: list[Message] = []
    extras: list[Extra] = []
    if not check_list(value, pointer):
        raise RowError("no messages", pointer)
    for index, item in enumerate(value):
        place = f"{pointer}/{index}"
        role = check_object(item, place).get("role")
        keys = _KEYS.get(role) if isinstance(role, str) else None
        if keys is None:
            raise RowError("unknown role", f"{place}/role", excerpt(role, 40))
        if not item.keys() <= keys:
            extras += unknown_keys(item, keys, place, first + index if first >= 0 else -1)
        messages.append(
            {
                key: item[key]
                for key in item
                if key in keys and (item[key] is not None or key == "content")
            }
        )
    messages, more = check_type(messages, list[AnyMessage], pointer)
    return messages, [*extras, *(_of_message(extra, pointer, first) for extra in more)]


def _of_message(extra: Extra, pointer: str, first: int) -> Extra:
    if first < 0:
        return extra
    index = extra.pointer[len(pointer) + 1 :].partition("/")[0]
    return Extra(extra.pointer, extra.kind, extra.value, first + int(index))


def read_tools(value: Any, pointer: str) -> tuple[list[dict[str, Any]] | None, list[Extra]]:
    """Return definitions of tools in OpenAI's format, or None for null, and their extras."""
    if value is None:
        return None, []
    return check_type(value, list[ToolDefinition], pointer)


def check_type(value: Any, type_: Any, pointer: str) -> tuple[Any, list[Extra]]:
    """Return a value without keys that its type does not know, and the extras for those.

    Args:
        value: The value, which is not changed.
        type_: Type of `ftkit.dataset.types`.
        pointer: JSON pointer to the value.

    Raises:
        RowError: The value is not of the type.
    """
    extras: list[Extra] = []
    for _ in range(MAX_UNKNOWN):
        try:
            msgspec.convert(value, type_)
        except msgspec.ValidationError as error:
            value, removed = _without_unknown(value, error, pointer)
            extras += removed
        else:
            return value, extras
    raise RowError("too many unknown keys", pointer)


def _without_unknown(
    value: Any, error: msgspec.ValidationError, pointer: str
) -> tuple[Any, list[Extra]]:
    text = str(error)
    unknown = _UNKNOWN_FIELD.fullmatch(text)
    if not unknown:
        match = _PLACE.fullmatch(text)
        message, path = match.groups() if match else (text, "$")
        inner = pointer_of(path_steps(path))
        raise RowError("not as OpenAI's format requires", pointer + inner, message) from None
    key, steps = unknown[1], path_steps(unknown[2])
    copy: Any = value.copy()
    holder: Any = copy
    for step in steps:
        holder[step] = holder[step].copy()
        holder = holder[step]
    removed = holder.pop(key)
    place = pointer + pointer_of((*steps, key))
    return copy, [] if removed is None else [Extra(place, UNKNOWN, removed)]


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


def plain_text(example: Example, index: int, message: Message) -> tuple[str, list[Extra]]:
    """Return the text of a message for a format of plain texts, and what it lacks.

    Raises:
        RowError: The message takes part in a tool call, or has an image and no text.
    """
    if message["role"] in ("tool", "function") or message.keys() & {"tool_calls", "function_call"}:
        raise RowError("a tool call has no place in the format", example.lost("", index).pointer)
    content = message.get("content")
    lost = []
    if isinstance(content, list):
        lost.append(example.lost("content parts", index, "content", content))
        content = "".join(part["text"] for part in content if "text" in part)
    lost += [
        example.lost(key, index, key, value)
        for key, value in message.items()
        if key not in ("role", "content") and (key, value) != ("weight", 1)
    ]
    return content or "", lost
