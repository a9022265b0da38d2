"""Readers of the tool calls of a message, one for each type of format."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from ftkit._text import common_prefix
from ftkit.server.generation.tool_format import NAME, KeyedCall, NamedCall, ObjectCall, ToolFormat
from ftkit.server.generation.tool_values import (
    WORD,
    LiteralReader,
    ValueReadError,
    parse_json,
    read_object,
    typed_value,
)

SURROGATE = re.compile("[\ud800-\udfff]")

MAX_SPACE = 16
"""Maximum number of white space characters in a place where the template writes white space."""


class ParsedCall(Struct, frozen=True):
    """Name of a function, and its arguments as JSON text."""

    name: str
    arguments: str


def flexible_pattern(text: str) -> str:
    """Return a regular expression for a text, with white space of any length up to `MAX_SPACE`."""
    space = rf"\s{{0,{MAX_SPACE}}}"
    return space.join(map(re.escape, re.split(r"\s+", text)))


class MessageReader:
    """Reads the calls of a message.

    Args:
        form: Format of the calls.
        schemas: JSON Schemas of the arguments by the names of the functions.
    """

    def __init__(self, form: ToolFormat, schemas: dict[str, Any]) -> None:
        self._names = sorted(schemas, key=len, reverse=True)
        self._marker = re.compile(flexible_pattern(form.marker) + r"\s*")
        self._between = (
            re.compile(flexible_pattern(form.between)) if form.between is not None else None
        )
        self._closing = re.compile(flexible_pattern(form.closing))
        self._closing_text = form.closing.strip()
        self._read_call: Callable[[str, int], tuple[ParsedCall, int]]
        if isinstance(form.call, ObjectCall):
            self._read_call = _ObjectReader(form.call, self._names).read
        elif isinstance(form.call, NamedCall):
            self._read_call = _NamedReader(form.call, self._names).read
        else:
            self._read_call = _KeyedReader(form, form.call, self._names, schemas).read

    def read(self, text: str, position: int) -> tuple[list[ParsedCall], int]:
        """Return the calls of a message, and the position after them.

        Raises:
            ValueReadError: The text has no valid calls there.
        """
        match = self._marker.match(text, position)
        call, position = self._read_call(text, match.end() if match else position)
        calls = [call]
        while following := self._read_next(text, position):
            calls.append(following[0])
            position = following[1]
        return calls, self._read_end(text, position)

    def _read_next(self, text: str, position: int) -> tuple[ParsedCall, int] | None:
        match = self._between.match(text, position) if self._between else None
        if not match:
            return None
        try:
            return self._read_call(text, match.end())
        except ValueReadError as error:
            if self._closing.match(text, position):
                return None
            raise ValueReadError(error.position) from error

    def _read_end(self, text: str, position: int) -> int:
        if match := self._closing.match(text, position):
            return match.end()
        is_short = len(text) - position <= MAX_SPACE + len(self._closing_text)
        if is_short and self._closing_text.startswith(text[position:].strip()):
            return len(text)  # the completion ended before the end of the message
        raise ValueReadError(position)


def _call(name: str, arguments: dict[str, Any]) -> ParsedCall:
    text = json.dumps(arguments, ensure_ascii=False)
    # Half of a surrogate pair cannot be sent in UTF-8, but as an escape.
    return ParsedCall(name, json.dumps(arguments) if SURROGATE.search(text) else text)


class _ObjectReader:
    """Reader of calls that are JSON objects."""

    def __init__(self, call: ObjectCall, names: list[str]) -> None:
        self._call, self._names = call, names

    def read(self, text: str, position: int) -> tuple[ParsedCall, int]:
        """Return the call at a position, and the position after it."""
        value, end = read_object(text, position)
        name, arguments = value.get(self._call.name_key), value.get(self._call.arguments_key)
        if isinstance(arguments, str):
            arguments = _parse_text(arguments)
        if not isinstance(name, str) or name not in self._names or not isinstance(arguments, dict):
            raise ValueReadError(end)
        return _call(name, arguments), end


def _parse_text(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return None


class _NamedReader:
    """Reader of calls that are a name and a JSON object."""

    def __init__(self, call: NamedCall, names: list[str]) -> None:
        self._starts = [
            (name, re.compile(flexible_pattern(name + call.before_arguments.replace(NAME, name))))
            for name in names
        ]

    def read(self, text: str, position: int) -> tuple[ParsedCall, int]:
        """Return the call at a position, and the position after it."""
        for name, start in self._starts:
            if match := start.match(text, position):
                arguments, end = read_object(text, match.end())
                return _call(name, arguments), end
        raise ValueReadError(position)


class _KeyedReader:
    """Reader of calls that are a name and each argument by itself."""

    def __init__(
        self, form: ToolFormat, call: KeyedCall, names: list[str], schemas: dict[str, Any]
    ) -> None:
        self._call, self._schemas = call, schemas
        self._names = [(name, *self._starts(call, name)) for name in names]
        self._assign = _boundary(call.assign)
        following = form.closing
        if form.between is not None:
            following = common_prefix(form.closing, form.between)
        key = f"(?P<key>{WORD.pattern})"
        after_next = f"{_boundary(call.next)}{key}{_boundary(call.assign)}"
        after_last = f"{_boundary(call.last)}(?={flexible_pattern(following)})"
        self._after = re.compile(f"(?P<next>{after_next})|(?P<last>{after_last})")
        self._after_quoted = re.compile(f"{re.escape(call.quote)}(?={self._after.pattern})")
        self._literals = LiteralReader(call.quote)

    def _starts(self, call: KeyedCall, name: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
        first, empty = (text.replace(NAME, name) for text in (call.first, call.empty))
        key = f"(?P<key>{WORD.pattern}){_boundary(call.assign)}"
        return re.compile(flexible_pattern(name + first) + key), re.compile(
            flexible_pattern(name + empty)
        )

    def read(self, text: str, position: int) -> tuple[ParsedCall, int]:
        """Return the call at a position, and the position after it."""
        for name, first, empty in self._names:
            if match := first.match(text, position):
                arguments, end = self._read_arguments(text, match, self._schemas[name])
                return _call(name, arguments), end
            if match := empty.match(text, position):
                return _call(name, {}), match.end()
        raise ValueReadError(position)

    def _read_arguments(
        self, text: str, match: re.Match[str], schema: Any
    ) -> tuple[dict[str, Any], int]:
        properties = schema.get("properties") if isinstance(schema, dict) else None
        properties = properties if isinstance(properties, dict) else {}
        arguments = {}
        while True:
            key = match["key"]
            value, end = self._read_value(text, match.end(), properties.get(key))
            arguments[key] = value
            following = self._after.match(text, end)
            if not following:
                raise ValueReadError(end)
            match = following
            if match["key"] is None:
                return arguments, match.end()

    def _read_value(self, text: str, position: int, schema: Any) -> tuple[Any, int]:
        if self._call.values == "text":
            end = self._search(self._after, text, position).start()
            return typed_value(text[position:end], schema), end
        if self._call.values == "quoted" and text.startswith(self._call.quote, position):
            start = position + len(self._call.quote)
            match = self._search(self._after_quoted, text, start)
            return text[start : match.start()], match.end()
        return self._literals.read(text, position)

    def _search(self, regex: re.Pattern[str], text: str, position: int) -> re.Match[str]:
        match = regex.search(text, position)
        if not match:
            raise ValueReadError(len(text))
        return match


def _boundary(text: str) -> str:
    """Return a regular expression for a text, with optional white space at its ends."""
    inner = text.strip()
    before, _, after = text.partition(inner) if inner else (text, "", "")
    spaces = [f"(?:{re.escape(space)})?" if space else "" for space in (before, after)]
    return spaces[0] + flexible_pattern(inner) + spaces[1]
