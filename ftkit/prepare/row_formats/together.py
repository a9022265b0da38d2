"""Together: OpenAI's chat and preference formats, with roles that alternate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from ftkit.prepare.example import Example, Extra, Message
from ftkit.prepare.row_formats import openai
from ftkit.prepare.row_formats.base import RowError, RowFormat
from ftkit.prepare.row_formats.shared.outgoing import SYSTEM, Outgoing, calls_of, parts_of, role_of
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.rules.sources import Source

SOURCE = Source(
    "Together documentation, data preparation",
    "https://docs.together.ai/docs/fine-tuning/data-preparation",
)

SHAPES = {"messages": "chat", "prompt": "completions", "preferred_output": "preference"}
"""OpenAI's formats by the key that tells them, beside `text`."""

NEXT_ROLES = {
    "": {"system", "user"},
    "system": {"user"},
    "user": {"assistant"},
    "assistant": {"user"},
    "tool": {"tool", "assistant"},
}
"""Roles that may follow a role; after tool calls, only `tool`."""

LAYOUT = (
    '{"messages":[{"role":"system","content":"You are brief."},{"role":"user","content":"2 + 2?"},'
    '{"role":"assistant","content":"4","weight":0},{"role":"user","content":"3 + 3?"},'
    '{"role":"assistant","content":"6"}]}'
)

_FORMATS = {format.name: format for format in openai.FORMATS}


def variant(row: dict[str, Any]) -> str:
    """Return the key that tells the variant of a row, which must be that of all rows of a file.

    Raises:
        RowError: It has none, or more than one.
    """
    keys = [key for key in (*SHAPES, "text") if row.get(key) is not None]
    if len(keys) > 1:
        raise RowError("two shapes in one row", f"/{keys[1]}", f"`{keys[0]}` and `{keys[1]}`")
    if not keys:
        raise RowError("no `messages`")
    return keys[0]


def read(value: dict[str, Any]) -> Example:
    """Convert a row to an example."""
    name = variant(RowValue(value).object())
    if name == "text":
        raise RowError("plain text has no messages", "/text")
    format = _FORMATS[SHAPES[name]]
    if format.read is None:
        raise TypeError(format.name)
    return format.read(value)


def write(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    """Convert an example to a row.

    Raises:
        RowError: The roles do not alternate as they must.
    """
    if example.chosen is None or example.rejected is None:
        return _write_chat(example)
    outgoing = Outgoing(replace(example, chosen=None, rejected=None))
    outgoing.lose_parallel_tool_calls()
    row = {
        "input": {"messages": _write_messages(outgoing), **_tools(example)},
        "preferred_output": _write_output(outgoing, example.chosen, "/preferred_output"),
        "non_preferred_output": _write_output(outgoing, example.rejected, "/non_preferred_output"),
    }
    return outgoing.finish(row)


def _write_chat(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    outgoing = Outgoing(example)
    outgoing.lose_parallel_tool_calls()
    return outgoing.finish({"messages": _write_messages(outgoing), **_tools(example)})


def _tools(example: Example) -> dict[str, Any]:
    return {"tools": example.tools} if example.tools else {}


def _write_messages(outgoing: Outgoing) -> list[Message]:
    """Return the messages, whose roles alternate from user to assistant."""
    written: list[Message] = []
    allowed = NEXT_ROLES[""]
    for index, message in outgoing.messages():
        role = "system" if role_of(message) in SYSTEM else role_of(message)
        if role not in allowed:
            message.fail("roles do not alternate from user to assistant", f"role {role!r}")
        calls = calls_of(message)
        allowed = {"tool"} if calls else NEXT_ROLES[role]
        own_keys = ("weight",) if role == "assistant" else ()
        outgoing.lose_keys(index, message, own_keys)
        written.append(_write_message(message, role, own_keys))
    return written


def _write_message(message: RowValue, role: str, own_keys: Iterable[str]) -> Message:
    keys = ("content", "tool_calls", "tool_call_id", *own_keys)
    if message.get("content") is None and not calls_of(message):
        message.fail("message without content")
    for part in parts_of(message):
        if part.need("type").text() not in ("text", "image_url"):
            part.fail("content part that is no text and no image", part.value["type"])
    present = {key: message.value[key] for key in keys if message.get(key) is not None}
    return {"role": role, **present}


def _write_output(outgoing: Outgoing, messages: list[Message], pointer: str) -> list[Message]:
    """Return an output of a preference example: one text of the assistant."""
    values = RowValue(messages, pointer)
    if len(messages) != 1 or not isinstance(messages[0].get("content"), str):
        values.fail("output that is not one text of the assistant")
    message = values.child(0)
    for other in message.others({"role", "content"}):
        if other.pointer.rpartition("/")[2] != "weight":
            other.fail("key that an output has no place for")
        outgoing.lose(other, "`weight` of an output", is_loss=other.value != 1)
    return [{"role": role_of(message), "content": message.value["content"]}]


FORMATS = (
    RowFormat(
        name="together",
        group="Other providers",
        title="Together",
        layout=LAYOUT,
        source=SOURCE,
        read=read,
        write=write,
        variant=variant,
        losses=("names and refusals of messages", "`parallel_tool_calls`", "developer messages"),
        notes=(
            "Roles must alternate from user to assistant, after at most one system message; other "
            "examples are rejected.",
            "All rows of a file have one shape: a conversation or a preference example, and later "
            "rows of the other shape are rejected.",
        ),
    ),
)
