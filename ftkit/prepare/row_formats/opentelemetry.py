"""OpenTelemetry: spans and events with the messages of the GenAI semantic conventions."""

from __future__ import annotations

from typing import Any

from ftkit.prepare.example import Example, ExtraKind
from ftkit.prepare.row_formats.base import EVERY_KEY, RowFormat
from ftkit.prepare.row_formats.shared.draft import (
    Draft,
    Part,
    function_tool,
    image_part,
    text_part,
)
from ftkit.prepare.row_formats.shared.exchange import decoded, note_log_keys
from ftkit.prepare.row_formats.shared.json_text import to_text
from ftkit.prepare.row_formats.shared.media import data_url
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.rules.sources import Source

SOURCE = Source(
    "OpenTelemetry semantic conventions for generative AI, gen-ai-input-messages.json",
    "https://github.com/open-telemetry/semantic-conventions-genai/tree/main/docs/gen-ai",
)

INPUT = "gen_ai.input.messages"
OUTPUT = "gen_ai.output.messages"
SYSTEM = "gen_ai.system_instructions"
TOOLS = "gen_ai.tool.definitions"
KEYS = {INPUT, OUTPUT, SYSTEM, TOOLS}
ROLES = ("system", "developer", "user", "assistant", "tool")
COMPLETE = ("stop", "tool_call", "tool_calls")

LAYOUT = (
    '{"name":"chat gpt-4.1","attributes":{"gen_ai.operation.name":"chat","gen_ai.system_'
    'instructions":[{"type":"text","content":"You help with orders."}],"gen_ai.input.messages":[{'
    '"role":"user","parts":[{"type":"text","content":"Where is order 7?"}]},{"role":"assistant",'
    '"parts":[{"type":"tool_call","id":"call_7","name":"find_order","arguments":{"number":7}}]},{'
    '"role":"tool","parts":[{"type":"tool_call_response","id":"call_7","response":"sent"}]}],'
    '"gen_ai.output.messages":[{"role":"assistant","parts":[{"type":"text","content":'
    '"It was sent."}],"finish_reason":"stop"}]}}'
)


def recognizes(value: dict[str, Any]) -> bool:
    """Return True for an object with the attribute of input messages."""
    attributes = value.get("attributes", value)
    if isinstance(attributes, list):
        return any(isinstance(item, dict) and item.get("key") == INPUT for item in attributes)
    return isinstance(attributes, dict) and INPUT in attributes


def read(value: dict[str, Any]) -> Example:
    """Convert a span or an event to an example."""
    row, draft = RowValue(value), Draft()
    attributes = _attributes(draft, row)
    if SYSTEM in attributes:
        parts = _read_parts(draft, attributes[SYSTEM])
        draft.add(attributes[SYSTEM], "system", parts or attributes[SYSTEM].fail("no text"))
    for key in (INPUT, OUTPUT):
        for message in attributes[key].elements() if key in attributes else ():
            _read_message(draft, message)
    if not draft.messages:
        row.fail(f"no `{INPUT}`")
    for tool in attributes[TOOLS].elements() if TOOLS in attributes else ():
        _read_tool(draft, tool)
    return draft.example()


def _attributes(draft: Draft, row: RowValue) -> dict[str, RowValue]:
    """Return the attributes of messages: of the row, of a span, or of a span in OTLP."""
    attributes = row.get("attributes")
    note_log_keys(draft, row, {"attributes"} if attributes else KEYS)
    if attributes is None:
        attributes = row
    elif not isinstance(attributes.value, list):
        note_log_keys(draft, attributes, KEYS)
    if not isinstance(attributes.value, list):
        present = {key: attributes.get(key) for key in KEYS}
        return {key: decoded(value) for key, value in present.items() if value is not None}
    values = {}
    for item in attributes.elements():
        key, value = item.need("key").text(), item.get("value")
        if key in KEYS and value is not None:
            values[key] = decoded(value.need("stringValue"))
        else:
            draft.note(item, ExtraKind.LOG_KEY)
    return values


