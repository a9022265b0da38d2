"""Messages in TRL's format: OpenAI's, but arguments are objects, and ids may be absent."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from ftkit.prepare.example import Extra, ExtraKind, Message
from ftkit.prepare.row_formats.shared.draft import OpenCalls
from ftkit.prepare.row_formats.shared.json_text import parse_object, to_text
from ftkit.prepare.row_formats.shared.outgoing import Outgoing, arguments_of, calls_of, role_of
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.prepare.row_formats.shared.values import read_messages, read_tools

THINKING = "thinking"
"""Key for the reasoning of an assistant's message."""


def read_trl_messages(value: RowValue, first: int = 0) -> tuple[list[Message], list[Extra]]:
    """Return messages in OpenAI's format, and their extras.

    Args:
        value: The array of messages.
        first: Index of its first message in the example, or -1 if its extras are the example's.
    """
    notes: list[Extra] = []
    messages: list[Any] = []
    open_calls = OpenCalls()
    new_ids = _new_ids(value)
    for index, item in enumerate(value.elements()):
        message = dict(item.object())
        place = first + index if first >= 0 else -1
        if message.get(THINKING) is not None:
            notes.append(
                Extra(item.child(THINKING).pointer, ExtraKind.REASONING, message[THINKING], place)
            )
        message.pop(THINKING, None)
        calls = item.get("tool_calls")
        if calls:
            message["tool_calls"] = [_read_call(call) for call in calls.elements()]
            for call, source in zip(message["tool_calls"], calls.elements(), strict=True):
                if call.get("id") is None:
                    call["id"] = next(new_ids)
                    notes.append(_made(source, call["id"], place))
            open_calls = OpenCalls(message["tool_calls"])
        elif message.get("role") == "tool":
            answered = _answered(item, open_calls)
            if answered:
                message["tool_call_id"] = answered
        messages.append(message)
    messages, extras = read_messages(RowValue(messages, value.pointer), first)
    return messages, notes + extras


def _new_ids(messages: RowValue) -> Iterator[str]:
    """Yield ids that no call of some messages has."""
    ids = {
        call.value["id"]
        for message in messages.elements()
        for call in calls_of(message)
        if isinstance(call.object().get("id"), str)
    }
    return (id for number in count(1) if (id := f"call_{number}") not in ids)


def _made(call: RowValue, id: str, message: int) -> Extra:
    return Extra(call.pointer, "id made for a tool call", id, message, is_loss=False)


def _read_call(call: RowValue) -> dict[str, Any]:
    function = call.need("function")
    function.need("name").text()
    if id := call.get("id"):
        id.text()
    arguments = function.get("arguments")
    text = arguments.value if arguments else {}
    if not isinstance(text, str):
        text = to_text(arguments.object() if arguments else {})
    return {
        **call.value,
        "type": call.value.get("type") or "function",
        "function": {**function.value, "arguments": text},
    }


def _answered(message: RowValue, open_calls: OpenCalls) -> str | None:
    """Return the id of the call that a tool message without one answers."""
    id = message.get("tool_call_id")
    if id:
        open_calls.pop(id.text())
        return id.text()
    name = message.get("name")
    call = open_calls.pop(None, name.text() if name else None)
    if call is None:
        message.fail("result of a tool without its call")
    return str(call["id"])


def read_trl_tools(row: RowValue) -> tuple[list[dict[str, Any]] | None, list[Extra]]:
    """Return the tools of a row, which may be a text of JSON."""
    tools = row.get("tools")
    if tools is None:
        return None, []
    value = tools.value
    if isinstance(value, str):
        if not value.strip():
            return None, []
        parsed = parse_object(f'{{"tools":{value}}}')
        if parsed is None or len(parsed) != 1:
            tools.fail("text is not JSON, or JSON that cannot be kept exactly")
        value = parsed["tools"]
    return read_tools(RowValue(value, tools.pointer))


def written_trl_messages(
    outgoing: Outgoing, messages: list[tuple[int, RowValue]]
) -> list[dict[str, Any]]:
    """Return messages as TRL has them: arguments are objects, and there are no weights.

    Args:
        outgoing: The example.
        messages: Messages with their indexes in it, or -1 for those of an output.
    """
    return [_written(outgoing, index, message) for index, message in messages]


def _written(outgoing: Outgoing, index: int, message: RowValue) -> dict[str, Any]:
    weight = message.get("weight")
    if weight and weight.value != 1:
        outgoing.lose(weight, "weight", index)
    row = {key: value for key, value in message.value.items() if key != "weight"}
    calls = calls_of(message)
    if calls:
        row["tool_calls"] = [
            {**call.value, "function": {**call.value["function"], "arguments": arguments_of(call)}}
            for call in calls
        ]
    if role_of(message) == "assistant" and index >= 0:
        for thinking in outgoing.take(ExtraKind.REASONING, index):
            row[THINKING] = thinking
    return row
