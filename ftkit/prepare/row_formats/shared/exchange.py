"""Requests to a model with their responses, as batches and gateways log them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ftkit.prepare.example import ExtraKind
from ftkit.prepare.row_formats.base import RowError
from ftkit.prepare.row_formats.shared.chat import (
    add_chat_tools,
)
from ftkit.prepare.row_formats.shared.draft import Draft
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.prepare.row_formats.shared.values import parse_json

NOTES = frozenset(
    [
        *("cached", "created", "created_at", "completed_at", "custom_id", "duration", "error"),
        *("frequency_penalty", "id", "input_user", "logit_bias", "logprobs", "max_tokens"),
        *("max_completion_tokens", "max_output_tokens", "metadata", "method", "model", "n"),
        *("object", "presence_penalty", "provider", "reasoning_effort"),
        *("request_id", "safety_identifier", "seed", "service_tier", "status", "status_code"),
        *("stop", "store", "stream", "stream_options", "system_fingerprint", "temperature"),
        *("timestamp", "tool_choice", "top_logprobs", "top_p", "truncation", "url", "usage"),
        *("user", "verbosity", "prompt_cache_key", "prompt_cache_retention"),
    ]
)
"""Keys of requests and responses that say nothing about the conversation."""

CHOICE_NOTES = {"index", "finish_reason", "logprobs", "content_filter_results", "stop_reason"}
MESSAGE_NOTES = {"id", "annotations"}

COMPLETE = {"stop", "tool_calls", "function_call", "end_turn", "tool_use", "stop_sequence"}
"""Reasons for the end of an answer that is complete."""


def note_log_keys(draft: Draft, value: RowValue, read_keys: Collection[str]) -> None:
    """Record the keys of an entry of a log that are not read."""
    for other in value.others(read_keys):
        draft.note(other, ExtraKind.LOG_KEY)


def decoded(value: RowValue) -> RowValue:
    """Return a value, or that of the JSON text of messages, a request or a response.

    Exports to CSV and some gateways hold JSON as text. Any other JSON is an answer as text.
    """
    text = value.value
    if not isinstance(text, str) or text.lstrip()[:1] not in ("{", "["):
        return value
    try:
        parsed = parse_json(text, value.pointer)
    except RowError:
        return value
    return RowValue(parsed, value.pointer) if _is_conversation(parsed) else value


def _is_conversation(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(
            isinstance(item, list) or (isinstance(item, dict) and {"role", "type"} & item.keys())
            for item in value
        )
    keys = {"messages", "choices", "generations", "role"}
    lists = [key for key in ("input", "output", "content") if isinstance(value.get(key), list)]
    return bool(keys & value.keys() or lists)


def add_options(draft: Draft, request: RowValue) -> None:
    """Read the tools of a request of OpenAI's."""
    tools, functions = request.get("tools"), request.get("functions")
    flag = request.get("parallel_tool_calls")
    if tools is not None:
        add_chat_tools(draft, tools)
    if functions is not None:
        draft.lose(functions, ExtraKind.FUNCTIONS)
    if flag is not None:
        draft.parallel_tool_calls = flag.flag()


def check_complete(value: RowValue, key: str) -> None:
    """Refuse an answer that is cut off, by the key of the reason for its end."""
    reason = value.get(key)
    if reason is not None and reason.text() not in COMPLETE:
        reason.fail("answer that is cut off", reason.value)


def check_status(response: RowValue) -> None:
    """Refuse a response that reports an error.

    Raises:
        RowError: It does.
    """
    status, error = response.get("status_code"), response.get("error")
    if error is not None:
        error.fail("request that failed")
    if status is not None and status.value != 200:
        raise RowError("request that failed", status.pointer, f"status {status.value}")
