"""JSON and JSON Lines as an archive holds them: readable, UTF-8, and without loss."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ftkit.dataset.lenient_json import nesting_exceeds
from ftkit.errors import FileError

MAX_DEPTH = 100
"""Maximum nesting of a value of the provider. Many JSON parsers read a few hundred levels."""

MAX_READ_DEPTH = MAX_DEPTH + 10
"""Maximum nesting of a file in an archive, which holds lists of such values."""


def without_deep_values(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return a JSON value with null for all objects and lists nested deeper than `depth`."""
    if isinstance(value, dict):
        items = value.items()
        return (
            {name: without_deep_values(child, depth - 1) for name, child in items}
            if depth
            else None
        )
    if isinstance(value, list):
        return [without_deep_values(child, depth - 1) for child in value] if depth else None
    return value


def to_json(value: Any) -> bytes:
    """Return a value as indented JSON."""
    return _encode(value, indent=2) + b"\n"


def to_json_lines(values: Iterable[Any]) -> bytes:
    """Return values as JSON Lines."""
    return b"".join(_encode(value) + b"\n" for value in values)


def _encode(value: Any, **options: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, **options).encode()
    except UnicodeEncodeError:  # UTF-8 cannot encode a lone surrogate, so it has to be escaped
        return json.dumps(value, **options).encode()


def parse_json(data: bytes | str, path: str, expected: type[Any]) -> Any:
    """Parse JSON.

    Args:
        data: The JSON.
        path: Path to name in the error message.
        expected: Type that the value must have: `dict`, or `list` for a list of objects.

    Raises:
        FileError: The data is not JSON, nested too deeply, or a value of another type.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged: {error}; see `ftkit archive verify`") from error
    reason = ""
    if not isinstance(value, expected):
        reason = f"expected {expected.__name__}, got {type(value).__name__}"
    elif expected is list and not all(isinstance(item, dict) for item in value):
        reason = "an item of the list is not an object"
    elif nesting_exceeds(value, MAX_READ_DEPTH):
        reason = f"it is nested deeper than {MAX_READ_DEPTH} levels"
    if reason:
        raise FileError(f"{path} is damaged: {reason}; see `ftkit archive verify`")
    return value


def parse_json_lines(data: bytes, path: str) -> list[dict[str, Any]]:
    """Parse the JSON objects on the lines of a file, as `parse_json` does."""
    return [parse_json(line, path, dict) for line in data.splitlines()]
