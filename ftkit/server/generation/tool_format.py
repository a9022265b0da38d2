"""Format of a chat template's tool calls, detected by rendering short conversations.

A message with calls is `opening`, the calls with `between` between them, and `closing`:

    opening     <tool_call>
    call        {"name": "get_weather", "arguments": {"city": "Paris"}}
    between     </tool_call> <tool_call>
    closing     </tool_call>
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from ftkit._text import common_prefix
from ftkit.errors import EncodingError
from ftkit.server.training.messages import Message

if TYPE_CHECKING:
    from ftkit.server.training.template import ChatTemplate

NAME, OTHER_NAME = "ftkit_tool", "ftkit_other"
KEY, OTHER_KEY = "ftkit_argument", "ftkit_further"
TEXT, NUMBER, OTHER_NUMBER = "ftkit-text", 71263, 71264
"""Texts and values of the conversations, which are searched for in the renderings."""

CALL_IDS = ("ftkit00Id", "ftkit01Id")
"""Ids of the calls, of the length that Mistral's templates require."""

Values = Literal["text", "quoted", "literal"]
Calls = list[tuple[str, dict[str, Any]]]


class ObjectCall(Struct, frozen=True):
    """A call is a JSON object with the name and the arguments.

    Attributes:
        name_key: Key of the name.
        arguments_key: Key of the arguments.
        before_name: Start of the object, up to the name.
        before_arguments: Text between the name and the arguments.
        after_arguments: End of the object; it may have the id of the call.
    """

    name_key: str
    arguments_key: str
    before_name: str
    before_arguments: str
    after_arguments: str


class NamedCall(Struct, frozen=True):
    """A call is a name, `before_arguments`, and the arguments as a JSON object."""

    before_arguments: str


class KeyedCall(Struct, frozen=True):
    """A call is a name and each argument by itself.

    Attributes:
        empty: Text that follows the name if there are no arguments.
        first: Text between the name and the key of the first argument.
        assign: Text between a key and its value.
        next: Text between a value and the next key.
        last: Text after the last value.
        sorts_keys: The keys are in alphabetical order.
        quote: Text before and after a value that is a string.
        values: "text": strings are written as they are, and other values as JSON; "quoted": strings
            are within quotes, without escapes; "literal": values are written as in JavaScript or
            Python.
    """

    empty: str
    first: str
    assign: str
    next: str
    last: str
    sorts_keys: bool
    quote: str
    values: Values


class ToolFormat(Struct, frozen=True):
    """Format of a message with tool calls.

    A text between the name of a call and its arguments may have the name again: `NAME` stands for
    it.

    Attributes:
        opening: Text before the first call, as it follows the prompt.
        marker: End of the opening, which is the same after other text.
        between: Text between two calls, or None if a message has one call only.
        closing: Text after the last call.
        call: Format of a call.
    """

    opening: str
    marker: str
    between: str | None
    closing: str
    call: ObjectCall | NamedCall | KeyedCall


class CallRenderer:
    """Renders messages with tool calls.

    Args:
        template: Chat template of the base model.
    """

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template

    def render(self, calls: Calls, content: str = "") -> str:
        """Return the completion that consists of these calls, without its end of turn.

        Raises:
            EncodingError: The template refuses the calls.
        """
        message: Message = {"role": "assistant", "content": content}
        message["tool_calls"] = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id, (name, arguments) in zip(CALL_IDS, calls, strict=False)
        ]
        question: Message = {"role": "user", "content": "ftkit-question"}
        turn = self._template.turn([question, message], probe_tools(calls))
        return turn.completion.removesuffix(self._template.call_end_token)


def probe_tools(calls: Calls) -> list[dict[str, Any]]:
    """Return tools whose parameters have the types of the arguments."""
    return [_probe_tool(name, arguments) for name, arguments in calls]


