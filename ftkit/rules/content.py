"""Content of messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import UNSET

from ftkit._text import excerpt
from ftkit.dataset.exact_numbers import dumps
from ftkit.dataset.formats import Conversation
from ftkit.dataset.types import Answer, TextPart
from ftkit.rules.base import ERROR, WARNING, Hit, ScanPlan, also, rule
from ftkit.rules.fixes import Edit, fix
from ftkit.rules.messages import MESSAGE_TYPES
from ftkit.rules.nodes import SchemaError
from ftkit.rules.samples import ASSISTANT, CHAT, USER, chat
from ftkit.rules.sources import (
    COOKBOOK,
    MISTRAL_FINETUNE,
    OPENAI_MESSAGE,
    OPENAPI,
    PREPARE_DATA,
)


@rule(
    "FT310",
    "content-missing",
    ERROR,
    SchemaError,
    places=[(owner, "content", "required") for owner in MESSAGE_TYPES],
    bad=chat('{"role": "user"}', ASSISTANT),
    good=CHAT,
    evidence=[OPENAPI.with_detail("required"), COOKBOOK.with_detail("missing_content")],
)
def content_missing(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A message has no content, and nothing that replaces it.

    Providers refuse the message. Add its content. Only assistant messages may have tool calls, a
    function call or a refusal instead.
    """
    yield Hit('the message has no "content"; add it', error.path)


@also(content_missing, Conversation, needs=["nothing"])
def _assistant_without_content(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    for path, content in _contents_without_replacement(conversation):
        if content is UNSET:
            yield Hit(
                'the assistant message has no "content", tool calls or refusal; add one of them',
                path,
            )


def _contents_without_replacement(conversation: Conversation) -> Iterator[tuple[str, Any]]:
    """Yield path and content of assistant messages without tool calls, function call or refusal."""
    for index, message in enumerate(conversation.messages):
        if isinstance(message, Answer) and not (
            message.tool_calls or message.function_call or isinstance(message.refusal, str)
        ):
            yield f"{conversation.path}[{index}].content", message.content


@rule(
    "FT311",
    "content-null",
    ERROR,
    SchemaError,
    places=[(owner, "content", "type") for owner in MESSAGE_TYPES],
    bad=chat('{"role": "user", "content": null}', ASSISTANT),
    good=CHAT,
    evidence=[OPENAPI.with_detail("not nullable")],
)
def content_null(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """Content is null, and nothing replaces it.

    Providers refuse the message. Only assistant messages with tool calls, a function call or a
    refusal may have null content. Write the text.
    """
    if error.value is None:
        yield Hit("content is null; write the text", error.path)


@also(content_null, Conversation, needs=["nothing"])
def _assistant_with_null(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    for path, content in _contents_without_replacement(conversation):
        if content is None:
            yield Hit("content is null without tool calls or a refusal; write the text", path)


@rule(
    "FT312",
    "content-type",
    ERROR,
    SchemaError,
    places=[(owner, "content", "type") for owner in MESSAGE_TYPES],
    bad=chat(USER, '{"role": "assistant", "content": {"answer": 2}}'),
    good=chat(USER, r'{"role": "assistant", "content": "{\"answer\": 2}"}'),
    evidence=[OPENAI_MESSAGE, OPENAPI],
    provider_messages=[r'key "content": Input should be a valid string'],
)
def content_type(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """Content is neither a string nor an array of parts.

    Providers refuse the message. To train on answers in JSON, write the JSON into a string, with
    `json.dumps`.
    """
    if error.value is None or (error.owner == "Tool" and isinstance(error.value, list)):
        return
    hint = "; write JSON into a string, with json.dumps" if isinstance(error.value, dict) else ""
    yield Hit(
        f"content must be a string or an array of parts, not {excerpt(error.value, 60)}{hint}",
        error.path,
    )


@fix(content_type, SchemaError, "unsafe", "write the object as a string of JSON")
def _as_json(error: SchemaError) -> Edit | None:
    if not isinstance(error.value, dict):
        return None
    return Edit(error.parent, error.field, dumps(error.value, ensure_ascii=False))


@rule(
    "FT313",
    "content-empty",
    WARNING,
    Conversation,
    needs=["empty", "parts"],
    bad=chat('{"role": "user", "content": " "}', ASSISTANT),
    good=CHAT,
    evidence=[PREPARE_DATA, MISTRAL_FINETUNE],
)
def content_empty(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """Content is empty or only white space.

    The model learns nothing from it, or learns to answer with nothing. Write the text, or remove
    the example. Content beside tool calls may be empty.
    """
    for index, message in enumerate(conversation.messages):
        content = message.content
        path = f"{conversation.path}[{index}].content"
        if isinstance(message, Answer) and (message.tool_calls or message.function_call):
            continue
        if content == [] or (isinstance(content, str) and not content.strip()):
            yield Hit("content is empty; write the text, or remove the example", path)
        for at, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, TextPart) and not part.text.strip():
                yield Hit("the text of the part is empty; remove the part", f"{path}[{at}].text")
