"""Simple JSON Schemas, which are checked without jsonschema: its import takes longer than a file.

Most tools have parameters of a few keywords, and most arguments match them. Whatever is not
certainly valid is left to jsonschema.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}
"""Python types of the values of each type. A float may be an integer, too, such as 1.0."""

MAX_ENUM = 60
"""Maximum values of an `enum`, since each value is compared with all of them."""


def is_simple(schema: Any) -> bool:
    """Return True for a valid schema that has a type, and no keywords but `KEYWORDS`."""
    return (
        type(schema) is dict
        and "type" in schema
        and all(name in KEYWORDS and KEYWORDS[name](value) for name, value in schema.items())
    )


def certainly_matches(value: Any, schema: dict[str, Any]) -> bool:
    """Return True if a value matches a simple schema; False if it may not."""
    kind = type(value)
    if kind not in TYPES[schema["type"]] or ("enum" in schema and value not in schema["enum"]):
        return False
    if kind is dict:
        return _has_required(value, schema) and _properties_match(value, schema)
    if kind is str:
        return _is_between(len(value), schema.get("minLength"), schema.get("maxLength"))
    if kind is int or kind is float:
        return _is_between(value, schema.get("minimum"), schema.get("maximum"))
    if kind is list and "items" in schema:
        return all(certainly_matches(item, schema["items"]) for item in value)
    return True


def _is_between(number: float, lowest: float | None, highest: float | None) -> bool:
    return (lowest is None or lowest <= number) and (highest is None or number <= highest)


def _has_required(value: dict[str, Any], schema: dict[str, Any]) -> bool:
    return all(name in value for name in schema.get("required", ()))


def _properties_match(value: dict[str, Any], schema: dict[str, Any]) -> bool:
    properties, may_have_more = schema.get("properties", {}), "additionalProperties" not in schema
    return all(
        certainly_matches(item, properties[name]) if name in properties else may_have_more
        for name, item in value.items()
    )


def _is_text(value: Any) -> bool:
    return type(value) is str


def _are_texts(value: Any) -> bool:
    return type(value) is list and all(map(_is_text, value)) and len(set(value)) == len(value)


def _are_properties(value: Any) -> bool:
    return type(value) is dict and all(map(is_simple, value.values()))


def _is_number(value: Any) -> bool:
    return type(value) in TYPES["number"]


def _is_length(value: Any) -> bool:
    return type(value) is int and value >= 0


KEYWORDS: dict[str, Callable[[Any], bool]] = {
    "additionalProperties": lambda value: value is False,
    "description": _is_text,
    "enum": lambda value: _are_texts(value) and len(value) <= MAX_ENUM,
    "items": is_simple,
    "maxLength": _is_length,
    "maximum": _is_number,
    "minLength": _is_length,
    "minimum": _is_number,
    "properties": _are_properties,
    "required": _are_texts,
    "title": _is_text,
    "type": lambda value: type(value) is str and value in TYPES,
}
"""Keywords of simple schemas, each with the check of its value."""