def _probe_tool(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    properties = {
        key: {"type": _type_of(value), "description": "An argument."}
        for key, value in arguments.items()
    }
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    function = {"name": name, "description": "A tool.", "parameters": parameters}
    return {"type": "function", "function": function}


def _type_of(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}
    return names.get(type(value), "object")


def candidate_formats(template: ChatTemplate) -> Iterator[ToolFormat]:
    """Yield the formats that a template may have. Parsing rendered calls shows which one it has."""
    if not template.features.tools:
        return
    prober = _Prober(CallRenderer(template))
    for probe in (prober.object_format, prober.named_format, prober.keyed_formats):
        try:
            yield from probe()
        except (EncodingError, ValueError):  # a text is not where this format has it
            continue


class _Prober:
    """Detector of formats. Methods raise `ValueError` if the calls have another format."""

    def __init__(self, renderer: CallRenderer) -> None:
        self._renderer = renderer
        self._one = renderer.render([(NAME, {KEY: NUMBER})])

    def object_format(self) -> Iterator[ToolFormat]:
        """Yield the format if a call is a JSON object."""
        arguments = {KEY: NUMBER}
        at, end, value = _find_object(
            self._one, lambda value: NAME in value.values() and arguments in value.values()
        )
        name_key, arguments_key = (_key_of(value, part) for part in (NAME, arguments))
        text = self._one[at:end]
        name_at = text.index(NAME, text.index(f'"{name_key}"') + len(name_key) + 2)
        start, stop, _ = _find_object(text[name_at:], lambda value: value == arguments)
        call = ObjectCall(
            name_key,
            arguments_key,
            before_name=text[:name_at],
            before_arguments=text[name_at + len(NAME) : name_at + start],
            after_arguments=text[name_at + stop :],
        )
        opening, closing = self._one[:at], self._one[end:]
        other = text.replace(NAME, OTHER_NAME).replace(str(NUMBER), str(OTHER_NUMBER))
        other = other.replace(CALL_IDS[0], CALL_IDS[1])
        yield self._format(opening, closing, call, (text, other))

    def named_format(self) -> Iterator[ToolFormat]:
        """Yield the format if a call is a name and a JSON object."""
        at = self._one.index(NAME)
        start, stop, _ = _find_object(self._one[at:], lambda value: value == {KEY: NUMBER})
        text = self._one[at : at + stop]
        other = text.replace(NAME, OTHER_NAME).replace(str(NUMBER), str(OTHER_NUMBER))
        call = NamedCall(text[len(NAME) : start])
        yield self._format(self._one[:at], self._one[at + stop :], call, (text, other))

    def keyed_formats(self) -> Iterator[ToolFormat]:
        """Yield formats with arguments by themselves, one for each way to write values."""
        keys = sorted((KEY, OTHER_KEY))  # some templates sort them
        two = self._renderer.render([(NAME, dict(zip(keys, (NUMBER, OTHER_NUMBER), strict=True)))])
        opening, rest = _split(two, NAME)
        first, rest = _split(rest, keys[0])
        assign, rest = _split(rest, str(NUMBER))
        next, rest = _split(rest, keys[1])
        assigned, end = _split(rest, str(OTHER_NUMBER))
        _check(assign == assigned and bool(assign))
        _, none = _split(self._renderer.render([(NAME, {})]), NAME)
        closing = _common_suffix(none, end)
        empty, last = none[: len(none) - len(closing)], end[: len(end) - len(closing)]
        text = f"{NAME}{first}{KEY}{assign}{NUMBER}{last}"
        other = text.replace(NAME, OTHER_NAME).replace(str(NUMBER), str(OTHER_NUMBER))
        reverse = self._renderer.render([(NAME, dict.fromkeys(reversed(keys), NUMBER))])
        sorts_keys = reverse.index(keys[0]) < reverse.index(keys[1])
        quote = self._quote(assign, last + closing)
        forms: tuple[Values, ...] = ("literal", "quoted") if quote else ("text",)
        for values in forms:
            call = KeyedCall(empty, first, assign, next, last, sorts_keys, quote, values)
            yield self._format(opening, closing, call, (text, other))

    def _quote(self, assign: str, end: str) -> str:
        """Return the text before and after a string."""
        text = self._renderer.render([(NAME, {KEY: TEXT})])
        _, text = _split(text, KEY + assign)
        quote, rest = _split(text, TEXT)
        _check(rest == quote + end)
        return quote

    def _format(
        self,
        opening: str,
        closing: str,
        call: ObjectCall | NamedCall | KeyedCall,
        texts: tuple[str, str],
    ) -> ToolFormat:
        """Return the format, with what is between two calls that are written as `texts`."""
        marker = self._marker(opening)
        _check(bool(marker.strip()) or isinstance(call, ObjectCall))
        _check_fixed(opening + closing)
        if not isinstance(call, ObjectCall):  # ids are written in objects only
            _check(CALL_IDS[0] not in texts[0])
        start, end = opening + texts[0], texts[1] + closing
        try:
            two = self._renderer.render([(NAME, {KEY: NUMBER}), (OTHER_NAME, {KEY: OTHER_NUMBER})])
        except EncodingError:  # the template writes one call only
            return ToolFormat(opening, marker, None, closing, call)
        between = two[len(start) : len(two) - len(end)]
        _check(two == start + between + end)
        _check_fixed(between)
        return ToolFormat(opening, marker, between, closing, call)

    def _marker(self, opening: str) -> str:
        """Return the end of the opening that is the same after other text."""
        try:
            text = self._renderer.render([(NAME, {KEY: NUMBER})], content=TEXT)
        except EncodingError:  # the template writes no text with calls
            text = ""
        before, separator, after = text.partition(TEXT)
        if not separator or NAME in before:
            return opening.lstrip()
        after = after[: len(after) - len(self._one) + len(opening)]
        return _common_suffix(opening, after).lstrip()


def _find_object(text: str, is_wanted: Any) -> tuple[int, int, dict[str, Any]]:
    """Return start, end and value of the first JSON object that meets a condition."""
    decode = json.JSONDecoder().raw_decode
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decode(text, at)
        except ValueError:
            value, end = None, at
        if isinstance(value, dict) and is_wanted(value):
            return at, end, value
        at = text.find("{", at + 1)
    raise ValueError("no such object")


def _key_of(value: dict[str, Any], part: Any) -> str:
    return next(key for key in value if value[key] == part)


def _split(text: str, separator: str) -> tuple[str, str]:
    before, part, after = text.partition(separator)
    _check(bool(part))
    return before, after


def _check(is_right: bool) -> None:
    if not is_right:
        raise ValueError("the calls are written in another form")


def _check_fixed(text: str) -> None:
    """Raise `ValueError` if a text between calls depends on them."""
    _check(not any(part in text for part in (NAME, OTHER_NAME, *CALL_IDS)))


def _common_suffix(a: str, b: str) -> str:
    return common_prefix(a[::-1], b[::-1])[::-1]
