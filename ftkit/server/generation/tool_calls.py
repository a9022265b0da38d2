"""Parsing of tool calls in generated text, in the format of a base model's chat template."""

from __future__ import annotations

import json
import re
from functools import reduce
from itertools import product
from typing import Any

from ftkit._text import common_prefix
from ftkit.errors import EncodingError
from ftkit.server.generation.call_readers import (
    MAX_SPACE,
    MessageReader,
    ParsedCall,
    flexible_pattern,
)
from ftkit.server.generation.tool_format import (
    KEY,
    NAME,
    OTHER_KEY,
    OTHER_NAME,
    TEXT,
    CallRenderer,
    Calls,
    NamedCall,
    ObjectCall,
    ToolFormat,
    candidate_formats,
    probe_tools,
)
from ftkit.server.generation.tool_values import ValueReadError, skip_space
from ftkit.server.training.template import ChatTemplate

UNPARSABLE_CALLS = (
    "the base model's chat template does not write tool calls in a form that can be parsed; leave"
    " out tools, or set tool_choice to none"
)
"""Reason for refusing a request with tools."""

ROUND_TRIP: tuple[dict[str, Any], ...] = (
    {},
    {KEY: "Paris"},
    {KEY: 'two words\nand "quotes" or \\ é {x} [y], <z>', OTHER_KEY: 3},
    {KEY: -1.5, OTHER_KEY: True},
    {KEY: {"a": [1, "b", False, None]}},
    {KEY: ["a", 2], OTHER_KEY: "17"},
)
"""Arguments that a format must preserve."""


def detect_tool_format(template: ChatTemplate) -> ToolFormat | None:
    """Return the format of a template's tool calls, or None if they cannot be parsed."""
    return next((form for form in candidate_formats(template) if _is_parsed(form, template)), None)


def _is_parsed(form: ToolFormat, template: ChatTemplate) -> bool:
    """Return True if parsing the rendered calls returns the same calls."""
    renderer = CallRenderer(template)
    messages: list[Calls] = [[(NAME, arguments)] for arguments in ROUND_TRIP]
    if form.between is not None:
        pairs = product(ROUND_TRIP[:4], ROUND_TRIP[:2])
        messages += [[(NAME, first), (OTHER_NAME, second)] for first, second in pairs]
    return all(
        _is_preserved(form, calls, content, renderer)
        for calls in messages
        for content in ("", TEXT)
    )


def _is_preserved(form: ToolFormat, calls: Calls, content: str, renderer: CallRenderer) -> bool:
    try:
        text = renderer.render(calls, content)
    except EncodingError:
        return bool(content)  # some templates write no text with calls
    return _parse(form, calls, text) == calls


def _parse(form: ToolFormat, calls: Calls, text: str) -> Calls:
    parser = ToolCallParser(form, probe_tools(calls))
    parser.add(text, final=True)
    return [(call.name, json.loads(call.arguments)) for call in parser.calls]


class ToolCallParser:
    """Separates the tool calls of a message from its content.

    Text is passed on up to the start of a call: the opening and the name of one of the tools. The
    text from there on is held back, and parsed at the end. Invalid calls are content, and so are
    calls of functions that are not in the request, which OpenAI's models never call.

    White space around calls is not content.

    Args:
        form: Format of the calls.
        tools: Tools of the request, as in OpenAI's API.

    Attributes:
        calls: The calls, complete once the final text was added.
    """

    def __init__(self, form: ToolFormat, tools: list[Any]) -> None:
        functions = [tool["function"] for tool in tools]
        names = [function["name"] for function in functions]
        self._starts = _Starts([start_text(form, name) for name in names])
        self._reader = MessageReader(
            form, {function["name"]: function.get("parameters") for function in functions}
        )
        self._text = ""
        self._held: list[str] | None = None
        self.calls: list[ParsedCall] = []

    def add(self, text: str, final: bool = False) -> str:
        """Return the content that can be passed on.

        Args:
            text: Next text, with special tokens.
            final: Parse the text that was held back, and return its content.
        """
        content = ""
        if self._held is None:
            self._text += text
            content, self._text = self._split(self._text, final)
            text = ""
            match = self._starts.search(self._text)
            if match:
                self._held, text, self._text = [], self._text, ""
        if self._held is not None:
            self._held.append(text)
            if final:
                held, self._held = "".join(self._held), None
                content += self._parse(held)
        return content

    def _split(self, text: str, final: bool) -> tuple[str, str]:
        """Return the content, and the text that may become the start of a call."""
        match = self._starts.search(text)
        if match:
            end = match.start()
        elif final:
            return text, ""
        else:
            end = self._starts.partial_start(text)
        end = _before_space(text, end)
        return text[:end], text[end:]

    def _parse(self, text: str) -> str:
        """Add the calls of a text. Return its content."""
        contents, position = [], 0
        while match := self._starts.search(text, position):
            try:
                calls, end = self._reader.read(text, match.start())
            except ValueReadError as error:
                end = max(error.position, match.end())
                contents.append(text[position:end])
            else:
                contents.append(text[position : _before_space(text, match.start(), position)])
                self.calls += calls
                end = skip_space(text, end)
            position = end
        return "".join([*contents, text[position:]])


def start_text(form: ToolFormat, name: str) -> str:
    """Return the text with which a call of a function starts."""
    call = form.call
    if isinstance(call, ObjectCall):
        return f'{form.marker}{call.before_name}{name}"'
    if isinstance(call, NamedCall):
        following = call.before_arguments
    else:
        following = common_prefix(call.first, call.empty + form.closing)
    return form.marker + name + following.replace(NAME, name)


def _before_space(text: str, end: int, start: int = 0) -> int:
    """Return the position before at most `MAX_SPACE` white space characters."""
    first = max(start, end - MAX_SPACE)
    return first + len(text[first:end].rstrip())


class _Starts:
    """Texts with which a call may start."""

    def __init__(self, texts: list[str]) -> None:
        texts = [text.strip() for text in texts]
        self._parts = [text.split() for text in texts]
        self._first = reduce(common_prefix, (parts[0] for parts in self._parts))
        self._length = max(len(text) + MAX_SPACE * len(text.split()) for text in texts)
        self._regex = re.compile("|".join(map(flexible_pattern, texts)))

    def search(self, text: str, position: int = 0) -> re.Match[str] | None:
        """Return the first start of a call."""
        return self._regex.search(text, position)

    def partial_start(self, text: str) -> int:
        """Return the position where a call may start at the end of the text, or its length."""
        position = max(0, len(text) - self._length)
        while (position := text.find(self._first[0], position)) >= 0:
            if self._may_start(text, position):
                return position
            position += 1
        return len(text)

    def _may_start(self, text: str, position: int) -> bool:
        rest = text[position : position + len(self._first)]
        return self._first.startswith(rest) and any(
            _is_prefix(text, position, parts) for parts in self._parts
        )


def _is_prefix(text: str, position: int, parts: list[str]) -> bool:
    """Return True if the text from a position on is the beginning of these parts."""
    for part in parts:
        rest = text[position : position + len(part)]
        if rest != part:
            return position + len(rest) == len(text) and part.startswith(rest)
        end = position + len(part)
        space = text[end : end + MAX_SPACE]
        position = end + len(space) - len(space.lstrip())
    return False
