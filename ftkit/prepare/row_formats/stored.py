"""OpenAI's stored completions with their messages, and items of its Evals API."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ftkit.prepare.example import Example
from ftkit.prepare.row_formats.base import RowError, RowFormat
from ftkit.prepare.row_formats.batch import read_response
from ftkit.prepare.row_formats.shared.chat import add_chat_message, add_chat_messages
from ftkit.prepare.row_formats.shared.draft import Draft, text_part
from ftkit.prepare.row_formats.shared.exchange import MESSAGE_NOTES, NOTES, add_options
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.rules.sources import Source

STORED = Source(
    "OpenAI Python SDK, ChatCompletionStoreMessage",
    "https://github.com/openai/openai-python/blob/main/src/openai/types/chat/"
    "chat_completion_store_message.py",
)
EVALS = Source(
    "OpenAI Python SDK, CreateEvalJSONLRunDataSourceParam",
    "https://github.com/openai/openai-python/blob/main/src/openai/types/evals/"
    "create_eval_jsonl_run_data_source_param.py",
)

STORED_LAYOUT = (
    '{"object":"chat.completion","id":"chatcmpl-1","model":"gpt-4.1","messages":[{"id":'
    '"chatcmpl-1-0","role":"user","content":"2 + 2?","content_parts":null}],"choices":[{"index":0,'
    '"message":{"role":"assistant","content":"4"},"finish_reason":"stop"}]}'
)
EVALS_LAYOUT = (
    '{"item":{"messages":[{"role":"user","content":"2 + 2?"}],"answer":"4"},"sample":{'
    '"output_text":"4"}}'
)

_PAGE_KEYS = {"first_id", "last_id", "has_more", "object"}


def recognizes_stored(value: dict[str, Any]) -> bool:
    """Return True for a chat completion."""
    return value.get("object") == "chat.completion" and "choices" in value


def read_stored(value: dict[str, Any]) -> Example:
    """Convert a stored completion, whose `messages` are those of its request, to an example.

    The messages are an array, or a page of a list as the API returns it.
    """
    row, draft = RowValue(value), Draft()
    messages = row.get("messages")
    if messages is None:
        row.fail("no `messages`: add those that the API lists for the completion")
    page = messages.get("data") if isinstance(messages.value, dict) else messages
    if page is None:
        messages.fail("no `data`")
    if page is not messages:
        draft.lose_others(messages, {"data"}, _PAGE_KEYS)
        more = messages.get("has_more")
        if more is not None and more.flag():
            more.fail("page of messages that is not the last")
    for message in page.elements():
        _add_stored(draft, message)
    add_options(draft, row)
    read_response(draft, RowValue({"choices": row.need("choices").value}))
    read_keys = {"messages", "choices", "tools", "functions", "parallel_tool_calls"}
    draft.lose_others(row, read_keys)
    return draft.example()


def _add_stored(draft: Draft, message: RowValue) -> None:
    """Add a message, whose `content_parts` are its content if there are any."""
    parts = message.get("content_parts")
    value = {key: item for key, item in message.object().items() if key != "content_parts"}
    if parts is not None:
        value["content"] = parts.value
    first = len(draft.extras)
    try:
        add_chat_message(draft, RowValue(value, message.pointer), MESSAGE_NOTES)
    except RowError as error:
        raise RowError(error.reason, _source(message, parts, error.pointer), error.detail) from None
    for index, extra in enumerate(draft.extras[first:], first):
        pointer = _source(message, parts, extra.pointer)
        draft.extras[index] = replace(extra, pointer=pointer)


def _source(message: RowValue, parts: RowValue | None, pointer: str) -> str:
    """Return the pointer into `content_parts` for one into the content that they become."""
    content = f"{message.pointer}/content"
    if parts is None or not f"{pointer}/".startswith(f"{content}/"):
        return pointer
    return parts.pointer + pointer.removeprefix(content)


def recognizes_evals(value: dict[str, Any]) -> bool:
    """Return True for an item with its sample, or an item with messages."""
    item = value.get("item")
    if not isinstance(item, dict) or not value.keys() <= {"item", "sample"}:
        return False
    return "sample" in value or "messages" in item or isinstance(item.get("input"), list)


def read_evals(value: dict[str, Any]) -> Example:
    """Convert an item to an example: its messages, the sample as the answer, and other fields."""
    row, draft = RowValue(value), Draft()
    item, sample = row.need("item"), row.get("sample")
    messages = item.get("messages") or item.get("input")
    if messages is None or not isinstance(messages.value, list):
        item.fail("no `messages`: name the field of each message, such as user=$.item.question")
    add_chat_messages(draft, messages, MESSAGE_NOTES)
    if sample is not None:
        _add_sample(draft, sample)
    key = messages.pointer.rpartition("/")[2]
    draft.fields = {name: field for name, field in item.object().items() if name != key}
    draft.lose_others(row, {"item", "sample"})
    return draft.example()


def _add_sample(draft: Draft, sample: RowValue) -> None:
    text = sample.get("output_text")
    if sample.get("choices"):
        read_response(draft, RowValue(sample.value, sample.pointer))
    elif text is not None:
        draft.add(text, "assistant", [text_part(text.text())])
        draft.lose_others(sample, {"output_text"}, NOTES)
    else:
        sample.fail("no `output_text` and no `choices`")


FORMATS = (
    RowFormat(
        name="stored-completion",
        group="OpenAI",
        bookkeeping=NOTES,
        title="OpenAI stored completion",
        layout=STORED_LAYOUT,
        source=STORED,
        recognizes=recognizes_stored,
        read=read_stored,
        losses=("answers after the first", "`response_format` and other keys"),
        notes=("`messages` must have the messages that the API lists for the completion.",),
    ),
    RowFormat(
        name="evals",
        group="OpenAI",
        title="OpenAI Evals item",
        layout=EVALS_LAYOUT,
        source=EVALS,
        recognizes=recognizes_evals,
        read=read_evals,
        losses=("answers after the first",),
        notes=(
            "An object with `item`, as the Evals API takes it; rows of the Evals repository are "
            "[evals-samples](#evals-samples).",
            "The fields of an item beside its messages are for the grader; an item without "
            "messages needs a mapping of its fields.",
        ),
    ),
)
