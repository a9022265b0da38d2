"""Anthropic: messages with content blocks, for tool calls and their results as well."""

from __future__ import annotations

from typing import Any

from ftkit.prepare.example import Example, Extra, ExtraKind
from ftkit.prepare.row_formats.base import RowFormat
from ftkit.prepare.row_formats.shared.draft import Draft, Part, function_tool, image_part, text_part
from ftkit.prepare.row_formats.shared.media import data_url, split_data_url
from ftkit.prepare.row_formats.shared.outgoing import (
    Indexed,
    Outgoing,
    arguments_of,
    calls_of,
    name_of,
    parts_of,
    role_of,
)
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.rules.sources import Source

SOURCE = Source(
    "Anthropic Python SDK, MessageParam and content blocks",
    "https://github.com/anthropics/anthropic-sdk-python/tree/main/src/anthropic/types",
)

CACHE = "cache_control"

REQUEST_KEYS = frozenset(
    [
        "container",
        "id",
        "max_tokens",
        "metadata",
        "model",
        "service_tier",
        "stop_sequences",
        "stream",
        "temperature",
        "thinking",
        "top_k",
        "top_p",
    ]
)
"""Keys of a request to the API that say nothing about the conversation."""

RESPONSE_KEYS = {"container", "id", "model", "stop_reason", "stop_sequence", "type", "usage"}
"""Keys of a response of the API that say nothing about the conversation."""

OWN_BLOCKS = ("tool_use", "tool_result", "thinking", "redacted_thinking")

LAYOUT = (
    '{"system":"You help with orders.","messages":[{"role":"user","content":"Where is order 7?"},{'
    '"role":"assistant","content":[{"type":"text","text":"I look it up."},{"type":"tool_use","id":'
    '"toolu_01","name":"find_order","input":{"number":7}}]},{"role":"user","content":[{"type":'
    '"tool_result","tool_use_id":"toolu_01","content":"sent"}]},{"role":"assistant","content":'
    '"It was sent."}],"tools":[{"name":"find_order","description":"Find an order","input_schema":'
    '{"type":"object","properties":{"number":{"type":"integer"}},"required":["number"]}}]}'
)


def recognizes(value: dict[str, Any]) -> bool:
    """Return True for messages with blocks of Anthropic's, tools with `input_schema`, or both."""
    messages, tools = value.get("messages"), value.get("tools")
    if not isinstance(messages, list):
        return False
    if isinstance(value.get("system"), (str, list)) and "schemaVersion" not in value:
        return True
    if isinstance(tools, list) and any("input_schema" in tool for tool in _objects(tools)):
        return True
    return any(
        block.get("type") in OWN_BLOCKS or (block.get("type") == "image" and "source" in block)
        for message in _objects(messages)
        for block in _objects(message.get("content"))
    )


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def read(value: dict[str, Any]) -> Example:
    """Convert a row to an example."""
    row, draft = RowValue(value), Draft()
    read_request(draft, row)
    draft.lose_others(row, {"system", "messages", "tools", "tool_choice"})
    return draft.example()


def read_request(draft: Draft, row: RowValue) -> None:
    """Read the system prompt, the messages and the tools of a row."""
    system, tools, choice = row.get("system"), row.get("tools"), row.get("tool_choice")
    if system is not None:
        draft.add(system, "system", _read_texts(draft, system))
    for message in row.need("messages").elements():
        read_message(draft, message)
        draft.lose_others(message, {"role", "content"}, RESPONSE_KEYS, draft.next - 1)
    for tool in [] if tools is None else tools.elements():
        _read_tool(draft, tool)
    if choice is not None:
        _read_choice(draft, choice)


def read_message(draft: Draft, message: RowValue) -> None:
    """Read a message."""
    role, content = message.need("role"), message.need("content")
    if role.text() not in ("user", "assistant"):
        role.fail("unknown role", repr(role.value))
    if isinstance(content.value, str):
        draft.add(message, role.value, [text_part(content.value)])
    elif role.value == "user":
        _read_user(draft, message, content)
    else:
        _read_assistant(draft, message, content)


def _read_texts(draft: Draft, content: RowValue) -> list[Part]:
    """Read a text, or an array of text blocks."""
    if isinstance(content.value, str):
        return [text_part(content.value)]
    parts = []
    for block in content.elements():
        parts += _read_block(draft, block)
    return parts


