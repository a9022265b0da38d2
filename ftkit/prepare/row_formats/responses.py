"""OpenAI Responses: items of input and output."""

from __future__ import annotations

from typing import Any

from ftkit.prepare.example import Example
from ftkit.prepare.row_formats.base import RowFormat
from ftkit.prepare.row_formats.shared.draft import Draft, Part, function_tool, image_part, text_part
from ftkit.prepare.row_formats.shared.exchange import NOTES
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.rules.sources import Source

SOURCE = Source(
    "OpenAI Python SDK, ResponseInputItemParam",
    "https://github.com/openai/openai-python/blob/main/src/openai/types/responses/"
    "response_input_item_param.py",
)

ROLES = ("user", "assistant", "system", "developer")
TEXTS = ("input_text", "output_text", "text")
ITEM_NOTES = {"id", "status", "phase"}
REQUEST_NOTES = NOTES | {"background", "include", "max_tool_calls", "reasoning"}
EARLIER = ("previous_response_id", "conversation")
REQUEST_KEYS = {"input", "instructions", "tools", "parallel_tool_calls"}
RESPONSE_KEYS = {*REQUEST_KEYS, "output"}

LAYOUT = (
    '{"instructions":"You help with orders.","input":[{"role":"user","content":"Where is order 7?"'
    '},{"type":"function_call","call_id":"call_7","name":"find_order","arguments":'
    '"{\\"number\\":7}"},{"type":"function_call_output","call_id":"call_7","output":"sent"}],'
    '"output":[{"type":"message","role":"assistant","status":"completed","content":[{"type":'
    '"output_text","text":"It was sent.","annotations":[]}]}],"tools":[{"type":"function","name":'
    '"find_order","parameters":{"type":"object","properties":{"number":{"type":"integer"}}}}]}'
)


def recognizes(value: dict[str, Any]) -> bool:
    """Return True for items of input or output of which one has a type of the Responses API."""
    items = [item for key in ("input", "output", "items") for item in _objects(value.get(key))]
    return any(
        item.get("type") in ("function_call", "function_call_output", "reasoning", "message")
        for item in items
    )


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def read(value: dict[str, Any]) -> Example:
    """Convert a request with its output, or only items, to an example."""
    row, draft = RowValue(value), Draft()
    items = row.get("items")
    if items is not None:
        _read_items(draft, items)
        _read_tools(draft, row)
        draft.lose_others(row, {"items", "tools", "parallel_tool_calls"})
        return draft.example()
    read_request(draft, row, RESPONSE_KEYS)
    if row.get("output") is not None:
        read_response(draft, row, RESPONSE_KEYS, repeats=False)
    return draft.example()


def read_request(draft: Draft, request: RowValue, read_keys: set[str] = REQUEST_KEYS) -> None:
    """Read a request: instructions, input and tools."""
    instructions, input = request.get("instructions"), request.need("input")
    if instructions is not None:
        draft.add(instructions, "system", [text_part(instructions.text())])
    if isinstance(input.value, str):
        draft.add(input, "user", [text_part(input.value)])
    else:
        _read_items(draft, input)
    _read_tools(draft, request)
    for key in EARLIER:
        earlier = request.get(key)
        if earlier is not None:
            draft.lose(earlier, "earlier turns, which are not in the row")
    draft.lose_others(request, {*read_keys, *EARLIER}, REQUEST_NOTES)


def read_response(
    draft: Draft, response: RowValue, read_keys: set[str] = RESPONSE_KEYS, repeats: bool = True
) -> None:
    """Read the output of a response, which repeats the settings of its request."""
    status = response.get("status")
    if status is not None and status.value != "completed":
        status.fail("answer that is not complete", str(status.value))
    _read_items(draft, response.need("output"))
    if repeats:
        settings = {"text", "incomplete_details", "billing", "content_filters", *EARLIER}
        draft.lose_others(response, read_keys, REQUEST_NOTES | settings)


def _read_items(draft: Draft, items: RowValue) -> None:
    for item in items.elements():
        type = item.get("type")
        kind = "message" if type is None else type.text()
        if kind == "message":
            _read_message(draft, item)
        elif kind == "function_call":
            _read_call(draft, item)
        elif kind == "function_call_output":
            _read_output(draft, item)
        else:
            name = (
                "reasoning" if kind == "reasoning" else "item that is no message or function call"
            )
            draft.lose(item, name, draft.next)


