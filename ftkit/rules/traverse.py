"""Iterators over the images, tool calls and tool definitions of a conversation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ftkit.dataset.exact_numbers import dumps, exact_numbers
from ftkit.dataset.formats import Conversation
from ftkit.dataset.lenient_json import walk
from ftkit.dataset.types import Answer, FunctionDefinition, ImagePart, ToolCall
from ftkit.rules.nodes import Messages


def has_images(conversation: Conversation) -> bool:
    """Return True if a message of the conversation has an image."""
    return any(
        isinstance(part, ImagePart)
        for message in conversation.messages
        if isinstance(message.content, list)
        for part in message.content
    )


def iter_images(conversation: Conversation) -> Iterator[tuple[str, str]]:
    """Yield the path and the URL of each image."""
    for index, message in enumerate(conversation.messages):
        if isinstance(message.content, list):
            for at, part in enumerate(message.content):
                if isinstance(part, ImagePart):
                    path = f"{conversation.path}[{index}].content[{at}].image_url.url"
                    yield path, part.image_url.url


def iter_tool_calls(conversation: Conversation) -> Iterator[tuple[str, ToolCall]]:
    """Yield the path and the value of each tool call."""
    for index, message in enumerate(conversation.messages):
        if isinstance(message, Answer):
            for at, call in enumerate(message.tool_calls or ()):
                yield f"{conversation.path}[{index}].tool_calls[{at}]", call


def iter_function_calls(conversation: Conversation) -> Iterator[tuple[str, str, str]]:
    """Yield path, name and arguments of each call of a tool or a function."""
    for path, call in iter_tool_calls(conversation):
        yield f"{path}.function", call.function.name, call.function.arguments
    for index, message in enumerate(conversation.messages):
        if isinstance(message, Answer) and message.function_call:
            path = f"{conversation.path}[{index}].function_call"
            yield path, message.function_call.name, message.function_call.arguments


def iter_definitions(conversation: Conversation) -> Iterator[tuple[str, FunctionDefinition]]:
    """Yield the path and the value of each function that the example declares."""
    parent = conversation.path.rpartition(".")[0]
    for index, tool in enumerate(conversation.tools or ()):
        yield f"{parent}.tools[{index}].function", tool.function
    for index, function in enumerate(conversation.functions or ()):
        yield f"{parent}.functions[{index}]", function


def iter_called(messages: Messages) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path and the object of each call of a tool or a function, in JSON."""
    for index, message in enumerate(messages.messages):
        path = f"{messages.path}[{index}]"
        for at, call in enumerate(message.get("tool_calls") or ()):
            yield f"{path}.tool_calls[{at}].function", call["function"]
        if message.get("function_call"):
            yield f"{path}.function_call", message["function_call"]


def iter_declared(messages: Messages) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path and the object of each function that the example declares, in JSON."""
    parent = messages.path.rpartition(".")[0]
    for index, tool in enumerate(messages.holder.get("tools") or ()):
        yield f"{parent}.tools[{index}].function", tool["function"]
    for index, function in enumerate(messages.holder.get("functions") or ()):
        yield f"{parent}.functions[{index}]", function


def without_nulls(value: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a JSON object without the keys whose value is null, at any depth."""
    text = dumps(value)
    copy: dict[str, Any] = exact_numbers(text.encode(), json.loads(text))
    for _, _, inner in walk([copy]):
        if isinstance(inner, dict):
            for key in [key for key, item in inner.items() if item is None]:
                del inner[key]
    return copy
