"""The parameters of tools: are they a JSON Schema, and do arguments fit them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from ftkit._text import excerpt


def mismatches(value: Any, parameters: dict[str, Any]) -> list[str]:
    """Where the value does not fit the JSON Schema; empty if it fits or the schema itself cannot be used."""
    checker = _validator(msgspec.json.encode(parameters))
    if checker is None:
        return []
    try:
        return [_short(error) for error in checker.iter_errors(value)]
    except Exception:
        return []


def schema_problem(parameters: dict[str, Any]) -> str:
    """What keeps the parameters from being a JSON Schema of an object, or an empty string."""
    return _schema_problem(msgspec.json.encode(parameters))


@lru_cache(1024)
def _schema_problem(encoded: bytes) -> str:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    parameters = msgspec.json.decode(encoded)
    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError as error:
        where = "".join(f"[{json_key!r}]" for json_key in error.absolute_path)
        return f"{_short(error)}{f' at {where[:80]}' if where else ''}"
    kind = parameters.get("type", "object")
    return "" if kind == "object" else f'"type" is {excerpt(kind, 40)}, not "object"'


@lru_cache(1024)
def _validator(encoded: bytes) -> Any:
    """The validator of that schema; None if it is no schema. It never fetches what a `$ref` names."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    if _schema_problem(encoded):
        return None
    return Draft202012Validator(msgspec.json.decode(encoded), registry=Registry())


def _short(error: Any) -> str:
    message: str = error.message
    return message if len(message) <= 120 else f"{message[:120]}…"