def _read_message(draft: Draft, item: RowValue) -> None:
    role, content = item.need("role"), item.need("content")
    if role.text() not in ROLES:
        role.fail("unknown role", repr(role.value))
    index = draft.next
    draft.lose_others(item, {"type", "role", "content"}, ITEM_NOTES, index)
    if isinstance(content.value, str):
        parts = [text_part(content.value)]
    else:
        parts = [part for value in content.elements() for part in _read_part(draft, value)]
    if not parts:
        content.fail("no text and no image")
    draft.add(item, role.value, parts)


def _read_part(draft: Draft, value: RowValue) -> list[Part]:
    kind, index = value.need("type").text(), draft.next
    if kind in TEXTS:
        annotations = value.get("annotations")
        if annotations is not None and annotations.value != []:
            draft.lose(annotations, "annotations of a text", index)
        draft.lose_others(value, {"type", "text", "annotations"}, {"logprobs"}, index)
        return [text_part(value.need("text").text())]
    if kind == "refusal":
        return [{"type": "refusal", "refusal": value.need("refusal").text()}]
    url = value.get("image_url") if kind == "input_image" else None
    if url is None:
        draft.lose(value, "part that is no text and no image", index)
        return []
    part, detail = image_part(url.text()), value.get("detail")
    if detail is not None:
        part["image_url"]["detail"] = detail.text()
    draft.lose_others(value, {"type", "image_url", "detail"}, message=index)
    return [part]


def _read_call(draft: Draft, item: RowValue) -> None:
    """Read a call, which belongs to the assistant's message before it, if there is one."""
    read_keys = {"type", "call_id", "name", "arguments"}
    last = draft.messages[-1] if draft.messages else {}
    joins = last.get("role") == "assistant"
    name, id = item.need("name").text(), item.need("call_id").text()
    call = draft.call(item, name, item.need("arguments").text(), id)
    if joins:
        draft.add_call(call)
    else:
        draft.add(item, "assistant", [], [call])
    draft.lose_others(item, read_keys, ITEM_NOTES, draft.next - 1)


def _read_output(draft: Draft, item: RowValue) -> None:
    output, index = item.need("output"), draft.next
    draft.lose_others(item, {"type", "call_id", "output"}, ITEM_NOTES, index)
    if isinstance(output.value, str):
        text = output.value
    else:
        texts = []
        for part in [part for value in output.elements() for part in _read_part(draft, value)]:
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                draft.lose(output, "image in a tool result", index)
        if len(texts) > 1:
            draft.note(output, "texts of a tool result joined by line feeds", index)
        text = "\n".join(texts)
    draft.answer(item, text, item.need("call_id").text())


def _read_tools(draft: Draft, request: RowValue) -> None:
    """Read the functions, which are flat, and record other tools."""
    tools = request.get("tools")
    for tool in [] if tools is None else tools.elements():
        if tool.need("type").value != "function":
            draft.lose(tool, "tool of the provider")
            continue
        parameters, description = tool.get("parameters"), tool.get("description")
        definition = function_tool(
            tool.need("name").text(),
            None if description is None else description.text(),
            None if parameters is None else parameters.object(),
        )
        strict = tool.get("strict")
        if strict is not None:
            definition["function"]["strict"] = strict.flag()
        draft.tools.append(definition)
        draft.lose_others(tool, {"type", "name", "description", "parameters", "strict"})
    flag = request.get("parallel_tool_calls")
    if flag is not None:
        draft.parallel_tool_calls = flag.flag()


FORMATS = (
    RowFormat(
        name="responses",
        group="OpenAI",
        bookkeeping=REQUEST_NOTES,
        title="OpenAI Responses",
        layout=LAYOUT,
        source=SOURCE,
        shapes=("responses",),
        recognizes=recognizes,
        read=read,
        losses=(
            "reasoning, and other items that are no messages or function calls",
            "files, annotations, and images in tool results",
            "the provider's own tools, and the format of the answer",
        ),
        notes=("A function call belongs to the assistant's message before it.",),
    ),
)
