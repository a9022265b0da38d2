"""Adaptation of messages to the features of a chat template.

The messages are those of the API or those that chat templates expect.
"""

from __future__ import annotations

import hashlib

from msgspec import Struct

from ftkit.errors import EncodingError
from ftkit.server.training.messages import Message, text_part

CALL_ID_LENGTH = 9
"""Length of the ids of tool calls at Mistral, whose templates refuse other ids."""


class TemplateFeatures(Struct, frozen=True):
    """Features of a chat template.

    Attributes:
        system: System messages are part of the prompt. Otherwise, they are merged into the first
            message of the user.
        tools: Tools, a call and its result are written.
        parallel_tool_calls: All calls of a message are written.
        thinking: The template has a mode with reasoning.
        text_parts: The content of messages is a list of parts instead of a text.
        short_call_ids: Ids of calls have `CALL_ID_LENGTH` characters.
        lead: Text that the template writes between the prompt and an answer.
        end: Special tokens that end an answer: the end of turn.
        call_end: Special tokens that end a message with calls.
    """

    system: bool = True
    tools: bool = True
    parallel_tool_calls: bool = True
    thinking: bool = False
    text_parts: bool = False
    short_call_ids: bool = False
    lead: str = ""
    end: str = ""
    call_end: str = ""


def adapt(messages: list[Message], features: TemplateFeatures) -> list[Message]:
    """Rewrite messages for a template without a feature.

    Raises:
        EncodingError: There is no user message to merge a system message into.
    """
    if not features.system:
        messages = _merge_system(messages)
    if features.short_call_ids:
        messages = [_shorten_ids(message) for message in messages]
    if features.text_parts:
        messages = [
            {**message, "content": [text_part(message["content"])]}
            if isinstance(message["content"], str)
            else message
            for message in messages
        ]
    return messages


def _merge_system(messages: list[Message]) -> list[Message]:
    """Move the system messages into the first message of the user, before a blank line."""
    texts = [message["content"] for message in messages if message["role"] == "system"]
    if not texts:
        return messages
    others = [message for message in messages if message["role"] != "system"]
    first = next((n for n, message in enumerate(others) if message["role"] == "user"), None)
    if first is None:
        raise EncodingError(
            "the base model takes no system messages, and there is no user message to merge it into"
        )
    system, content = "\n\n".join([*texts, ""]), others[first]["content"]
    merged = system + content if isinstance(content, str) else [text_part(system), *content]
    return [*others[:first], {**others[first], "content": merged}, *others[first + 1 :]]


def _shorten_ids(message: Message) -> Message:
    shortened = dict(message)
    if "tool_call_id" in message:
        shortened["tool_call_id"] = _short_id(message["tool_call_id"])
    if "tool_calls" in message:
        shortened["tool_calls"] = [
            {**call, "id": _short_id(call.get("id", ""))} for call in message["tool_calls"]
        ]
    return shortened


def _short_id(id: str) -> str:
    if len(id) == CALL_ID_LENGTH and id.isalnum() and id.isascii():
        return id
    return hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()[:CALL_ID_LENGTH]
