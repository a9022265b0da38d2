"""Mistral: OpenAI's chat format with ids of tool calls of nine characters."""

from __future__ import annotations

import re
from typing import Any

from ftkit.prepare.example import Example, Extra
from ftkit.prepare.row_formats.base import RowError, RowFormat
from ftkit.prepare.row_formats.openai import read_tool_options
from ftkit.prepare.row_formats.shared.chat import normalized_message
from ftkit.prepare.row_formats.shared.outgoing import Outgoing, calls_of, parts_of, role_of
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.prepare.row_formats.shared.values import read_messages, unknown_keys
from ftkit.rules.sources import MISTRAL_FINETUNE

ID = re.compile(r"[A-Za-z0-9]{9}")
MAX_IDS = 99_999
"""Maximum ids that are made for an example: as many as nine characters give."""

KEYS = {"assistant": ("weight",), "tool": ("name",)}
"""Keys of messages beside role, content and tool calls."""

LAYOUT = (
    '{"messages":[{"role":"user","content":"Where is order 7?"},{"role":"assistant","tool_calls":[{'
    '"id":"TX92Jm8Zi","type":"function","function":{"name":"find_order","arguments":'
    '"{\\"number\\":7}"}}]},{"role":"tool","tool_call_id":"TX92Jm8Zi","content":"sent"},{"role":'
    '"assistant","content":"It was sent.","weight":1}],"tools":[{"type":"function","function":{'
    '"name":"find_order","description":"Find an order","parameters":{"type":"object","properties":'
    '{"number":{"type":"integer"}},"required":["number"]}}}]}'
)


def read(value: dict[str, Any]) -> Example:
    """Convert a row to an example. Arguments may be objects, and images addresses."""
    row = RowValue(value)
    messages = [normalized_message(message) for message in row.need("messages").elements()]
    read, extras = read_messages(RowValue(messages, "/messages"))
    example = Example(messages=read, **read_tool_options(row))
    example.extras += extras + unknown_keys(row, ("messages", "tools", "parallel_tool_calls"))
    return example


def write(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    """Convert an example to a row.

    Raises:
        RowError: The last message is not the assistant's.
    """
    outgoing = Outgoing(example)
    outgoing.lose_parallel_tool_calls()
    messages = outgoing.messages()
    if not messages or role_of(messages[-1][1]) != "assistant":
        place = messages[-1][1].pointer if messages else "/messages"
        raise RowError("the last message is not the assistant's", place)
    ids = _Ids(message for _, message in messages)
    written = []
    for index, message in messages:
        outgoing.lose_keys(index, message, KEYS.get(role_of(message), ()))
        written.append(_write_message(outgoing, index, message, ids))
    row = {"messages": written}
    return outgoing.finish(row | ({"tools": example.tools} if example.tools else {}))


class _Ids:
    """Ids of nine characters for those of an example."""

    def __init__(self, messages: Any) -> None:
        self._ids: dict[str, str] = {}
        self._number = 0
        for message in messages:
            for call in calls_of(message):
                id = call.need("id").text()
                if ID.fullmatch(id):
                    self._ids[id] = id
        self._own_ids = set(self._ids)

    def of(self, id: str) -> str:
        """Return the id for one, the same each time."""
        if ID.fullmatch(id):
            return id
        while id not in self._ids:
            self._number += 1
            short_id = f"call{self._number:05}"
            if self._number > MAX_IDS:
                raise RowError(f"more than {MAX_IDS} tool calls")
            if short_id not in self._own_ids:
                self._ids[id] = short_id
        return self._ids[id]


def _write_message(outgoing: Outgoing, index: int, message: RowValue, ids: _Ids) -> dict[str, Any]:
    role = role_of(message)
    own_keys = KEYS.get(role, ())
    written: dict[str, Any] = {"role": "system" if role == "developer" else role}
    for part in parts_of(message):
        if part.need("type").text() not in ("text", "image_url"):
            part.fail("content part that is no text and no image", part.value["type"])
    calls, id = calls_of(message), message.get("tool_call_id")
    if message.get("content") is not None:
        written["content"] = message.value["content"]
    elif not calls:
        message.fail("message without content")
    if calls:
        written["tool_calls"] = [
            call.value | {"id": _new_id(outgoing, index, call.need("id"), ids)} for call in calls
        ]
    if id is not None:
        written["tool_call_id"] = _new_id(outgoing, index, id, ids)
    return written | {key: message.value[key] for key in own_keys if message.get(key) is not None}


def _new_id(outgoing: Outgoing, index: int, id: RowValue, ids: _Ids) -> str:
    new = ids.of(id.text())
    if new != id.value:
        outgoing.note(id, "id of a tool call made nine characters long", index)
    return new


FORMATS = (
    RowFormat(
        name="mistral",
        group="Other providers",
        title="Mistral",
        layout=LAYOUT,
        source=MISTRAL_FINETUNE,
        read=read,
        write=write,
        losses=("refusals", "names of users and assistants", "`parallel_tool_calls`"),
        notes=(
            "Ids of tool calls that are not nine letters and digits become call00001, call00002, "
            "and so on.",
            "An example whose last message is not the assistant's is rejected.",
        ),
    ),
)
