"""An example on its way into another format, and what that format has no place for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ftkit.prepare.example import Example, Extra, ExtraKind, Message
from ftkit.prepare.paths import child
from ftkit.prepare.row_formats.shared.draft import text_part
from ftkit.prepare.row_formats.shared.json_text import parse_object
from ftkit.prepare.row_formats.shared.row_value import RowValue

SYSTEM = ("system", "developer")
"""Roles of messages that instruct the model."""

Indexed = list[tuple[int, RowValue]]
"""Messages with their indexes."""


def conversation(example: Example) -> tuple[list[Message], list[Extra]]:
    """Return the messages of an example as one conversation to train on, and what it lacks."""
    lost = grader_fields(example)
    if example.rejected is not None:
        lost.append(Extra(example.rejected_place, "rejected answer", example.rejected))
    return [*example.messages, *(example.chosen or [])], lost


def grader_fields(example: Example) -> list[Extra]:
    """Return the extras for the fields for a grader, for a format without them."""
    return [
        Extra(child("", name), ExtraKind.GRADER_FIELD, value)
        for name, value in example.fields.items()
    ]


class Outgoing:
    """An example that is written, as a conversation, and its extras.

    Attributes:
        example: The example.
    """

    def __init__(self, example: Example) -> None:
        self.example = example
        messages, self._extras = conversation(example)
        self._messages = RowValue(messages, "/messages")
        self._by_message: dict[tuple[ExtraKind | str, int], list[Extra]] = {}
        for extra in example.extras:
            self._by_message.setdefault((extra.kind, extra.message), []).append(extra)

    def take(self, kind: ExtraKind, message: int) -> list[Any]:
        """Remove the extras of a kind that the format has a place for, and return their values."""
        return [extra.value for extra in self._by_message.pop((kind, message), [])]

    def finish(self, row: dict[str, Any]) -> tuple[dict[str, Any], list[Extra]]:
        """Return the row and the extras that it lacks."""
        remaining = [extra for group in self._by_message.values() for extra in group]
        return row, remaining + self._extras

    def lose(
        self, value: RowValue, kind: ExtraKind | str, message: int = -1, is_loss: bool = True
    ) -> None:
        """Record a value of the example that the format has no place for."""
        example = self.example
        is_own = example.places is None and message < len(example.messages)
        pointer = value.pointer if message < 0 or is_own else example.place(message)
        self._extras.append(Extra(pointer, kind, value.value, message, is_loss=is_loss))

    def note(self, value: RowValue, kind: ExtraKind | str, message: int = -1) -> None:
        """Record a value that the row does not have, or has otherwise, without a loss."""
        self.lose(value, kind, message, is_loss=False)

    def lose_parallel_tool_calls(self) -> None:
        """Record the flag, whose default is true."""
        flag = self.example.parallel_tool_calls
        if flag is not None:
            value = RowValue(flag, "/parallel_tool_calls")
            self.lose(value, "parallel_tool_calls", is_loss=not flag)

    def messages(self) -> Indexed:
        """Return the messages with their indexes.

        Raises:
            RowError: One uses the deprecated `function_call`.
        """
        messages = list(enumerate(self._messages.elements()))
        for _, message in messages:
            if role_of(message) == "function" or message.get("function_call"):
                message.fail("the deprecated `function_call` has no place in the format")
        return messages

    def split_system(self) -> tuple[Indexed, Indexed]:
        """Return the system messages at the beginning, and the others; later ones are lost.

        For formats with one system prompt beside the messages.
        """
        system: Indexed = []
        others: Indexed = []
        for index, message in self.messages():
            if role_of(message) not in SYSTEM:
                others.append((index, message))
            elif others:
                self.lose(message, "system message after the beginning", index)
            else:
                system.append((index, message))
                self.lose_keys(index, message)
        for index, message in system if len(system) > 1 else ():
            self.note(message, "system messages joined", index)
        return system, others

    def parts(self, index: int, message: RowValue) -> list[RowValue]:
        """Return the content of a message as parts, without an empty text beside tool calls."""
        content = message.get("content")
        if content is not None and content.value == "" and calls_of(message):
            self.note(content, "empty text beside tool calls", index)
            return []
        return parts_of(message)

    def image_url(self, index: int, part: RowValue) -> RowValue | None:
        """Return the URL of an image, whose other keys are lost, or None for a part that is text.

        Raises:
            RowError: The part is neither.
        """
        kind = part.need("type").text()
        if kind == "text":
            return None
        if kind != "image_url":
            part.fail("content part that is no text and no image", kind)
        image = part.need("image_url")
        url = image.need("url")
        for other in image.others({"url"}):
            self.lose(other, "detail of an image", index)
        url.text()
        return url

    def lose_keys(self, index: int, message: RowValue, own_keys: Collection[str] = ()) -> None:
        """Record the keys of a message that the format has no place for.

        Args:
            index: Index of the message.
            message: The message.
            own_keys: Keys beside role, content, `tool_calls` and `tool_call_id` that it has. With
                "developer", it has that role, too.
        """
        own = {"role", "content", "tool_calls", "tool_call_id", *own_keys}
        for other in message.others(own):
            key = other.pointer.rpartition("/")[2]
            is_default = key == "weight" and other.value == 1
            self.lose(other, f"`{key}` of a message", index, is_loss=not is_default)
        if role_of(message) == "developer" and "developer" not in own_keys:
            self.note(message.child("role"), "developer message as system message", index)

    def tools(self) -> list[RowValue]:
        """Return the definitions of the tools."""
        return list(RowValue(self.example.tools or [], "/tools").elements())


def arguments_of(call: RowValue) -> dict[str, Any]:
    """Return the arguments of a tool call as an object.

    Raises:
        RowError: They are not the text of an object, or the object would be another.
    """
    text = call.need("function").need("arguments")
    arguments = parse_object(text.text())
    if arguments is None:
        text.fail("arguments that an object cannot hold exactly")
    return arguments


def name_of(call: RowValue) -> str:
    """Return the name of the function of a tool call or of a tool."""
    return call.need("function").need("name").text()


def role_of(message: RowValue) -> str:
    """Return the role of a message."""
    return message.need("role").text()


def parts_of(message: RowValue) -> list[RowValue]:
    """Return the content of a message as parts."""
    content = message.get("content")
    if content is None:
        return []
    if isinstance(content.value, str):
        return [RowValue(text_part(content.value), content.pointer)]
    return list(content.elements())


def calls_of(message: RowValue) -> list[RowValue]:
    """Return the tool calls of a message."""
    calls = message.get("tool_calls")
    return [] if calls is None else list(calls.elements())
