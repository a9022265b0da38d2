"""JSON and JSON Lines as an archive holds them: readable, UTF-8, and without loss."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ftkit.errors import FileError


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


def parse_json(data: bytes, path: str, expected: type) -> Any:
    """Parse JSON.

    Args:
        data: The JSON.
        path: Path to name in the error message.
        expected: Type that the value must have.

    Raises:
        FileError: The data is not JSON, or a value of another type.
    """
    try:
        value = json.loads(data)
    except ValueError as error:
        raise FileError(f"{path} is damaged: {error}; see `ftkit archive verify`") from error
    if not isinstance(value, expected):
        raise FileError(
            f"{path} is damaged: expected {expected.__name__}, got {type(value).__name__};"
            " see `ftkit archive verify`"
        )
    return value
