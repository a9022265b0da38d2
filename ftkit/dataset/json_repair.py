"""Repair of JSON text: trailing commas, raw control characters and Python literals.

All of it takes linear time: an unterminated string counts as a string to the end of the text.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from contextlib import suppress
from typing import Any

from ftkit.dataset.exact_numbers import dumps

_STRING = r'"(?:[^"\\]++|\\.)*+(?:"|\Z)'
_COMMAS = re.compile(rf"{_STRING}|,(?=[ \t\r\n]*+[}}\]])", re.DOTALL)
_STRINGS = re.compile(_STRING, re.DOTALL)
_NONFINITE = re.compile(rf"{_STRING}|NaN|-?Infinity", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x1f]")
_PYTHON = re.compile(rf"{_STRING}|'(?:[^'\\]++|\\.)*+(?:'|\Z)|\b(?:True|False|None)\b", re.DOTALL)

WORDS = {"True": "true", "False": "false", "None": "null"}
"""Python's words for JSON's."""


def without_trailing_commas(text: str) -> str:
    """Return JSON text without the commas that follow the last item of an array or object."""
    return _COMMAS.sub(lambda match: "" if match[0] == "," else match[0], text)


def with_escaped_controls(text: str) -> str:
    """Return JSON text in which the control characters of strings are escaped."""

    def escape(control: re.Match[str]) -> str:
        return json.dumps(control[0])[1:-1]

    return _STRINGS.sub(lambda match: _CONTROLS.sub(escape, match[0]), text)


def with_nulls(text: str) -> str:
    """Return JSON text with null in place of NaN and the infinities."""
    return _NONFINITE.sub(lambda match: match[0] if match[0][0] == '"' else "null", text)


def from_python(text: str) -> str | None:
    """Return Python literals as JSON text, or None for text that is neither.

    Strings in single quotes and the words `True`, `False` and `None` are rewritten. The result may
    still not be JSON.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes such as \d
            result = without_trailing_commas(_PYTHON.sub(_json_token, text))
        result.encode()
    except (SyntaxError, ValueError, MemoryError):
        return None
    return result


def _json_token(match: re.Match[str]) -> str:
    token = match[0]
    if token in WORDS:
        return WORDS[token]
    if token[0] == '"':
        with suppress(ValueError):
            json.loads(token, strict=False)
            return token
    return json.dumps(ast.literal_eval(token), ensure_ascii=False)


def split_objects(text: str) -> list[str] | None:
    """Return the JSON objects of a text, which only commas or white space separate, or None."""
    decoder = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)
    objects, position = [], 0
    while position < len(text):
        if text[position] in ", \t\r\n":
            position += 1
            continue
        try:
            value, end = decoder.raw_decode(text, position)
        except (json.JSONDecodeError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        objects.append(text[position:end])
        position = end
    return objects


def encode_like(value: Any, line: bytes) -> bytes:
    """Return a JSON value as a line with the spaces and the escapes of another line."""
    is_spaced = b'": ' in line or b', "' in line or b'":' not in line
    separators = (", ", ": ") if is_spaced else (",", ":")
    return dumps(value, ensure_ascii=line.isascii(), separators=separators).encode()
