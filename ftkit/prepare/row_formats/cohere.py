"""Cohere: chat messages with the roles System, User and Chatbot."""

from __future__ import annotations

from typing import Any

from ftkit.prepare.example import Example
from ftkit.prepare.row_formats.base import RowFormat
from ftkit.prepare.row_formats.shared.draft import Draft, text_part
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.rules.sources import Source

SOURCE = Source(
    "Cohere documentation, preparing the chat fine-tuning data",
    "https://docs.cohere.com/docs/chat-preparing-the-data",
)

ROLES = {"system": "system", "user": "user", "chatbot": "assistant"}
"""Roles by their names in lower case: the documentation has them in both."""

LAYOUT = (
    '{"messages":[{"role":"System","content":"You are brief."},{"role":"User","content":"2 + 2?"},'
    '{"role":"Chatbot","content":"4"}]}'
)


def recognizes(value: dict[str, Any]) -> bool:
    """Return True for messages of which one has the role of the chatbot."""
    messages = value.get("messages")
    return isinstance(messages, list) and any(
        isinstance(item, dict) and str(item.get("role")).lower() == "chatbot" for item in messages
    )


def read(value: dict[str, Any]) -> Example:
    """Convert a row to an example."""
    row, draft = RowValue(value), Draft()
    for message in row.need("messages").elements():
        role = message.need("role")
        if role.text().lower() not in ROLES:
            role.fail("unknown role", repr(role.value))
        draft.lose_others(message, {"role", "content"}, message=draft.next)
        texts = [text_part(message.need("content").text())]
        draft.add(message, ROLES[role.value.lower()], texts)
    draft.lose_others(row, {"messages"})
    return draft.example()


FORMATS = (
    RowFormat(
        name="cohere",
        group="Other providers",
        title="Cohere",
        layout=LAYOUT,
        source=SOURCE,
        recognizes=recognizes,
        read=read,
        losses=("other keys",),
        notes=("Cohere ended fine-tuning on 2025-09-15, so the format is only read.",),
    ),
)
