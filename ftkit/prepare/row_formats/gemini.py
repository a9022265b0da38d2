"""Gemini: contents with parts, a system instruction, and function declarations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, groupby
from operator import itemgetter
from typing import Any, NamedTuple

from ftkit.prepare.example import Example, Extra
from ftkit.prepare.row_formats.base import RowFormat
from ftkit.prepare.row_formats.shared.draft import Draft, Part, function_tool, image_part, text_part
from ftkit.prepare.row_formats.shared.gemini_schema import from_gemini_schema, to_gemini_schema
from ftkit.prepare.row_formats.shared.json_text import parse_object, to_text
from ftkit.prepare.row_formats.shared.media import data_url, media_type, split_data_url
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
    "Google Cloud, tuning of function calling",
    "https://cloud.google.com/vertex-ai/generative-ai/docs/models/tune-function-calling",
)

SYSTEM = ("systemInstruction", "system_instruction")
KEYS = {*SYSTEM, "contents", "generationConfig", "tools"}
REQUEST_KEYS = {"labels", "model", "safetySettings", "toolConfig"}
CANDIDATE_KEYS = {"avgLogprobs", "finishReason", "index", "safetyRatings", "score"}
RESPONSE_KEYS = {"createTime", "modelVersion", "responseId", "usageMetadata"}
"""Keys of a response of the API that say nothing about the conversation."""

DECLARATIONS = ("functionDeclarations", "function_declarations")
JSON_SCHEMA = ("parametersJsonSchema", "parameters_json_schema")
CALL = ("functionCall", "function_call")
RESPONSE = ("functionResponse", "function_response")
INLINE = ("inlineData", "inline_data")
FILE = ("fileData", "file_data")
MIME = ("mimeType", "mime_type")
URI = ("fileUri", "file_uri")
ID = "id of a tool call left out"
USER_ROLES = ("user", "function", "tool")

LAYOUT = (
    '{"systemInstruction":{"role":"system","parts":[{"text":"You help with orders."}]},"contents":'
    '[{"role":"user","parts":[{"text":"Where is order 7?"}]},{"role":"model","parts":[{'
    '"functionCall":{"name":"find_order","args":{"number":7}}}]},{"role":"user","parts":[{'
    '"functionResponse":{"name":"find_order","response":{"state":"sent"}}}]},{"role":"model",'
    '"parts":[{"text":"It was sent."}]}],"tools":[{"functionDeclarations":[{"name":"find_order",'
    '"description":"Find an order","parameters":{"type":"OBJECT","properties":{"number":{"type":'
    '"INTEGER"}},"required":["number"]}}]}]}'
)


def recognizes(value: dict[str, Any]) -> bool:
    """Return True for an object with contents that have parts."""
    contents = value.get("contents")
    return (
        isinstance(contents, list)
        and bool(contents)
        and all(isinstance(item, dict) and isinstance(item.get("parts"), list) for item in contents)
    )


def read(value: dict[str, Any]) -> Example:
    """Convert a row to an example."""
    row, draft = RowValue(value), Draft()
    read_request(draft, row)
    draft.lose_others(row, KEYS)
    return draft.example()


def read_request(draft: Draft, row: RowValue) -> None:
    """Read the system instruction, the contents and the tools of a row."""
    instruction = row.get(*SYSTEM)
    if instruction is not None:
        texts = [text_part(part.need("text").text()) for part in _parts(draft, instruction)]
        draft.add(instruction, "system", texts)
    for content in row.need("contents").elements():
        _read_content(draft, content)
    tools = row.get("tools")
    for tool in [] if tools is None else tools.elements():
        _read_tools(draft, tool)
    config = row.get("generationConfig")
    for setting in [] if config is None else config.others(()):
        is_format = setting.pointer.rpartition("/")[2].startswith("response")
        record = draft.lose if is_format else draft.note
        record(setting, "format of the answer" if is_format else "setting of the request")


def read_response(draft: Draft, response: RowValue) -> None:
    """Read a response of the API: the content of its first candidate."""
    candidates = response.need("candidates")
    first, *others = list(candidates.elements()) or candidates.fail("response without an answer")
    reason = first.get("finishReason")
    if reason is not None and reason.value != "STOP":
        reason.fail("answer that is cut off", str(reason.value))
    _read_content(draft, first.need("content"))
    draft.lose_others(first, {"content"}, CANDIDATE_KEYS, draft.next - 1)
    for other in others:
        draft.lose(other, "further answer")
    draft.lose_others(response, {"candidates"}, RESPONSE_KEYS)


def _parts(draft: Draft, content: RowValue) -> list[RowValue]:
    draft.lose_others(content, {"role", "parts"}, message=draft.next)
    return list(content.need("parts").elements())


def _read_content(draft: Draft, content: RowValue) -> None:
    role = content.get("role")
    if role is None or role.text() in USER_ROLES:
        _read_user(draft, content)
    elif role.value == "model":
        _read_model(draft, content)
    else:
        role.fail("unknown role", repr(role.value))


def _read_user(draft: Draft, content: RowValue) -> None:
    """Read the parts of a user: results of functions become messages of their own."""
    parts: list[Part] = []
    for part in _parts(draft, content):
        response = part.get(*RESPONSE)
        if response is None:
            parts += _read_part(draft, part)
            continue
        if parts:
            draft.add(content, "user", parts)
            parts = []
        id, name = response.get("id"), response.need("name").text()
        result = response.need("response")
        result.object()
        draft.answer(response, response_text(result), id.text() if id else None, name)
        draft.lose_others(response, {"id", "name", "response"}, message=draft.next - 1)
    if parts or not content.value["parts"]:
        draft.add(content, "user", parts)


def _read_model(draft: Draft, content: RowValue) -> None:
    parts: list[Part] = []
    calls: list[dict[str, Any]] = []
    for part in _parts(draft, content):
        call = part.get(*CALL)
        if call is None:
            read_parts = _read_part(draft, part)
            if calls and read_parts:
                draft.lose(part, "place of a text after a function call", draft.next)
            parts += read_parts
            continue
        id, args = call.get("id"), call.get("args")
        name, arguments = call.need("name").text(), args.object() if args else {}
        calls.append(draft.call(call, name, arguments, id.text() if id else None))
        draft.lose_others(call, {"id", "name", "args"}, message=draft.next)
        draft.lose_others(part, CALL, message=draft.next)
    if parts or calls:
        draft.add(content, "assistant", parts, calls)
    else:
        content.fail("no text and no function call")


def _read_part(draft: Draft, part: RowValue) -> list[Part]:
    """Return the text or image of a part, or record the part if it is something else."""
    inline, file, text = part.get(*INLINE), part.get(*FILE), part.get("text")
    if part.value.get("thought") is True:
        draft.lose(part, "thought", draft.next)
        return []
    image = _image(draft, inline, file)
    if image is None and text is None:
        draft.lose(part, "part that is no text and no image", draft.next)
        return []
    draft.lose_others(part, {"text", *INLINE, *FILE, "thought"}, message=draft.next)
    return ([] if text is None else [text_part(text.text())]) + ([] if image is None else [image])


def _image(draft: Draft, inline: RowValue | None, file: RowValue | None) -> Part | None:
    if inline is not None:
        mime = inline.need(*MIME).text()
        data = inline.need("data").text()
        return image_part(data_url(mime, data)) if mime.startswith("image/") else None
    if file is None:
        return None
    uri, mime_type = file.need(*URI), file.get(*MIME)
    if mime_type is not None and not mime_type.text().startswith("image/"):
        return None
    if mime_type is not None and mime_type.value != media_type(uri.text()):
        draft.lose(mime_type, "type of an image", draft.next)
    return image_part(uri.text())


def response_text(response: RowValue) -> str:
    """Return the content of a tool message for the response of a function.

    A text is wrapped as `{"output": TEXT}`; `response_object` does the opposite.
    """
    inner = response.value.get("output")
    is_wrapped = len(response.value) == 1 and isinstance(inner, str)
    if is_wrapped and response_object(inner) == response.value:
        return str(inner)
    return to_text(*response)


def response_object(text: str) -> dict[str, Any]:
    """Return the response of a function for the content of a tool message."""
    value = parse_object(text)
    if value is not None and parse_object(response_text(RowValue(value))) == value:
        return value
    return {"output": text}


def _read_tools(draft: Draft, tool: RowValue) -> None:
    declarations = tool.get(*DECLARATIONS)
    for declaration in [] if declarations is None else declarations.elements():
        description = declaration.get("description")
        draft.tools.append(
            function_tool(
                declaration.need("name").text(),
                None if description is None else description.text(),
                _read_parameters(declaration),
            )
        )
        draft.lose_others(declaration, {"name", "description", "parameters", *JSON_SCHEMA})
    draft.lose_others(tool, DECLARATIONS)


def _read_parameters(declaration: RowValue) -> dict[str, Any] | None:
    schema, json_schema = declaration.get("parameters"), declaration.get(*JSON_SCHEMA)
    if json_schema is not None:
        return json_schema.object()
    return None if schema is None else from_gemini_schema(schema)


def write(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    """Convert an example to a row."""
    outgoing = Outgoing(example)
    outgoing.lose_parallel_tool_calls()
    system, messages = outgoing.split_system()
    row: dict[str, Any] = {}
    if system:
        texts = [part.need("text").text() for _, message in system for part in parts_of(message)]
        row["systemInstruction"] = {"role": "system", "parts": [{"text": text} for text in texts]}
    row["contents"] = list(_write_contents(outgoing, messages))
    if example.tools:
        declarations = [_write_tool(outgoing, tool) for tool in outgoing.tools()]
        row["tools"] = [{"functionDeclarations": declarations}]
    return outgoing.finish(row)


class _Call(NamedTuple):
    """A tool call that has no answer yet."""

    order: int
    name: str
    is_renamed: bool


def _write_contents(outgoing: Outgoing, messages: Indexed) -> Iterator[dict[str, Any]]:
    calls: dict[str, _Call] = {}
    number = count(1)
    for is_answers, group in groupby(messages, key=lambda item: role_of(item[1]) == "tool"):
        if is_answers:
            yield _write_answers(outgoing, list(group), calls)
            continue
        for index, message in group:
            outgoing.lose_keys(index, message)
            parts = [_write_part(outgoing, index, part) for part in outgoing.parts(index, message)]
            is_model = role_of(message) == "assistant"
            if is_model:
                calls = {}
                parts += [
                    _write_call(outgoing, index, call, calls, next(number))
                    for call in calls_of(message)
                ]
            if not parts:
                message.fail("message without content")
            yield {"role": "model" if is_model else "user", "parts": parts}


def _write_call(
    outgoing: Outgoing, index: int, call: RowValue, calls: dict[str, _Call], number: int
) -> dict[str, Any]:
    """Return the part for a call, and add the call to those without an answer."""
    id, name = call.need("id"), name_of(call)
    is_renamed = id.text() != f"call_{number}"
    if is_renamed:
        outgoing.note(id, ID, index)
    calls[id.value] = _Call(len(calls), name, is_renamed)
    return {"functionCall": {"name": name, "args": arguments_of(call)}}


def _write_answers(
    outgoing: Outgoing, messages: Indexed, calls: dict[str, _Call]
) -> dict[str, Any]:
    """Return the content for the answers to calls, in the order of the calls.

    Results have no ids, so those of one function must be in that order.
    """
    answers = []
    for index, message in messages:
        id = message.need("tool_call_id")
        call = calls.pop(id.text(), None)
        if call is None:
            id.fail("answer to no call of the message before it, or to one that has an answer")
        if call.is_renamed:
            outgoing.note(id, ID, index)
        name = message.get("name")
        outgoing.lose_keys(index, message, {"name"} if name and name.value == call.name else ())
        response = _write_result(outgoing, index, message.need("content"))
        part = {"functionResponse": {"name": call.name, "response": response}}
        answers.append((call.order, part))
    orders = [order for order, _ in answers]
    if orders != sorted(orders):
        for index, message in messages:
            outgoing.note(message, "order of the answers to tool calls", index)
    return {"role": "user", "parts": [part for _, part in sorted(answers, key=itemgetter(0))]}


def _write_result(outgoing: Outgoing, index: int, content: RowValue) -> dict[str, Any]:
    response = response_object(content.text())
    if response_text(RowValue(response)) != content.value:
        outgoing.note(content, "spelling of the result of a tool", index)
    return response


def _write_part(outgoing: Outgoing, index: int, part: RowValue) -> dict[str, Any]:
    url = outgoing.image_url(index, part)
    if url is None:
        return {"text": part.need("text").text()}
    data = split_data_url(url.value)
    if data:
        return {"inlineData": {"mimeType": data[0], "data": data[1]}}
    type = media_type(url.value)
    if type is None:
        url.fail("image whose type its URL does not tell")
    return {"fileData": {"mimeType": type, "fileUri": url.value}}


def _write_tool(outgoing: Outgoing, tool: RowValue) -> dict[str, Any]:
    function = tool.need("function")
    declaration: dict[str, Any] = {"name": name_of(tool)}
    if function.get("description"):
        declaration["description"] = function.value["description"]
    parameters = function.get("parameters")
    if parameters is not None:
        declaration["parameters"] = to_gemini_schema(parameters, outgoing.lose)
    for other in function.others({"name", "description", "parameters"}):
        outgoing.lose(other, "strict mode of a tool", is_loss=other.value is not False)
    return declaration


FORMATS = (
    RowFormat(
        name="gemini",
        group="Other providers",
        title="Gemini",
        layout=LAYOUT,
        source=SOURCE,
        shapes=("gemini",),
        recognizes=recognizes,
        read=read,
        write=write,
        losses=(
            "weights, names and refusals of messages",
            "system messages after the beginning",
            "thoughts, and parts that are no text and no image",
            "`strict` of tools, and keywords that Gemini's schemas lack",
            "`detail` of images",
        ),
        notes=(
            "Calls have no ids: an answer is that of the first open call of its function.",
            'The result of a function is an object: a text becomes {"output": TEXT}.',
            "Arguments are objects: their spelling is lost, and a text that an object cannot hold "
            "exactly is rejected.",
        ),
    ),
)