def _read_message(draft: Draft, message: RowValue) -> None:
    role, reason = message.need("role"), message.get("finish_reason")
    if role.text() not in ROLES:
        role.fail("unknown role", repr(role.value))
    if reason is not None and reason.text() not in COMPLETE:
        reason.fail("answer that is cut off", reason.value)
    parts: list[Part] = []
    calls: list[dict[str, Any]] = []
    first = draft.next
    draft.lose_others(message, {"role", "parts"}, {"finish_reason"}, first)
    for part in message.need("parts").elements():
        kind = part.need("type").text()
        if kind == "tool_call" and role.value == "assistant":
            calls.append(_read_call(draft, part))
        elif kind == "tool_call_response":
            if parts:
                draft.add(message, role.value, parts)
                parts = []
            _read_result(draft, part)
        else:
            parts += _read_part(draft, part)
    if parts or calls:
        draft.add(message, "user" if role.value == "tool" else role.value, parts, calls)
    elif draft.next == first:
        message.fail("no text, image, tool call or result")


def _read_parts(draft: Draft, parts: RowValue) -> list[Part]:
    return [part for value in parts.elements() for part in _read_part(draft, value)]


def _read_part(draft: Draft, part: RowValue) -> list[Part]:
    kind, index = part.need("type").text(), draft.next
    if kind == "text":
        draft.lose_others(part, {"type", "content"}, message=index)
        return [text_part(part.need("content").text())]
    modality, mime = part.get("modality"), part.get("mime_type")
    if modality is not None and modality.value == "image":
        read_keys = {"type", "modality", "mime_type", "content", "uri"}
        draft.lose_others(part, read_keys, message=index)
        if kind == "blob" and mime is not None:
            return [image_part(data_url(mime.text(), part.need("content").text()))]
        if kind in ("uri", "file_data") and part.get("uri"):
            return [image_part(part.need("uri").text())]
    draft.lose(part, "reasoning" if kind == "reasoning" else "part of another type", index)
    return []


def _read_call(draft: Draft, part: RowValue) -> dict[str, Any]:
    id, arguments = part.get("id"), part.get("arguments")
    value = {} if arguments is None else arguments.value
    if arguments is not None and not isinstance(value, (str, dict)):
        arguments.object()
    draft.lose_others(part, {"type", "id", "name", "arguments"}, message=draft.next)
    return draft.call(part, part.need("name").text(), value, id.text() if id else None)


def _read_result(draft: Draft, part: RowValue) -> None:
    id, response = part.get("id"), part.get("response", "result")
    if response is None or isinstance(response.value, str):
        text = "" if response is None else response.value
    else:
        text = to_text(*response)
    draft.lose_others(part, {"type", "id", "response", "result"}, message=draft.next)
    draft.answer(part, text, id.text() if id else None)


def _read_tool(draft: Draft, tool: RowValue) -> None:
    """Read a definition of a tool: flat, as in the conventions, or as in OpenAI's chat format."""
    function = tool.get("function") or tool
    if tool.need("type").value != "function":
        draft.lose(tool, "tool that is no function")
        return
    description, parameters = function.get("description"), function.get("parameters")
    draft.tools.append(
        function_tool(
            function.need("name").text(),
            None if description is None else description.text(),
            None if parameters is None else parameters.object(),
        )
    )
    draft.lose_others(function, {"type", "name", "description", "parameters"})


FORMATS = (
    RowFormat(
        name="opentelemetry",
        group="Logs",
        bookkeeping=EVERY_KEY,
        title="OpenTelemetry GenAI",
        layout=LAYOUT,
        source=SOURCE,
        recognizes=recognizes,
        read=read,
        losses=("reasoning, and parts that are no text, image or tool call",),
        notes=(
            "Attributes other than those of messages, instructions and tools are left out.",
            "Calls without an id get one; their answers are paired with them in order.",
            "Answers that are cut off are rejected.",
        ),
    ),
)