def _read_user(draft: Draft, message: RowValue, content: RowValue) -> None:
    """Read the blocks of a user: the results of tools become messages of their own."""
    parts: list[Part] = []
    first = draft.next
    for block in content.elements():
        if block.need("type").value != "tool_result":
            parts += _read_block(draft, block)
            continue
        if parts:
            draft.add(message, "user", parts)
            parts = []
        _read_result(draft, block)
    if parts:
        draft.add(message, "user", parts)
    elif draft.next == first:
        content.fail("no text, image or tool result")


def _read_result(draft: Draft, block: RowValue) -> None:
    content, is_error = block.get("content"), block.get("is_error")
    index = draft.next
    texts = []
    for part in [] if content is None else _read_texts(draft, content):
        if part["type"] == "text":
            texts.append(part["text"])
        else:
            draft.lose(content or block, "image in a tool result", index)
    if len(texts) > 1:
        draft.note(content or block, "texts of a tool result joined by line feeds", index)
    if is_error is not None and is_error.flag():
        draft.lose(is_error, ExtraKind.IS_ERROR, index)
    _note_cache(draft, block, index)
    draft.lose_others(block, {"type", "tool_use_id", "content", "is_error", CACHE}, message=index)
    draft.answer(block, "\n".join(texts), block.need("tool_use_id").text())


def _read_assistant(draft: Draft, message: RowValue, content: RowValue) -> None:
    parts: list[Part] = []
    calls: list[dict[str, Any]] = []
    for block in content.elements():
        kind = block.need("type").text()
        if kind in ("thinking", "redacted_thinking"):
            draft.lose(block, ExtraKind.THINKING_BLOCK, draft.next)
        elif kind == "tool_use":
            name, input = block.need("name").text(), block.need("input").object()
            calls.append(draft.call(block, name, input, block.need("id").text()))
            _note_cache(draft, block, draft.next)
            draft.lose_others(block, {"type", "id", "name", "input", CACHE}, message=draft.next)
        else:
            if calls:
                draft.lose(block, "place of a block after a tool call", draft.next)
            parts += _read_block(draft, block)
    if not parts and not calls:
        content.fail("no text and no tool call")
    draft.add(message, "assistant", parts, calls)


def _read_block(draft: Draft, block: RowValue) -> list[Part]:
    """Read a text or an image, or record the block if it is something else."""
    kind = block.need("type").text()
    index = draft.next
    if kind not in ("text", "image"):
        draft.lose(block, "block that is no text, image or tool call", index)
        return []
    _note_cache(draft, block, index)
    if kind == "text":
        draft.lose_others(block, {"type", "text", CACHE}, message=index)
        return [text_part(block.need("text").text())]
    source = block.need("source")
    draft.lose_others(block, {"type", "source", CACHE}, message=index)
    source_type = source.need("type").text()
    if source_type == "url":
        return [image_part(source.need("url").text())]
    if source_type == "base64":
        type, data = source.need("media_type").text(), source.need("data").text()
        return [image_part(data_url(type, data))]
    draft.lose(source, "image that is a file of the account", index)
    return []


def _note_cache(draft: Draft, value: RowValue, message: int = -1) -> None:
    cache = value.get(CACHE)
    if cache is not None:
        draft.note(cache, "cache_control, which changes no content", message)


def _read_tool(draft: Draft, tool: RowValue) -> None:
    schema, description = tool.get("input_schema"), tool.get("description")
    if schema is None:
        draft.lose(tool, "tool of the provider")
        return
    _note_cache(draft, tool)
    definition = function_tool(
        tool.need("name").text(),
        None if description is None else description.text(),
        schema.object(),
    )
    strict = tool.get("strict")
    if strict is not None:
        definition["function"]["strict"] = strict.flag()
    draft.tools.append(definition)
    read_keys = {"name", "description", "input_schema", "strict", CACHE}
    draft.lose_others(tool, read_keys, {"type"} if tool.value.get("type") == "custom" else ())


def _read_choice(draft: Draft, choice: RowValue) -> None:
    flag = choice.get("disable_parallel_tool_use")
    if flag is not None:
        draft.parallel_tool_calls = not flag.flag()
    if choice.need("type").text() != "auto":
        draft.lose(choice, "tool_choice")


