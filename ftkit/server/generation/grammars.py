"""Grammars of answers and tool calls, in llguidance's Lark syntax.

See https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import reduce
from typing import Any

from ftkit._text import common_prefix
from ftkit.errors import EncodingError
from ftkit.server.generation.tool_format import (
    CALL_IDS,
    NAME,
    KeyedCall,
    NamedCall,
    ObjectCall,
    ToolFormat,
)
from ftkit.server.generation.tool_values import WORD, schema_types

MAX_CHARACTERS = 150_000
"""Maximum length of a grammar, most of which is schemas.

OpenAI allows 120,000 characters of names and constants in a schema.
"""

WHITESPACE = r"[ \n\r\t]{1,40}"
"""White space within JSON. A limit keeps a model from writing nothing else."""

CALL_OPTIONS = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""Spaces in the arguments of calls, as chat templates write them."""

OPTIONS_KEY = "x-guidance"
"""Key of a schema with llguidance's options."""

STRING_KEYWORDS = ("pattern", "format", "minLength", "maxLength")
"""Keywords that are not enforced in strings without quotes."""

ID = "/[a-zA-Z0-9]{9}/"
"""Id of a call, as Mistral's templates require."""

MAX_DEPTH = 16
"""Maximum depth of schemas for arguments that are not JSON."""


def json_rule(schema: Any, where: str, strict: bool, options: dict[str, Any] | None = None) -> str:
    """Return the rule of a JSON value that fits a schema.

    Args:
        schema: The schema.
        where: Part of the request with the schema, for messages.
        strict: Every keyword must be enforced.
        options: Options of llguidance.

    Raises:
        EncodingError: It is not a schema, or has options of llguidance.
    """
    if not isinstance(schema, dict):
        raise EncodingError(f"the schema of {where} must be an object")
    if OPTIONS_KEY in schema:
        raise EncodingError(f"the schema of {where} must not have the key {OPTIONS_KEY!r}")
    options = options or {"whitespace_pattern": WHITESPACE}
    options = {**options, "lenient": not strict, "coerce_one_of": not strict}
    try:
        return "%json " + json.dumps({**schema, OPTIONS_KEY: options})
    except RecursionError as error:
        raise EncodingError(f"the schema of {where} is nested too deeply") from error


class GrammarWriter:
    """Writes a grammar.

    Args:
        special: Ids of the special tokens by their text, which are not written as text.
    """

    def __init__(self, special: dict[str, int]) -> None:
        self._special = special
        longest_first = sorted(special, key=len, reverse=True)
        self._split = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._rules: list[str] = []
        self._size = 0

    def grammar(self, start: str) -> str:
        """Return the grammar with the rules so far, that starts with an expression.

        Raises:
            EncodingError: The grammar is too large.
        """
        self._add_size(start)
        return "\n".join([f"start: {start}", *self._rules])

    def rule(self, expression: str, attributes: str = "") -> str:
        """Add a rule, and return its name.

        Raises:
            EncodingError: The grammar is too large.
        """
        self._add_size(expression)
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name}{attributes}: {expression}")
        return name

    def _add_size(self, expression: str) -> None:
        self._size += len(expression)
        if self._size > MAX_CHARACTERS:
            raise EncodingError(
                f"the schemas are too large: at most {MAX_CHARACTERS:,} characters are supported"
            )

    def literal(self, text: str) -> str:
        """Return the expression for a text with special tokens."""
        parts, end = [], 0
        for match in self._split.finditer(text):
            parts += [_quoted(text[end : match.start()]), f"<[{self._special[match[0]]}]>"]
            end = match.end()
        return " ".join([*parts, _quoted(text[end:])])

    def message(self, form: ToolFormat, functions: list[Any], parallel: bool) -> str:
        """Return the expression for a message that calls functions.

        Raises:
            EncodingError: The parameters of a function cannot be enforced.
        """
        call = self.rule(" | ".join(self._call(form, function) for function in functions))
        more = ""
        if parallel and form.between is not None:
            more = f"({self.literal(form.between)} {call})*"
        return f"{self.literal(form.opening)} {call} {more} {self.literal(form.closing)}"

    def _call(self, form: ToolFormat, function: dict[str, Any]) -> str:
        name, call = function["name"], form.call
        if isinstance(call, KeyedCall):
            return _KeyedWriter(self, form, call, function).call()
        arguments = self.rule(
            json_rule(_parameters(function), f"function {name}", _is_strict(function), CALL_OPTIONS)
        )
        if isinstance(call, NamedCall):
            return f"{self.literal(name + call.before_arguments.replace(NAME, name))} {arguments}"
        return f"{self.literal(call.before_name + name + call.before_arguments)} {arguments}" + (
            f" {self._with_id(call)}"
        )

    def _with_id(self, call: ObjectCall) -> str:
        """Return the expression for the end of an object, which may have the id of the call."""
        parts = call.after_arguments.split(CALL_IDS[0])
        return f" {ID} ".join(map(self.literal, parts))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _is_strict(function: dict[str, Any]) -> bool:
    return bool(function.get("strict"))


