"""An example in the making: the messages, tool calls and extras that a reader collects."""

from __future__ import annotations

import builtins
from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from typing import Any

from msgspec.structs import replace

from ftkit.prepare.example import Example, Extra, ExtraKind, Message
from ftkit.prepare.row_formats.base import RowError
from ftkit.prepare.row_formats.shared.json_text import to_text
from ftkit.prepare.row_formats.shared.row_value import RowValue

Part = dict[str, Any]
"""Content part of a message in OpenAI's chat format."""


class OpenCalls:
    """The tool calls of a message that have no answer yet."""

    def __init__(self, calls: Sequence[dict[str, Any]] = ()) -> None:
        self._by_id: dict[str, dict[str, Any]] = {}
        self._by_name: defaultdict[str | None, deque[dict[str, Any]]] = defaultdict(deque)
        self._answered: set[int] = set()
        for call in calls:
            self.push(call)

    def push(self, call: dict[str, Any]) -> None:
        """Add a call."""
        self._by_id[call["id"]] = call
        self._by_name[None].append(call)
        self._by_name[call["function"]["name"]].append(call)

    def pop(self, id: str | None, name: str | None = None) -> dict[str, Any] | None:
        """Remove and return the call of an id, or else the first of a function, if there is one.

        Args:
            id: Id of the call, or None if it is not known.
            name: Name of the function, or None for any.
        """
        call = self._by_id.pop(id, None) if id is not None else self._first(name)
        if call is not None:
            self._answered.add(builtins.id(call))
        return call

    def _first(self, name: str | None) -> dict[str, Any] | None:
        queue = self._by_name[name]
        while queue:
            call = queue.popleft()
            if builtins.id(call) not in self._answered:
                return call
        return None


