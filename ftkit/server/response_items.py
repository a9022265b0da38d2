"""Input items of `/v1/responses`, and their translation to messages of a chat."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from ftkit.server.bodies import read_value
from ftkit.server.completion_bodies import MESSAGE_PARTS
from ftkit.server.errors import EXCERPT, InvalidRequestError


class _Text(Struct):
    text: str

    def as_part(self) -> dict[str, Any]:
        """Return the part of a chat message."""
        return {"type": "text", "text": self.text}


class InputText(_Text, tag_field="type", tag="input_text"):
    """Text of a message to the model, or of a tool's output."""


class OutputText(_Text, tag_field="type", tag="output_text"):
    """Text of an answer."""


class Refusal(Struct, tag_field="type", tag="refusal"):
    """Refusal in an answer."""

    refusal: str

    def as_part(self) -> dict[str, Any]:
        """Return the part of a chat message."""
        return {"type": "refusal", "refusal": self.refusal}


class InputImage(Struct, tag_field="type", tag="input_image"):
    """Image, as a data: URL."""

    image_url: str
    file_id: None = None

    def as_part(self) -> dict[str, Any]:
        """Return the part of a chat message."""
        return {"type": "image_url", "image_url": {"url": self.image_url}}


Part = InputText | OutputText | Refusal | InputImage
Content = str | Annotated[list[Part], Meta(max_length=MESSAGE_PARTS)]


class MessageItem(Struct):
    """Message, also one of an earlier response."""

    role: Literal["user", "assistant", "system", "developer"]
    content: Content


class CallItem(Struct):
    """Function call of an earlier response."""

    call_id: str
    name: str
    arguments: str


class CallOutputItem(Struct):
    """Result of a function call."""

    call_id: str
    output: Content


ITEMS: dict[str, type[MessageItem | CallItem | CallOutputItem]] = {
    "message": MessageItem,
    "function_call": CallItem,
    "function_call_output": CallOutputItem,
}
"""Supported items by their type."""


class ItemType(Struct):
    """Type of an item."""

    type: str = "message"


def read_messages(items: list[Raw]) -> list[dict[str, Any]]:
    """Return the messages of a chat for input items.

    Raises:
        InvalidRequestError: An item is invalid, or its type is not supported.
    """
    messages: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        _add_message(messages, _read_item(item, f"input[{index}]"))
    return messages


def _read_item(item: Raw, path: str) -> MessageItem | CallItem | CallOutputItem:
    kind = read_value(item, ItemType, path).type
    if kind not in ITEMS:
        message = (
            f"Unsupported value for '{path}.type': '{kind[:EXCERPT]}'."
            f" This service has the items {', '.join(ITEMS)}, each sent whole."
        )
        raise InvalidRequestError(message, f"{path}.type", "unsupported_value")
    return read_value(item, ITEMS[kind], path)


def _add_message(
    messages: list[dict[str, Any]], item: MessageItem | CallItem | CallOutputItem
) -> None:
    """Add an item to the messages. The calls of an answer are part of its message."""
    if isinstance(item, MessageItem):
        messages.append({"role": item.role, "content": _content(item.content)})
    elif isinstance(item, CallOutputItem):
        content = _content(item.output)
        messages.append({"role": "tool", "tool_call_id": item.call_id, "content": content})
    else:
        if not messages or messages[-1]["role"] != "assistant":
            messages.append({"role": "assistant", "content": None})
        function = {"name": item.name, "arguments": item.arguments}
        call = {"id": item.call_id, "type": "function", "function": function}
        messages[-1].setdefault("tool_calls", []).append(call)


def _content(content: Content) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [part.as_part() for part in content]