def _parameters(function: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the arguments, without further ones unless it asks for them."""
    schema = function.get("parameters")
    schema = {} if schema is None else schema
    if not isinstance(schema, dict):
        raise EncodingError(f"the parameters of function {function['name']} must be an object")
    closed = {} if "additionalProperties" in schema else {"additionalProperties": False}
    return {"type": "object", "properties": {}, **schema, **closed}


class _KeyedWriter:
    """Writes the grammar of a call whose arguments are not one JSON object.

    Args:
        writer: Writer of the grammar.
        form: Format of the message.
        call: Format of the call.
        function: The function.
    """

    def __init__(
        self, writer: GrammarWriter, form: ToolFormat, call: KeyedCall, function: dict[str, Any]
    ) -> None:
        self._writer, self._call = writer, call
        self._name, self._strict = function["name"], _is_strict(function)
        schema = _parameters(function)
        self._definitions = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        self._schema = schema
        following = [call.next, call.last + form.closing]
        if form.between is not None:
            following.append(call.last + form.between)
        # What follows every value ends a text without quotes.
        self._suffix = reduce(common_prefix, following) if call.values == "text" else ""
        if not call.last.startswith(self._suffix):
            self._suffix = call.last

    def call(self) -> str:
        """Return the expression for the call."""
        call, name = self._call, self._name
        first, empty = (text.replace(NAME, name) for text in (call.first, call.empty))
        chain = self._chain(
            self._schema,
            (first, call.next.removeprefix(self._suffix), call.assign),
            (empty, call.last.removeprefix(self._suffix)),
            self._value,
        )
        return f"{self._writer.literal(name)} {chain}"

    def _chain(
        self,
        schema: dict[str, Any],
        keys: tuple[str, str, str],
        ends: tuple[str, str],
        value: Callable[[Any], str],
    ) -> str:
        """Return the rule of an object: its properties in order, of which some may be left out.

        Args:
            schema: Schema of the object.
            keys: Text before the first key, before another one, and after a key.
            ends: Text after no value, and after the last one.
            value: Returns the expression for the value of a schema.
        """
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise EncodingError(f"the parameters of function {self._name} are not a JSON Schema")
        required = {key: {} for key in required if isinstance(key, str)}
        properties = {**required, **properties}
        first, next, assign = map(self._writer.literal, keys)
        empty, rest = (self._writer.rule(self._writer.literal(end)) for end in ends)
        keys_in_order = sorted(properties) if self._call.sorts_keys else list(properties)
        for key in reversed(keys_in_order):
            expression = f"{self._key(key)} {assign} {value(properties[key])} {rest}"
            optional = key not in required
            at_first, at_next = f"{first} {expression}", f"{next} {expression}"
            empty = self._writer.rule(f"{at_first} | {empty}" if optional else at_first)
            rest = self._writer.rule(f"{at_next} | {rest}" if optional else at_next)
        return empty

    def _key(self, key: str) -> str:
        if not WORD.fullmatch(key):
            raise EncodingError(
                f"calls of function {self._name} cannot be forced on this base, since the name of"
                f" the parameter {key[:64]!r} has special characters"
            )
        return _quoted(key)

    def _value(self, schema: Any) -> str:
        if not isinstance(schema, dict):
            schema = {}
        if self._call.values != "text":
            return self._literal(schema, 0)
        types = schema_types(schema)
        if "string" in types:
            return self._text(schema)
        return f"{self._json(schema)} {self._writer.literal(self._suffix)}"

    def _text(self, schema: dict[str, Any]) -> str:
        """Return the expression for a string without quotes, and what follows it."""
        suffix = self._writer.literal(self._suffix)
        if texts := _constants(schema):
            choices = " | ".join(f"{_quoted(text)} {suffix}" for text in texts)
            return f"({choices})"
        self._check_keywords(schema)
        if not self._suffix or suffix != _quoted(self._suffix):
            raise EncodingError(f"calls of function {self._name} cannot be forced on this base")
        return self._writer.rule("/(?s:.*)/", f"[suffix={_quoted(self._suffix)}]")

    def _literal(self, schema: dict[str, Any], depth: int) -> str:
        """Return the expression for a value as in JavaScript or Python."""
        if depth > MAX_DEPTH:
            raise EncodingError(f"the parameters of function {self._name} are nested too deeply")
        quote = self._writer.literal(self._call.quote)
        if texts := _constants(schema):
            choices = " | ".join(f"{quote} {_quoted(text)} {quote}" for text in texts)
            return f"({choices})"
        types = schema_types(schema)
        if types == {"string"}:
            self._check_keywords(schema)
            return f"{quote} {self._quoted_text()} {quote}"
        if self._call.quote in ("'", '"') or not types & {"string", "object", "array"}:
            return self._json(schema)
        if types == {"array"}:
            item = self._writer.rule(self._literal(_items(schema), depth + 1))
            return f'"[" ({item} ("," {item})*)? "]"'
        if types == {"object"}:
            return self._chain(
                schema,
                ("{", ",", ":"),
                ("{}", "}"),
                lambda value: self._literal(value if isinstance(value, dict) else {}, depth + 1),
            )
        raise EncodingError(
            f"calls of function {self._name} cannot be forced on this base: each parameter needs"
            " one type"
        )

    def _quoted_text(self) -> str:
        if self._call.quote not in ("'", '"'):
            # The text of a special token is not one of its characters.
            is_special = self._writer.literal(self._call.quote) != _quoted(self._call.quote)
            return "/(?s:.*)/" if is_special else f"/[^{re.escape(self._call.quote[0])}]*/"
        if self._call.values == "quoted":
            return f"/[^{self._call.quote}]*/"
        return rf"/([^{self._call.quote}\\\n\r]|\\[\\{self._call.quote}nrt])*/"

    def _json(self, schema: dict[str, Any]) -> str:
        where = f"function {self._name}"
        return self._writer.rule(
            json_rule({**schema, **self._definitions}, where, self._strict, CALL_OPTIONS)
        )

    def _check_keywords(self, schema: dict[str, Any]) -> None:
        keyword = next((key for key in STRING_KEYWORDS if key in schema), None)
        if self._strict and keyword:
            raise EncodingError(
                f"{keyword} in the parameters of function {self._name} cannot be enforced on this"
                " base; remove it, or strict"
            )


def _items(schema: dict[str, Any]) -> dict[str, Any]:
    items = schema.get("items")
    return items if isinstance(items, dict) else {}


def _constants(schema: dict[str, Any]) -> list[str]:
    """Return the texts that a schema allows, or none if it allows others or other values."""
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    is_text = isinstance(values, list) and all(isinstance(value, str) for value in values)
    return values if is_text else []
