"""JSON objects as text, as in the arguments of OpenAI's tool calls, and back without a loss."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from ftkit._text import is_encodable
from ftkit.dataset.exact_numbers import dumps, read_float
from ftkit.dataset.lenient_json import is_too_large, nests_deeper
from ftkit.prepare.row_formats.base import RowError

MAX_OBJECT_DEPTH = 800
"""Maximum nesting of an object in a text: the rows that it becomes a part of are deeper."""


def to_text(value: Any, pointer: str = "") -> str:
    """Return the text of a JSON value, as OpenAI's models write it: on one line, without spaces.

    Args:
        value: The value.
        pointer: JSON pointer to it, for the error.

    Raises:
        RowError: The value is nested too deeply.
    """
    try:
        return dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise RowError("value nested too deeply for a text", pointer) from None


def parse_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object of a text, or None if the object would not mean the same.

    It would not if the text is not an object, repeats a key, or has a number that is too large.
    Its spelling does not count: spaces, escapes, and digits of the same number.
    """
    raw = text.encode(errors="surrogatepass")
    if is_too_large(raw) or nests_deeper(raw, MAX_OBJECT_DEPTH):
        return None
    try:
        value = json.loads(
            text, parse_float=_float, parse_constant=_refuse, object_pairs_hook=_object
        )
    except (ValueError, ArithmeticError, RecursionError):
        return None
    if not isinstance(value, dict) or ("\\u" in text and not is_encodable(to_text(value))):
        return None
    return value


def _float(digits: str) -> float:
    value = read_float(digits)
    return _refuse(digits) if math.isinf(value) else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        _refuse("repeated key")
    return value


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)
