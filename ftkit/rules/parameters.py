"""Validation of tool parameters as JSON Schema, and of arguments against them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from ftkit._text import excerpt

MESSAGE_LENGTH = 120
"""Maximum number of characters of a message of jsonschema."""


def mismatches(value: Any, parameters: dict[str, Any]) -> list[str]:
    """Return a message for each place where a value does not match a JSON Schema.

    The list is empty if the schema cannot be used.
    """
    validator = _validator(msgspec.json.encode(parameters))
    if validator is None:
        return []
    try:
        return [_short(error) for error in validator.iter_errors(value)]
    except Exception:
        return []


def schema_problem(parameters: dict[str, Any]) -> str:
    """Return why the parameters are not the JSON Schema of an object, or "" if they are."""
    return _schema_problem(msgspec.json.encode(parameters))


@lru_cache(1024)
def _schema_problem(encoded: bytes) -> str:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    parameters = msgspec.json.decode(encoded)
    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError as error:
        path = "".join(f"[{key!r}]" for key in error.absolute_path)
        return f"{_short(error)}{f' at {path[:80]}' if path else ''}"
    kind = parameters.get("type", "object")
    return "" if kind == "object" else f'"type" is {excerpt(kind, 40)}, not "object"'


@lru_cache(1024)
def _validator(encoded: bytes) -> Any:
    """Return the validator of a schema, or None if it is invalid. It never fetches a `$ref`."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    if _schema_problem(encoded):
        return None
    return Draft202012Validator(msgspec.json.decode(encoded), registry=Registry())


def _short(error: Any) -> str:
    message: str = error.message
    return message if len(message) <= MESSAGE_LENGTH else f"{message[:MESSAGE_LENGTH]}…"
