"""LangChain messages: serialized constructors, dictionaries, and OpenAI's chat format."""

from __future__ import annotations

from typing import Any

from ftkit.prepare.example import ExtraKind
from ftkit.prepare.row_formats.shared.chat import add_chat_message
from ftkit.prepare.row_formats.shared.draft import Draft, Part, image_part, text_part
from ftkit.prepare.row_formats.shared.exchange import MESSAGE_NOTES
from ftkit.prepare.row_formats.shared.media import data_url
from ftkit.prepare.row_formats.shared.row_value import RowValue

ROLES = {
    "human": "user",
    "ai": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
}
"""Roles by type of message, as in `type` and in the names of the classes."""

CONTENT_KEYS = {
    *("content", "type", "tool_calls", "tool_call_id", "name", "additional_kwargs"),
    *("status", "invalid_tool_calls", "role"),
}
CALLS = ("tool_use", "tool_call", "function_call")
NOTES = {"id", "response_metadata", "usage_metadata", "example", "tool_call_chunks", "artifact"}


def add_langchain_message(draft: Draft, message: RowValue) -> None:
    """Add a message of LangChain, or one in OpenAI's chat format."""
    type = message.get("type")
    if type is not None and type.value == "constructor":
        names = list(message.need("id").elements()) or message.fail("no `id`")
        _add(draft, message.need("kwargs"), _class_role(names[-1]))
    elif type is not None and message.get("data"):
        _add(draft, message.need("data"), _type_role(type))
    elif type is not None and message.get("role") is None:
        _add(draft, message, _type_role(type))
    else:
        add_chat_message(draft, message, MESSAGE_NOTES)


def is_langchain(value: Any) -> bool:
    """Return True for a serialized message."""
    return isinstance(value, dict) and (value.get("type") == "constructor" or "data" in value)


def _class_role(name: RowValue) -> str:
    kind = name.text().removesuffix("Chunk").removesuffix("Message").lower()
    return ROLES.get(kind) or name.fail("unknown class of message", repr(name.value))


def _type_role(type: RowValue) -> str:
    return ROLES.get(type.text()) or type.fail("unknown type of message", repr(type.value))


def _add(draft: Draft, value: RowValue, role: str) -> None:
    index, name = draft.next, value.get("name")
    extra = value.get("additional_kwargs")
    draft.lose_others(value, CONTENT_KEYS, NOTES, index)
    for other in extra.others({"tool_calls"}) if extra is not None else ():
        if other.value not in ({}, [], ""):
            draft.lose(other, "additional argument of a message", index)
    invalid = value.get("invalid_tool_calls")
    if invalid is not None and invalid.value != []:
        draft.lose(invalid, "invalid tool calls", index)
    parts = _read_content(draft, value, extra)
    if role == "tool":
        _add_result(draft, value, parts)
        return
    calls = _read_calls(draft, value, extra) if role == "assistant" else []
    if calls and parts == [text_part("")]:
        parts = []
    if not parts and not calls:
        value.fail("message without content")
    draft.add(value, role, parts, calls)
    if name is not None:
        draft.messages[-1]["name"] = name.text()


def _add_result(draft: Draft, value: RowValue, parts: list[Part]) -> None:
    status = value.get("status")
    if status is not None and status.value == "error":
        draft.lose(status, ExtraKind.IS_ERROR, draft.next)
    texts = [part["text"] for part in parts if part["type"] == "text"]
    if len(texts) < len(parts):
        draft.lose(value.need("content"), "image in a tool result", draft.next)
    if len(texts) > 1:
        draft.note(value, "texts of a tool result joined by line feeds", draft.next)
    draft.answer(value, "\n".join(texts), value.need("tool_call_id").text())


def _read_content(draft: Draft, value: RowValue, extra: RowValue | None) -> list[Part]:
    content = value.get("content")
    if content is None:
        return []
    if isinstance(content.value, str):
        return [text_part(content.value)]
    has_calls = bool(value.value.get("tool_calls") or (extra and extra.get("tool_calls")))
    blocks = [
        block
        for block in content.elements()
        # `tool_calls` repeats the calls among the blocks
        if not (has_calls and isinstance(block.value, dict) and block.value.get("type") in CALLS)
    ]
    return [part for block in blocks for part in _read_block(draft, block)]


def _read_block(draft: Draft, block: RowValue) -> list[Part]:
    """Read a block of OpenAI's, Anthropic's or LangChain's own."""
    if isinstance(block.value, str):
        return [text_part(block.value)]
    kind, index = block.need("type").text(), draft.next
    if kind == "text":
        draft.lose_others(block, {"type", "text"}, {"index", "id"}, index)
        return [text_part(block.need("text").text())]
    image = block.get("image_url") if kind == "image_url" else None
    if image is not None:
        url = image if isinstance(image.value, str) else image.need("url")
        return [image_part(url.text())]
    data, mime = block.get("data", "base64"), block.get("mime_type")
    if kind == "image" and data is not None and mime is not None:
        return [image_part(data_url(mime.text(), data.text()))]
    if kind == "image" and block.get("url"):
        return [image_part(block.need("url").text())]
    is_reasoning = kind in ("reasoning", "thinking", "redacted_thinking")
    draft.lose(block, "reasoning" if is_reasoning else "block of another type", index)
    return []


def _read_calls(draft: Draft, value: RowValue, extra: RowValue | None) -> list[dict[str, Any]]:
    """Return the tool calls, which older versions keep as OpenAI returned them."""
    calls = value.get("tool_calls")
    if calls is not None and calls.value != []:
        return [_read_call(draft, call) for call in calls.elements()]
    raw = extra.get("tool_calls") if extra is not None else None
    return [] if raw is None else [_read_raw_call(draft, call) for call in raw.elements()]


def _read_call(draft: Draft, call: RowValue) -> dict[str, Any]:
    id = call.get("id")
    draft.lose_others(call, {"id", "name", "args", "type"}, message=draft.next)
    arguments = call.need("args").object()
    return draft.call(call, call.need("name").text(), arguments, id.text() if id else None)


def _read_raw_call(draft: Draft, call: RowValue) -> dict[str, Any]:
    function, id = call.need("function"), call.get("id")
    draft.lose_others(call, {"id", "function", "type"}, {"index"}, draft.next)
    arguments = function.need("arguments").text()
    return draft.call(call, function.need("name").text(), arguments, id.text() if id else None)