def write(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    """Convert an example to a row."""
    outgoing = Outgoing(example)
    system, messages = outgoing.split_system()
    row: dict[str, Any] = {}
    if system:
        row["system"] = _write_system(system)
    row["messages"] = _write_messages(outgoing, messages)
    if example.tools:
        row["tools"] = [_write_tool(outgoing, tool) for tool in outgoing.tools()]
    if not example.tools:
        outgoing.lose_parallel_tool_calls()
    elif example.parallel_tool_calls is not None:
        disabled = not example.parallel_tool_calls
        row["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": disabled}
    return outgoing.finish(row)


def _write_system(system: Indexed) -> Any:
    parts = [part for _, message in system for part in parts_of(message)]
    texts = [part.need("text").text() for part in parts]
    return texts[0] if len(texts) == 1 else [text_part(text) for text in texts]


def _write_messages(outgoing: Outgoing, messages: Indexed) -> list[dict[str, Any]]:
    """Return messages; the results of tools and what the user says next are one message."""
    written: list[dict[str, Any]] = []
    results: list[dict[str, Any]] | None = None  # of the last message, if it has nothing else
    for index, message in messages:
        outgoing.lose_keys(index, message)
        role = role_of(message)
        if role == "tool":
            if results is None:
                results = []
                written.append({"role": "user", "content": results})
            results.append(_write_result(outgoing, index, message))
            continue
        content = _write_content(outgoing, index, message)
        if role == "user" and results is not None:
            results += [text_part(content)] if isinstance(content, str) else content
        else:
            written.append({"role": role, "content": content})
        results = None
    return written


def _write_result(outgoing: Outgoing, index: int, message: RowValue) -> dict[str, Any]:
    result = {
        "type": "tool_result",
        "tool_use_id": message.need("tool_call_id").text(),
        "content": message.need("content").text(),
    }
    return result | ({"is_error": True} if outgoing.take(ExtraKind.IS_ERROR, index) else {})


def _write_content(outgoing: Outgoing, index: int, message: RowValue) -> Any:
    content, calls = message.get("content"), calls_of(message)
    thinking = (
        outgoing.take(ExtraKind.THINKING_BLOCK, index) if role_of(message) == "assistant" else []
    )
    if content is not None and isinstance(content.value, str) and not calls and not thinking:
        return content.value
    blocks = thinking + [
        _write_part(outgoing, index, part) for part in outgoing.parts(index, message)
    ]
    for call in calls:
        block = {"type": "tool_use", "id": call.need("id").text(), "name": name_of(call)}
        blocks.append(block | {"input": arguments_of(call)})
    return blocks or message.fail("message without content")


def _write_part(outgoing: Outgoing, index: int, part: RowValue) -> dict[str, Any]:
    url = outgoing.image_url(index, part)
    if url is None:
        return text_part(part.need("text").text())
    data = split_data_url(url.value)
    if data:
        source = {"type": "base64", "media_type": data[0], "data": data[1]}
    elif url.value.startswith(("http://", "https://")):
        source = {"type": "url", "url": url.value}
    else:
        url.fail("image that is neither at an HTTP address nor in base64")
    return {"type": "image", "source": source}


def _write_tool(outgoing: Outgoing, tool: RowValue) -> dict[str, Any]:
    function = tool.need("function")
    parameters = function.get("parameters")
    if parameters is None:
        outgoing.note(function, "tool without parameters, which has an empty schema")
    optional = {key: function.value[key] for key in ("description", "strict") if function.get(key)}
    schema = {"type": "object", "properties": {}} if parameters is None else parameters.object()
    return {"name": name_of(tool), **optional, "input_schema": schema}


FORMATS = (
    RowFormat(
        name="anthropic",
        group="Other providers",
        bookkeeping=REQUEST_KEYS,
        title="Anthropic messages",
        layout=LAYOUT,
        source=SOURCE,
        shapes=("anthropic",),
        recognizes=recognizes,
        read=read,
        write=write,
        losses=(
            "thinking blocks and `is_error`, unless the target has them",
            "documents, search results, citations and the provider's own tools",
            "images in tool results",
            "weights, names and refusals of messages",
            "system messages after the beginning",
        ),
        notes=(
            "Tool results are in user messages, with what the user says next.",
            "Arguments are objects: their spelling is lost, and a text that an object cannot hold "
            "exactly is rejected.",
            "Keys of a request, such as `model`, and `cache_control` are left out.",
        ),
    ),
)
