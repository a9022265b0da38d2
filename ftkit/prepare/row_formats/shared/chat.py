"""Messages in OpenAI's chat format as logs and other services write them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec.structs import replace

from ftkit.prepare.example import ExtraKind
from ftkit.prepare.row_formats.base import RowError
from ftkit.prepare.row_formats.shared.draft import Draft
from ftkit.prepare.row_formats.shared.json_text import to_text
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.prepare.row_formats.shared.values import read_messages, read_tools


def normalized_message(message: RowValue) -> dict[str, Any]:
    """Return a message with arguments of tool calls as text, and images as objects."""
    plain, calls, content = message.object(), message.get("tool_calls"), message.get("content")
    if calls is not None:
        plain = plain | {"tool_calls": [_plain_call(call) for call in calls.elements()]}
    if content is not None and isinstance(content.value, list):
        plain = plain | {"content": [_plain_part(part) for part in content.elements()]}
    return plain


def _plain_call(call: RowValue) -> dict[str, Any]:
    function = call.need("function")
    arguments = function.need("arguments")
    plain = dict(call.object())
    plain.setdefault("type", "function")
    if isinstance(arguments.value, dict):
        text = to_text(arguments.value, arguments.pointer)
        plain["function"] = function.object() | {"arguments": text}
    return plain


def _plain_part(part: RowValue) -> dict[str, Any]:
    url = part.get("image_url") if isinstance(part.value, dict) else None
    if url is not None and isinstance(url.value, str):
        return part.object() | {"image_url": {"url": url.value}}
    return part.object()


def add_chat_messages(draft: Draft, messages: RowValue, notes: Collection[str] = ()) -> None:
    """Add messages in OpenAI's chat format.

    Args:
        draft: The example.
        messages: The array of them.
        notes: Keys of messages that say nothing about the conversation. An empty array or object
            says nothing, whatever its key.
    """
    first = draft.next
    plain = []
    for index, message in enumerate(messages.elements(), first):
        value = normalized_message(message)
        empty = [key for key, item in value.items() if item in ([], {}) and key != "content"]
        present = [key for key in notes if value.get(key) is not None and key not in empty]
        for key in present:
            draft.note(message.child(key), ExtraKind.LOG_KEY, index)
        left_out = {*empty, *notes}
        plain.append({key: item for key, item in value.items() if key not in left_out})
    read, extras = read_messages(RowValue(plain, messages.pointer), first)
    for message, value in zip(messages.elements(), read, strict=True):
        draft.append(message, value)
    draft.extras += extras


def add_chat_message(draft: Draft, message: RowValue, notes: Collection[str] = ()) -> None:
    """Add a message in OpenAI's chat format, as `add_chat_messages` does."""
    alone = Draft()
    try:
        add_chat_messages(alone, RowValue([message.value]), notes)
    except RowError as error:
        pointer = message.pointer + error.pointer.removeprefix("/0")
        raise RowError(error.reason, pointer, error.detail) from None
    for extra in alone.extras:
        pointer = message.pointer + extra.pointer.removeprefix("/0")
        draft.extras.append(replace(extra, pointer=pointer, message=draft.next))
    draft.append(message, alone.messages[0])


def add_chat_tools(draft: Draft, tools: RowValue) -> None:
    """Add definitions of tools in OpenAI's chat format."""
    read, extras = read_tools(tools)
    draft.tools += read or []
    draft.extras += extras