class Draft:
    """Collects the parts of an example. Tool calls without an id get one at the end.

    Attributes:
        messages: The messages so far.
        places: JSON pointers to them.
        tools: The tools so far.
        parallel_tool_calls: The flag of the example.
        fields: Fields for the grader.
        extras: Values that the example has no place for.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.tools: list[dict[str, Any]] = []
        self.parallel_tool_calls: bool | None = None
        self.fields: dict[str, Any] = {}
        self.places: list[str] = []
        self.extras: list[Extra] = []
        self._open = OpenCalls()
        self._made: list[tuple[dict[str, Any], str, int]] = []
        self._answers: list[tuple[Message, dict[str, Any]]] = []
        self._ids: set[str] = set()
        self._has_results = False

    def lose(self, value: RowValue, kind: ExtraKind | str, message: int = -1) -> None:
        """Record a value that the example has no place for."""
        self.extras.append(Extra(value.pointer, kind, value.value, message))

    def note(self, value: RowValue, kind: ExtraKind | str, message: int = -1) -> None:
        """Record a value that is not in the example, which is complete without it."""
        self.extras.append(Extra(value.pointer, kind, value.value, message, is_loss=False))

    def lose_others(
        self,
        value: RowValue,
        read_keys: Collection[str],
        notes: Collection[str] = (),
        message: int = -1,
    ) -> None:
        """Record the keys of an object that the reader does not know, and those that are notes."""
        for other in value.others(read_keys):
            key = other.pointer.rpartition("/")[2]
            if key in notes:
                self.note(other, ExtraKind.LOG_KEY, message)
            else:
                self.lose(other, ExtraKind.UNKNOWN_KEY, message)

    @property
    def next(self) -> int:
        """Index of the message that is added next."""
        return len(self.messages)

    def add(
        self,
        value: RowValue,
        role: str,
        parts: list[Part],
        calls: list[dict[str, Any]] | None = None,
    ) -> None:
        """Add a message. A single text becomes a string, and no content beside calls is left out.

        Args:
            value: The value in the row.
            role: Role of the message.
            parts: Content parts.
            calls: Tool calls.
        """
        message: Message = {"role": role}
        if parts or not calls:
            message["content"] = simple_content(parts)
        if calls:
            message["tool_calls"] = calls
            self._open = OpenCalls(calls)
        self.append(value, message)

    def append(self, value: RowValue, message: Message) -> None:
        """Add a message as it is."""
        self.messages.append(message)
        self.places.append(value.pointer)

    def call(
        self, value: RowValue, name: str, arguments: str | dict[str, Any], id: str | None = None
    ) -> dict[str, Any]:
        """Return a tool call for the message that is added next.

        Args:
            value: The value in the row.
            name: Name of the function.
            arguments: Arguments, as JSON or as the text of it.
            id: Id, or None if the row has none.
        """
        text = arguments if isinstance(arguments, str) else to_text(arguments, value.pointer)
        call = {"id": id, "type": "function", "function": {"name": name, "arguments": text}}
        if id is None:
            self._made.append((call, value.pointer, self.next))
        else:
            self._ids.add(id)
        return call

    def add_call(self, call: dict[str, Any]) -> None:
        """Add a tool call to the last message, which is the assistant's."""
        calls = self.messages[-1].setdefault("tool_calls", [])
        calls.append(call)
        self._open.push(call)

    def answer(
        self, value: RowValue, content: str, id: str | None = None, name: str | None = None
    ) -> None:
        """Add a tool message.

        Args:
            value: The value in the row.
            content: Result of the call.
            id: Id of the call, or None if it is the first open call of the function.
            name: Name of the function, or None if it is that of the first open call.
        """
        self._has_results = True
        message: Message = {"role": "tool", "tool_call_id": id, "content": content}
        call = self._open.pop(id, name)
        if id is None:
            if call is None:
                value.fail("result of a tool without its call")
            self._answers.append((message, call))
        self.append(value, message)

    def example(self) -> Example:
        """Return the example.

        Raises:
            RowError: It has no messages.
        """
        if not self.messages:
            raise RowError("no messages")
        if self._has_results:
            self._move_results()
        number = 0
        for call, pointer, message in self._made:
            number += 1
            while f"call_{number}" in self._ids:
                number += 1
            call["id"] = f"call_{number}"
            kind = "id made for a tool call"
            self.extras.append(Extra(pointer, kind, call["id"], message, is_loss=False))
        for answer, call in self._answers:
            answer["tool_call_id"] = call["id"]
        return Example(
            messages=self.messages,
            tools=self.tools or None,
            parallel_tool_calls=self.parallel_tool_calls,
            fields=self.fields,
            extras=[self._of_message(extra) for extra in self.extras],
            places=self.places,
        )

    def _move_results(self) -> None:
        """Put results behind their calls, in front of what the user says before them.

        Anthropic and others have both in one message, in any order.
        """
        order: list[int] = []
        waiting: list[int] = []  # messages of the user between calls and results
        moved: list[int] = []
        for index, message in enumerate(self.messages):
            if message["role"] == "user" and (waiting or _expects_results(self.messages, order)):
                waiting.append(index)
            elif message["role"] == "tool" and waiting:
                order.append(index)
                moved += waiting
            else:
                order += [*waiting, index]
                waiting = []
        order += waiting
        for index in dict.fromkeys(moved):
            kind = "message moved behind the results of tools"
            self.extras.append(Extra(self.places[index], kind, None, index, is_loss=False))
        if moved:
            self.messages = [self.messages[index] for index in order]
            self.places = [self.places[index] for index in order]
            new = {index: position for position, index in enumerate(order)}
            self.extras = [
                replace(extra, message=new.get(extra.message, extra.message))
                for extra in self.extras
            ]
            self._made = [(call, place, new.get(index, index)) for call, place, index in self._made]

    def _of_message(self, extra: Extra) -> Extra:
        """Return an extra, which is the example's if the message for it was not added."""
        return extra if extra.message < self.next else replace(extra, message=-1)


def _expects_results(messages: list[Message], order: list[int]) -> bool:
    """Return True if the last message in an order has tool calls, or a result of one."""
    last = messages[order[-1]] if order else {}
    return last.get("role") == "tool" or bool(last.get("tool_calls"))


def simple_content(parts: list[Part]) -> str | list[Part]:
    """Return content parts, or the text if there is nothing else."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts


def text_part(text: str) -> Part:
    """Return a text part."""
    return {"type": "text", "text": text}


def image_part(url: str) -> Part:
    """Return an image part."""
    return {"type": "image_url", "image_url": {"url": url}}


def function_tool(
    name: str, description: str | None, parameters: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the definition of a tool."""
    function: dict[str, Any] = {"name": name}
    if description is not None:
        function["description"] = description
    if parameters is not None:
        function["parameters"] = parameters
    return {"type": "function", "function": function}
