"""Parsing of the arguments of tool calls in generated text.

Parsing takes linear time. The error for invalid text has the position up to which it was read, so
that it is not read again.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 64
"""Maximum depth of nested values."""

JSON_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]|[^"{}\[\]]+', re.DOTALL)
"""A string, a bracket, or what is between them."""

NUMBER = re.compile(r"-?\d{1,400}(?:\.\d{1,400})?(?:[eE][+-]?\d{1,400})?")
WORD = re.compile(r"[^\s\"'`<>(){}\[\],:=]{1,256}")
"""Key without quotes, or the name of a constant."""

SPACE = re.compile(r"\s*")
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "0": "\0"}
CONSTANTS = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "None": None,
}


class ValueReadError(Exception):
    """Text is not a valid value, or not a valid call.

    Attributes:
        position: Position up to which the text was read.
    """

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


def parse_json(text: str) -> Any:
    """Return the value of a JSON text, in which strings may have line breaks.

    Raises:
        ValueError: It is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text, strict=False, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return number


def read_object(text: str, position: int) -> tuple[dict[str, Any], int]:
    """Return the JSON object at a position, and the position after it.

    Raises:
        ValueReadError: The text has no valid object there.
    """
    start = skip_space(text, position)
    end = _object_end(text, start)
    try:
        value = parse_json(text[start:end])
    except ValueError as error:
        raise ValueReadError(end) from error
    if not isinstance(value, dict):
        raise ValueReadError(end)
    return value, end


def _object_end(text: str, start: int) -> int:
    if not text.startswith("{", start):
        raise ValueReadError(start)
    depth, position = 0, start
    while token := JSON_TOKEN.match(text, position):
        position = token.end()
        depth += token[0] in ("{", "[")
        depth -= token[0] in ("}", "]")
        if depth == 0:
            return position
    raise ValueReadError(len(text))


def skip_space(text: str, position: int) -> int:
    """Return the position after white space."""
    match = SPACE.match(text, position)
    assert match
    return match.end()


class LiteralReader:
    """Reads literals of JavaScript or Python.

    Keys may be without quotes, and constants may be those of either language.

    Args:
        quote: Text before and after a string. There are no escapes unless it is ' or ".
    """

    def __init__(self, quote: str) -> None:
        self._quotes = [quote, *{'"', "'"} - {quote}]

    def read(self, text: str, position: int, depth: int = 0) -> tuple[Any, int]:
        """Return the value at a position, and the position after it.

        Raises:
            ValueReadError: The text has no valid value there.
        """
        position = skip_space(text, position)
        if depth > MAX_DEPTH:
            raise ValueReadError(position)
        if text.startswith("{", position):
            return self._read_object(text, position + 1, depth)
        if text.startswith("[", position):
            return self._read_list(text, position + 1, depth)
        if quote := self._quote(text, position):
            return _read_string(text, position, quote)
        if match := NUMBER.match(text, position):
            return _read_number(match), match.end()
        match = WORD.match(text, position)
        if match and match[0] in CONSTANTS:
            return CONSTANTS[match[0]], match.end()
        raise ValueReadError(position)

    def _quote(self, text: str, position: int) -> str:
        return next((quote for quote in self._quotes if text.startswith(quote, position)), "")

    def _read_list(self, text: str, position: int, depth: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        position = skip_space(text, position)
        while not text.startswith("]", position):
            if values:
                position = _expect(text, position, ",")
            value, position = self.read(text, position, depth + 1)
            values.append(value)
            position = skip_space(text, position)
        return values, position + 1

    def _read_object(self, text: str, position: int, depth: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        position = skip_space(text, position)
        while not text.startswith("}", position):
            if values:
                position = _expect(text, position, ",")
            key, position = self._read_key(text, skip_space(text, position))
            position = _expect(text, skip_space(text, position), ":")
            values[key], position = self.read(text, position, depth + 1)
            position = skip_space(text, position)
        return values, position + 1

    def _read_key(self, text: str, position: int) -> tuple[str, int]:
        if quote := self._quote(text, position):
            return _read_string(text, position, quote)
        match = WORD.match(text, position)
        if not match:
            raise ValueReadError(position)
        return match[0], match.end()


def _read_number(match: re.Match[str]) -> Any:
    try:
        return parse_json(match[0])
    except ValueError as error:  # leading zeros, or too large
        raise ValueReadError(match.end()) from error


def _expect(text: str, position: int, character: str) -> int:
    if not text.startswith(character, position):
        raise ValueReadError(position)
    return position + 1


def _read_string(text: str, position: int, quote: str) -> tuple[str, int]:
    start = position + len(quote)
    if quote not in ("'", '"'):
        end = text.find(quote, start)
        if end < 0:
            raise ValueReadError(len(text))
        return text[start:end], end + len(quote)
    match = STRINGS[quote].match(text, position)
    if not match:
        raise ValueReadError(len(text))
    return ESCAPE.sub(_unescape, text[start : match.end() - 1]), match.end()


STRINGS = {
    quote: re.compile(rf"{quote}[^{quote}\\]*(?:\\.[^{quote}\\]*)*{quote}", re.DOTALL)
    for quote in "'\""
}


def _unescape(match: re.Match[str]) -> str:
    escape = match[1]
    return chr(int(escape[1:], 16)) if len(escape) > 1 else ESCAPES.get(escape, escape)


def typed_value(text: str, schema: Any) -> Any:
    """Return the value of a text without quotes.

    It is a string if the schema of the argument allows no other type, or if the text is not JSON.

    Args:
        text: The text.
        schema: JSON Schema of the argument, or None if it has none.
    """
    types = schema_types(schema)
    if types == {"string"}:
        return text
    stripped = text.strip()
    try:
        value = CONSTANTS[stripped] if stripped in CONSTANTS else parse_json(stripped)
    except ValueError:
        return text
    return text if "string" in types and type_name(value) not in types else value


def schema_types(schema: Any) -> set[str]:
    """Return the types that a JSON Schema names, or those of its alternatives."""
    if not isinstance(schema, dict):
        return set()
    types = schema.get("type")
    if isinstance(types, str):
        return {types}
    if isinstance(types, list):
        return {name for name in types if isinstance(name, str)}
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(values, list):
        return {type_name(value) for value in values}
    alternatives = schema.get("anyOf") or schema.get("oneOf") or []
    if not isinstance(alternatives, list):
        return set()
    return {
        name
        for alternative in alternatives
        if isinstance(alternative, dict)
        for name in schema_types({key: alternative.get(key) for key in ("type", "enum")})
    }


def type_name(value: Any) -> str:
    """Return the type of a value in JSON Schema; integers are numbers, too."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return {str: "string", float: "number", list: "array"}.get(type(value), "object")
