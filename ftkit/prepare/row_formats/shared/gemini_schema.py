"""Schemas of Gemini's function declarations: OpenAPI's, with the types in capitals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ftkit.prepare.row_formats.shared.row_value import RowValue

TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")

COPIED = frozenset(
    [
        "default",
        "description",
        "enum",
        "example",
        "format",
        "maximum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "minimum",
        "minItems",
        "minLength",
        "minProperties",
        "nullable",
        "pattern",
        "propertyOrdering",
        "required",
        "title",
    ]
)
"""Keywords that mean the same in Gemini's schemas and in JSON Schema.

Source: Vertex AI API reference, `Schema`.
"""

COUNTS = {"maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"}
"""Keywords whose numbers are texts in the JSON form of a 64-bit integer."""


def to_gemini_schema(schema: RowValue, lose: Callable[[RowValue, str], object]) -> dict[str, Any]:
    """Return a JSON Schema as a schema of Gemini.

    Args:
        schema: The JSON Schema.
        lose: Called with each keyword that has no place, and the kind of loss.
    """
    root: dict[str, Any] = {}
    stack = [(schema, root)]
    while stack:
        source, target = stack.pop()
        for key in source.object():
            value = source.child(key)
            if key == "type" and _write_type(value.value, target):
                continue
            if key in COPIED:
                target[key] = value.value
            elif (inner := _inner(key, value, target)) is not None:
                stack += inner
            else:
                lose(value, "keyword of a JSON Schema")
    return root


def from_gemini_schema(schema: RowValue) -> dict[str, Any]:
    """Return a schema of Gemini as a JSON Schema."""
    root: dict[str, Any] = {}
    stack = [(schema, root)]
    while stack:
        source, target = stack.pop()
        nullable = source.object().get("nullable") is True
        for key in source.object():
            value = source.child(key)
            if key == "type":
                target["type"] = _read_type(value.text(), nullable)
            elif key == "nullable" and nullable and "type" in source.value:
                continue
            elif (inner := _inner(key, value, target)) is not None:
                stack += inner
            else:
                target[key] = _count(value.value) if key in COUNTS else value.value
    return root


def _write_type(type: Any, target: dict[str, Any]) -> bool:
    """Add a type to a schema of Gemini. Return False if it has no place there."""
    if isinstance(type, list) and len(type) == 2 and type[1] == "null" and type[0] in TYPES:
        target["type"], target["nullable"] = type[0].upper(), True
    elif isinstance(type, str):
        target["type"] = type.upper() if type in TYPES else type
    return "type" in target


def _read_type(type: str, nullable: bool) -> str | list[str]:
    name = type.lower() if type.lower() in TYPES else type
    return [name, "null"] if nullable else name


def _inner(
    key: str, value: RowValue, target: dict[str, Any]
) -> list[tuple[RowValue, dict[str, Any]]] | None:
    """Add empty schemas for those inside a keyword, and return them to be filled, or None."""
    if key == "items" and isinstance(value.value, dict):
        target[key] = {}
        return [(value, target[key])]
    if key == "properties":
        target[key] = {name: {} for name in value.object()}
        return [(value.child(name), target[key][name]) for name in value.value]
    if key == "anyOf":
        schemas = list(_schemas(value))
        target[key] = [{} for _ in schemas]
        return list(zip(schemas, target[key], strict=True))
    return None


def _schemas(value: RowValue) -> Iterator[RowValue]:
    for schema in value.elements():
        schema.object()
        yield schema


def _count(value: Any) -> Any:
    is_digits = isinstance(value, str) and value.isdecimal() and value.isascii()
    return int(value) if is_digits and len(value) < 20 else value
