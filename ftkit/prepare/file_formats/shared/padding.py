"""Nulls that Arrow added to the arguments of tool calls.

Arrow gives all calls the arguments of every other call, and those that a call did not have are
null. The tools of the row show which of these nulls cannot be values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

OPEN_KEYS = ("arguments", "input", "args")
"""Keys of objects whose members the data defines, where a null may be a value."""


class Null(NamedTuple):
    """A null in an object of open keys."""

    holder: dict[str, Any]
    key: str
    pointer: str


def remove_padding(row: dict[str, Any], nulls: list[Null]) -> list[Null]:
    """Remove the nulls that the tools of a row do not allow, and return the others.

    A null is removed if the called function has no parameter of that name, or if the parameter is
    not required and must be of another type.
    """
    properties = dict(_functions(row.get("tools")))
    called = {id(arguments): name for name, arguments in _calls(row)}
    possible = []
    for null in nulls:
        schema = properties.get(called.get(id(null.holder), ""))
        if schema is not None and _is_padding(schema, null.key):
            del null.holder[null.key]
        else:
            possible.append(null)
    return possible


def _is_padding(schema: dict[str, Any], key: str) -> bool:
    parameters = schema["properties"]
    if key not in parameters:
        return schema.get("additionalProperties") in (None, False)
    required, parameter = schema.get("required"), parameters[key]
    types = parameter.get("type") if isinstance(parameter, dict) else None
    allowed = [types] if isinstance(types, str) else types
    is_required = isinstance(required, list) and key in required
    return not is_required and isinstance(allowed, list) and "null" not in allowed


def _functions(tools: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names and the schemas of functions. The list of tools may be JSON in a text."""
    if isinstance(tools, str):
        try:
            tools = msgspec.json.decode(tools)
        except (msgspec.DecodeError, RecursionError):
            return
    for tool in tools if isinstance(tools, list) else []:
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            continue
        schema = function.get("parameters", function.get("input_schema"))
        if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
            yield function["name"], schema


def _calls(row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the arguments of each call in a row."""
    values: list[Any] = [row]
    for value in values:
        if isinstance(value, list):
            values.extend(value)
        elif isinstance(value, dict):
            values.extend(value.values())
            name = value.get("name")
            for key in OPEN_KEYS:
                arguments = value.get(key)
                if isinstance(name, str) and isinstance(arguments, dict):
                    yield name, arguments
