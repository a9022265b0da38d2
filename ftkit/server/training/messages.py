"""Messages and tools of the API in the form that chat templates expect."""

from __future__ import annotations

import json
from typing import Any

from ftkit.errors import EncodingError

TEMPLATE_ROLES = {"developer": "system", "function": "tool"}
"""Roles of the API that chat templates know by another name."""

Message = dict[str, Any]


def template_tools(example: dict[str, Any]) -> list[Any] | None:
    """Return the tools of an example, and its functions as tools, or None if it has neither."""
    functions = [
        {"type": "function", "function": function} for function in example.get("functions") or []
    ]
    return [*(example.get("tools") or []), *functions] or None


def template_messages(messages: list[Message]) -> list[Message]:
    """Convert messages of the API to those that chat templates expect.

    Content parts are joined to one text unless there are images among them. Arguments of calls are
    parsed, and the roles "developer" and "function" become "system" and "tool". Tool results carry
    the name of the function.

    Raises:
        EncodingError: A message that is not one of the user has an image.
    """
    names: dict[str, str] = {}
    converted = []
    for message in messages:
        calls = _calls(message)
        names |= {call["id"]: call["function"]["name"] for call in calls if "id" in call}
        content = _content(message) or message.get("refusal") or ""
        converted.append(convert_message(message, content, calls, names))
    return converted


def convert_message(
    message: Message, content: str | list[Message], calls: list[Message], names: dict[str, str]
) -> Message:
    """Return a message with the fields that chat templates know.

    Args:
        message: Message of the API.
        content: Its content.
        calls: Its tool calls.
        names: Names of the functions that were called, by the ids of the calls.
    """
    role = TEMPLATE_ROLES.get(message["role"], message["role"])
    converted: Message = {"role": role, "content": content}
    if calls:
        converted["tool_calls"] = calls
    id = message.get("tool_call_id")
    if id is not None:
        converted["tool_call_id"] = id
    name = message.get("name") or names.get(id or "")
    if name:
        converted["name"] = name
    return converted


def _calls(message: Message) -> list[Message]:
    calls = [
        {"id": call["id"], "type": "function", "function": _parse_arguments(call["function"])}
        if "id" in call
        else {"type": "function", "function": _parse_arguments(call["function"])}
        for call in message.get("tool_calls") or []
    ]
    if message.get("function_call"):
        calls.append({"type": "function", "function": _parse_arguments(message["function_call"])})
    return calls


def _content(message: Message) -> str | list[Message]:
    """Return the content as text, or as parts if it has images."""
    content = message.get("content")
    if not isinstance(content, list):
        return content or ""
    parts = [_part(part) for part in content]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    if message["role"] != "user":
        raise EncodingError("images are supported in user messages only; move it to one")
    return parts


def _part(part: Message) -> Message:
    if "image_url" in part:
        return {"type": "image"}
    return text_part(part.get("text") or part.get("refusal") or "")


def text_part(text: str) -> Message:
    """Return a text as a content part."""
    return {"type": "text", "text": text}


def _parse_arguments(function: dict[str, Any]) -> dict[str, Any]:
    try:
        arguments = json.loads(function["arguments"])
    except (ValueError, RecursionError):
        arguments = function["arguments"]
    return {"name": function["name"], "arguments": arguments}
