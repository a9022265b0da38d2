"""Fix of the deprecated functions: they are written as tools, their successor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import UNSET

from ftkit.rules.fixes import Edit
from ftkit.rules.nodes import Messages


def as_tools(messages: Messages) -> list[Edit] | None:
    """Return the edits that write functions as tools, or None if that would leave a mistake.

    The functions must be declared, each call but the last must be answered by the next message, and
    there must be no tools yet.
    """
    holder, rows = messages.holder, messages.messages
    if not holder.get("functions") or holder.get("tools") or not _is_complete(rows):
        return None
    tools = [{"type": "function", "function": function} for function in holder["functions"]]
    edits = [Edit(holder, "tools", tools, path=messages.path), Edit(holder, "functions")]
    for number, index in enumerate(_calls(rows), 1):
        id, message = f"call_{number}", rows[index]
        call = {"id": id, "type": "function", "function": message["function_call"]}
        edits += [Edit(message, "tool_calls", [call]), Edit(message, "function_call")]
        for answer in rows[index + 1 : index + 2]:
            edits += [Edit(answer, "role", "tool"), Edit(answer, "tool_call_id", id)]
    return [edit for edit in edits if edit.value is not UNSET or edit.key in edit.parent]


def _calls(rows: list[Any]) -> Iterator[int]:
    """Yield the index of each message with a function call."""
    return (index for index, message in enumerate(rows) if message.get("function_call"))


def _is_complete(rows: list[Any]) -> bool:
    """Return True if calls and answers are paired, and no message has tool calls."""
    calls = set(_calls(rows))
    answers = {index for index, message in enumerate(rows) if message["role"] == "function"}
    expected = {index + 1 for index in calls if index + 1 < len(rows)}
    has_texts = all(isinstance(rows[index].get("content"), str) for index in answers)
    return answers == expected and has_texts and not any(row.get("tool_calls") for row in rows)
