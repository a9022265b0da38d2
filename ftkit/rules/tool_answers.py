"""Tool messages, which answer tool calls."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from ftkit._text import excerpt, join_names
from ftkit.dataset.formats import Conversation
from ftkit.dataset.types import Answer, Tool
from ftkit.rules.base import ERROR, Hit, ScanPlan, rule
from ftkit.rules.fixes import Edit, fix
from ftkit.rules.nodes import SchemaError
from ftkit.rules.samples import ASK, SAY, TOOL_CHAT, TOOLS, chat, tool_answer, tool_call
from ftkit.rules.sources import (
    COMMUNITY_965584,
    DATALINT,
    MISTRAL_COMMON,
    OPENAI_CHAT_API,
    OPENAI_MESSAGE,
    OPENAPI,
)

OpenIds = OrderedDict[str, None]
"""Ids of tool calls in alphabetical order. Removing one takes constant time."""

LIST_LENGTH = 80
"""Maximum characters of a list of ids."""

REQUIRED = OPENAPI.with_detail("required")


def function_answer(name: str) -> str:
    """Return a chat example with a function message; `name` is its JSON key and value."""
    return chat(
        ASK,
        '{"role": "assistant", "function_call": {"name": "weather", "arguments": "{}"}}',
        f'{{"role": "function", {name}"content": "-3"}}',
        SAY,
    )


@rule(
    "FT513",
    "tool-id-missing",
    ERROR,
    SchemaError,
    places=[("Tool", "tool_call_id", "required"), ("Tool", "tool_call_id", "type")],
    bad=chat(ASK, tool_call(), '{"role": "tool", "content": "-3"}', SAY, rest=TOOLS),
    good=TOOL_CHAT,
    evidence=[REQUIRED],
)
def tool_id_missing(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A tool message has no `tool_call_id`.

    It is not clear which call it answers, and providers refuse it. Add the id of the call.
    """
    yield Hit(
        'the tool message has no "tool_call_id"; add the id of the call it answers', error.path
    )


@rule(
    "FT514",
    "tool-orphan",
    ERROR,
    Conversation,
    needs=["tool"],
    bad=chat(ASK, tool_answer(), SAY, rest=TOOLS),
    good=TOOL_CHAT,
    evidence=[MISTRAL_COMMON, DATALINT],
)
def tool_orphan(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """A tool message does not answer an open tool call.

    There is no call with its id before it, or the call was answered already. Chat templates cannot
    render it. Add the call, correct the id, or remove the message.
    """
    for index, message, open_ids in _with_open_calls(conversation):
        if isinstance(message, Tool) and message.tool_call_id not in open_ids:
            candidates = (
                f"open: {join_names(open_ids, LIST_LENGTH)}" if open_ids else "none is open"
            )
            yield Hit(
                f"no open tool call has the id {excerpt(message.tool_call_id, 60)} ({candidates}); "
                "add the call, or correct the id",
                f"{conversation.path}[{index}].tool_call_id",
            )


@rule(
    "FT515",
    "tool-unanswered",
    ERROR,
    Conversation,
    needs=["tool_calls"],
    bad=chat(ASK, tool_call(), ASK, SAY, rest=TOOLS),
    good=TOOL_CHAT,
    evidence=[MISTRAL_COMMON, OPENAI_CHAT_API.with_detail("refuses it")],
)
def tool_unanswered(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """The conversation continues after a tool call without its answer.

    The model learns to go on without the result. Add the tool message. Only the last message of an
    example may have unanswered calls.
    """
    for index, message, open_ids in _with_open_calls(conversation):
        if open_ids and not isinstance(message, Tool):
            yield Hit(
                f"tool call {join_names(open_ids, LIST_LENGTH)} is not answered before this"
                " message; add the tool message",
                f"{conversation.path}[{index}]",
            )


def _with_open_calls(conversation: Conversation) -> Iterator[tuple[int, Any, OpenIds]]:
    """Yield each message with its index and the ids of the calls that are open before it.

    Calls that are still open at a message other than a tool message are closed by it, so that they
    are reported once. The ids are the same object until then.
    """
    open_ids: OpenIds = OrderedDict()
    before = len(conversation.before)
    for index, message in enumerate((*conversation.before, *conversation.messages)):
        if index >= before:
            yield index - before, message, open_ids
        if isinstance(message, Tool):
            open_ids.pop(message.tool_call_id, None)
        elif isinstance(message, Answer) and message.tool_calls:
            open_ids = OrderedDict.fromkeys(sorted(call.id for call in message.tool_calls))
        elif open_ids:
            open_ids = OrderedDict()


@rule(
    "FT516",
    "tool-content-parts",
    ERROR,
    SchemaError,
    places=[("Tool", "content", "type")],
    bad=TOOL_CHAT.replace('"content": "-3"', '"content": [{"type": "text", "text": "-3"}]'),
    good=TOOL_CHAT,
    evidence=[OPENAI_MESSAGE, COMMUNITY_965584],
    provider_messages=[r'key "content": Input should be a valid string'],
)
def tool_content_parts(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """The content of a tool message is an array of parts.

    The chat API accepts it, but fine-tuning does not. Join the texts into one string.
    """
    if isinstance(error.value, list):
        yield Hit(
            "the content of a tool message must be a string; join the texts of the parts",
            error.path,
        )


@fix(tool_content_parts, SchemaError, "unsafe", "join the texts of the parts, a line each")
def _join_parts(error: SchemaError) -> Edit | None:
    texts = [
        part["text"]
        for part in error.value
        if isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text"
    ]
    if len(texts) < len(error.value) or not all(isinstance(text, str) for text in texts):
        return None
    return Edit(error.parent, "content", "\n".join(texts))


@rule(
    "FT517",
    "function-name-missing",
    ERROR,
    SchemaError,
    places=[("Function", "name", "required"), ("Function", "name", "type")],
    bad=function_answer(""),
    good=TOOL_CHAT,
    evidence=[REQUIRED],
)
def function_name_missing(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A function message has no `name`.

    It is not clear which function it answers for, and providers refuse it. Add the name, or use
    tools instead, since functions are deprecated.
    """
    yield Hit(
        'the function message has no "name"; add the name of the function it answers for',
        error.path,
    )
