"""Requests joined with their responses: OpenAI Batch, Anthropic's message batches, gateway logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ftkit.prepare.audit import Audit
from ftkit.prepare.example import Example
from ftkit.prepare.grouping import group_rows
from ftkit.prepare.row_formats import anthropic, gemini, responses
from ftkit.prepare.row_formats.base import Kind, RowError, RowFormat
from ftkit.prepare.row_formats.shared.chat import add_chat_message, add_chat_messages
from ftkit.prepare.row_formats.shared.draft import Draft
from ftkit.prepare.row_formats.shared.exchange import (
    CHOICE_NOTES,
    MESSAGE_NOTES,
    NOTES,
    add_options,
    check_complete,
    check_status,
    decoded,
)
from ftkit.prepare.row_formats.shared.row_value import RowValue, joined_values
from ftkit.prepare.rows import Row, join_rows
from ftkit.rules.sources import OPENAPI, Source

REQUESTS = ("body", "params", "request", "request_body", "requestBody")
"""Keys of a request."""

RESPONSES = ("response", "result", "response_body", "responseBody")
"""Keys of a response."""

GATEWAY = Source(
    "Helicone documentation, Export Data",
    "https://docs.helicone.ai/tools/export",
)

_CHAT_KEYS = {"messages", "tools", "parallel_tool_calls", "functions"}

BATCH_LAYOUT = (
    '{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4.1",'
    '"messages":[{"role":"user","content":"2 + 2?"}]},"id":"batch_req_1","response":{"status_code":'
    '200,"request_id":"r1","body":{"id":"chatcmpl-1","object":"chat.completion","choices":[{'
    '"index":0,"message":{"role":"assistant","content":"4","refusal":null},"finish_reason":"stop"'
    '}]}},"error":null}'
)
GATEWAY_LAYOUT = (
    '{"request":{"model":"gpt-4.1","messages":[{"role":"user","content":"2 + 2?"}]},"response":{'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"4"},"finish_reason":"stop"}]}}'
)


def recognizes_batch(value: dict[str, Any]) -> bool:
    """Return True for a request or a response of a batch, or both."""
    return "custom_id" in value and not value.keys().isdisjoint((*REQUESTS, *RESPONSES))


def recognizes_gateway(value: dict[str, Any]) -> bool:
    """Return True for an object with a request and a response."""
    keys = value.keys()
    has_both = not keys.isdisjoint(REQUESTS) and not keys.isdisjoint(RESPONSES)
    return has_both and "custom_id" not in value


def assemble(rows: Iterable[Row], audit: Audit, kind: Kind) -> Iterator[Row]:
    """Join the requests of batches with their responses, by `custom_id`."""
    for group in group_rows(rows, _key):
        first, *others = group
        if not others:
            yield first
            continue
        for row in others:
            audit.merge("convert", "joined by custom_id", row.origin)
        yield join_rows(group, first.steps)


def _key(row: Row) -> Any:
    id = row.value.get("custom_id") if isinstance(row.value, dict) else None
    return {"row": str(row.origin)} if id is None else id


def read(value: Any) -> Example:
    """Convert a request and its response in one row to an example."""
    return _read([RowValue(value)])


def read_joined(values: list[Any]) -> Example:
    """Convert a request and its response in two rows to an example."""
    return _read(joined_values(values))


def _read(rows: list[RowValue]) -> Example:
    draft = Draft()
    request, response = _one(rows, REQUESTS, "request"), _one(rows, RESPONSES, "response")
    for row in rows:
        check_status(row)
        draft.lose_others(row, {*REQUESTS, *RESPONSES}, NOTES)
    _read_exchange(draft, decoded(request), decoded(response))
    return draft.example()


def _one(rows: list[RowValue], keys: tuple[str, ...], name: str) -> RowValue:
    values = [value for row in rows if (value := row.get(*keys)) is not None]
    if not values:
        rows[0].fail(f"no {name} of this row: read the files of requests and of responses together")
    if len(values) > 1:
        values[1].fail(f"second {name} with the same custom_id")
    return values[0]


def _read_exchange(draft: Draft, request: RowValue, response: RowValue) -> None:
    check_status(response)
    request, response = _body(draft, request), _body(draft, response)
    check_status(response)
    if request.get("messages") is None and request.get("input") is not None:
        responses.read_request(draft, request)
    else:
        read_request(draft, request)
    if isinstance(response.value.get("output"), list):
        responses.read_response(draft, response)
    else:
        read_response(draft, response)


def _body(draft: Draft, value: RowValue) -> RowValue:
    """Return the body of a request or response, which may be wrapped, or text."""
    body = value.get("body", "message")
    if body is None:
        if value.value.get("type") in ("errored", "canceled", "expired"):
            raise RowError("request that failed", value.pointer, str(value.value["type"]))
        return value
    draft.lose_others(value, {"body", "message"}, {*NOTES, "type", "headers"})
    return decoded(body)


def read_request(draft: Draft, request: RowValue) -> None:
    """Read a request: a chat completion of OpenAI, a message of Anthropic, or one to Gemini."""
    if request.get("contents"):
        gemini.read_request(draft, request)
        draft.lose_others(request, gemini.KEYS, gemini.REQUEST_KEYS)
        return
    messages = request.get("messages") or request.fail("request without `messages`")
    if anthropic.recognizes(request.object()):
        anthropic.read_request(draft, request)
        read_keys = {"system", "messages", "tools", "tool_choice"}
        draft.lose_others(request, read_keys, NOTES | anthropic.REQUEST_KEYS)
        return
    add_chat_messages(draft, messages, MESSAGE_NOTES)
    add_options(draft, request)
    draft.lose_others(request, _CHAT_KEYS, NOTES)


def read_response(draft: Draft, response: RowValue) -> None:
    """Read a response: choices, a message of Anthropic, or the message itself."""
    choices = response.get("choices")
    if choices is not None:
        _read_choices(draft, choices)
        draft.lose_others(response, {"choices"}, NOTES)
    elif response.get("candidates"):
        gemini.read_response(draft, response)
    elif isinstance(response.value.get("content"), list) and response.get("role"):
        check_complete(response, "stop_reason")
        anthropic.read_message(draft, response)
        draft.lose_others(response, {"role", "content"}, anthropic.RESPONSE_KEYS, draft.next - 1)
    elif response.get("role"):
        add_chat_message(draft, response, MESSAGE_NOTES)
    else:
        response.fail("response without `choices`")


def _read_choices(draft: Draft, choices: RowValue) -> None:
    first, *others = list(choices.elements()) or choices.fail("response without an answer")
    check_complete(first, "finish_reason")
    add_chat_message(draft, first.need("message"), MESSAGE_NOTES)
    draft.lose_others(first, {"message"}, CHOICE_NOTES, draft.next - 1)
    for other in others:
        draft.lose(other, "further answer")


FORMATS = (
    RowFormat(
        name="batch",
        group="OpenAI",
        bookkeeping=NOTES,
        title="OpenAI Batch, input joined with output",
        layout=BATCH_LAYOUT,
        source=OPENAPI.with_detail("BatchRequestInput and BatchRequestOutput"),
        shapes=("batch",),
        recognizes=recognizes_batch,
        assemble=assemble,
        read=read,
        read_joined=read_joined,
        losses=("answers after the first", "`response_format` and other keys", "reasoning"),
        notes=(
            "Give the files of requests and responses together: they are joined by `custom_id`.",
            "Failed requests and answers that are cut off are rejected.",
            "Anthropic's message batches are read, too.",
        ),
    ),
    RowFormat(
        name="gateway",
        group="Logs",
        bookkeeping=NOTES,
        title="Gateway log, request and response",
        layout=GATEWAY_LAYOUT,
        source=GATEWAY,
        recognizes=recognizes_gateway,
        read=read,
        losses=("answers after the first", "`response_format` and other keys", "reasoning"),
        notes=("Failed requests and answers that are cut off are rejected.",),
    ),
)
