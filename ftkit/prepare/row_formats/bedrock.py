"""Amazon Bedrock: Nova's conversations, and the rows for Titan and Claude."""

from __future__ import annotations

import re
from typing import Any

from ftkit.prepare.example import Example, Extra, ExtraKind
from ftkit.prepare.row_formats import anthropic
from ftkit.prepare.row_formats.base import RowError, RowFormat
from ftkit.prepare.row_formats.shared.draft import Draft, Part, function_tool, image_part, text_part
from ftkit.prepare.row_formats.shared.json_text import to_text
from ftkit.prepare.row_formats.shared.media import data_url, media_type
from ftkit.prepare.row_formats.shared.outgoing import Indexed, Outgoing, calls_of, parts_of, role_of
from ftkit.prepare.row_formats.shared.plain import add_text
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.rules.sources import Source

NOVA = Source(
    "Amazon Nova, preparing data for fine-tuning",
    "https://docs.aws.amazon.com/nova/latest/userguide/fine-tune-prepare-data-understanding.html",
)
TEXT = Source(
    "Amazon Bedrock, preparing data for text-to-text models",
    "https://docs.aws.amazon.com/bedrock/latest/userguide/preparing-text-data.html",
)
CLAUDE = Source(
    "Anthropic cookbook, fine-tuning Claude 3 Haiku on Bedrock",
    "https://platform.claude.com/cookbook/finetuning-finetuning-on-bedrock",
)

SCHEMA_VERSION = "bedrock-conversation-2024"
RESERVED = re.compile(r"User:|Bot:|Assistant:|System:|<image>|<video>|\[EOS\]")
"""Keywords in a system or user prompt with which a job fails."""

NOVA_LAYOUT = (
    '{"schemaVersion":"bedrock-conversation-2024","system":[{"text":"You are brief."}],"messages":'
    '[{"role":"user","content":[{"text":"What is this?"},{"image":{"format":"png","source":{'
    '"s3Location":{"uri":"s3://bucket/train/1.png"}}}}]},{"role":"assistant","content":[{"text":'
    '"A red circle."}]}]}'
)
CLAUDE_LAYOUT = (
    '{"system":"You are brief.","messages":[{"role":"user","content":"2 + 2?"},{"role":'
    '"assistant","content":"4"}]}'
)


def recognizes_nova(value: dict[str, Any]) -> bool:
    """Return True for an object with the version of Bedrock's schema."""
    version = value.get("schemaVersion")
    return isinstance(version, str) and version.startswith("bedrock-")


def read_nova(value: dict[str, Any]) -> Example:
    """Convert a row for Nova, or a request to the Converse API, to an example."""
    row, draft = RowValue(value), Draft()
    system, tools = row.get("system"), row.get("toolConfig")
    if system is not None:
        texts = [text_part(block.need("text").text()) for block in system.elements()]
        draft.add(system, "system", texts)
        for block in system.elements():
            draft.lose_others(block, {"text"}, message=0)
    for message in row.need("messages").elements():
        _read_message(draft, message)
    if tools is not None:
        for tool in tools.need("tools").elements():
            _read_tool(draft, tool)
        draft.lose_others(tools, {"tools"})
    draft.lose_others(row, {"schemaVersion", "system", "messages", "toolConfig"})
    return draft.example()


def _read_message(draft: Draft, message: RowValue) -> None:
    role = message.need("role")
    if role.text() not in ("user", "assistant"):
        role.fail("unknown role", repr(role.value))
    parts: list[Part] = []
    calls: list[dict[str, Any]] = []
    first = draft.next
    draft.lose_others(message, {"role", "content"}, message=first)
    for block in message.need("content").elements():
        call, result = block.get("toolUse"), block.get("toolResult")
        if call is not None and role.value == "assistant":
            name, input = call.need("name").text(), call.need("input").object()
            calls.append(draft.call(call, name, input, call.need("toolUseId").text()))
            draft.lose_others(call, {"name", "input", "toolUseId"}, message=draft.next)
        elif result is not None and role.value == "user":
            if parts:
                draft.add(message, "user", parts)
                parts = []
            _read_result(draft, result)
        else:
            if calls:
                draft.lose(block, "place of a block after a tool call", draft.next)
            parts += _read_block(draft, block)
    if parts or calls:
        draft.add(message, role.value, parts, calls)
    elif draft.next == first:
        message.fail("no text, image or tool call")


def _read_block(draft: Draft, block: RowValue) -> list[Part]:
    text, image = block.get("text"), block.get("image")
    if text is not None:
        draft.lose_others(block, {"text"}, message=draft.next)
        return [text_part(text.text())]
    if image is None:
        is_reasoning = block.get("reasoningContent") is not None
        kind = "reasoning" if is_reasoning else "block that is no text, image or tool call"
        draft.lose(block, kind, draft.next)
        return []
    draft.lose_others(block, {"image"}, message=draft.next)
    draft.lose_others(image, {"format", "source"}, message=draft.next)
    format, source = image.need("format").text(), image.need("source")
    data, location = source.get("bytes"), source.get("s3Location")
    if data is not None:
        return [image_part(data_url(f"image/{format}", data.text()))]
    if location is None:
        source.fail("no `bytes` and no `s3Location`")
    uri = location.need("uri")
    if media_type(uri.text()) != f"image/{format}":
        draft.lose(image.child("format"), "type of an image", draft.next)
    draft.lose_others(location, {"uri"}, message=draft.next)
    return [image_part(uri.value)]


def _read_result(draft: Draft, result: RowValue) -> None:
    """Read the result of a tool: texts, or JSON."""
    texts = []
    index = draft.next
    for block in result.need("content").elements():
        text, json = block.get("text"), block.get("json")
        if text is not None:
            texts.append(text.text())
        elif json is not None:
            texts.append(to_text(*json))
        else:
            draft.lose(block, "tool result that is no text and no JSON", index)
    if len(texts) > 1:
        draft.note(result, "texts of a tool result joined by line feeds", index)
    if result.value.get("status") == "error":
        draft.lose(result.child("status"), ExtraKind.IS_ERROR, index)
    draft.lose_others(result, {"toolUseId", "content", "status"}, message=index)
    draft.answer(result, "\n".join(texts), result.need("toolUseId").text())


def _read_tool(draft: Draft, tool: RowValue) -> None:
    spec = tool.get("toolSpec")
    if spec is None:
        draft.lose(tool, "tool of the provider")
        return
    description = spec.get("description")
    draft.tools.append(
        function_tool(
            spec.need("name").text(),
            None if description is None else description.text(),
            spec.need("inputSchema").need("json").object(),
        )
    )
    draft.lose_others(spec, {"name", "description", "inputSchema"})


def write_nova(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    """Convert an example to a row for Nova.

    Raises:
        RowError: It has tool calls, does not alternate from user to assistant, or has a text with
            which a job fails.
    """
    outgoing = Outgoing(example)
    outgoing.lose_parallel_tool_calls()
    for tool in outgoing.tools():
        outgoing.lose(tool, "tool")
    system, messages = outgoing.split_system()
    _check_turns(messages)
    row: dict[str, Any] = {"schemaVersion": SCHEMA_VERSION}
    if system:
        row["system"] = [
            _write_part(outgoing, index, part) for index, item in system for part in parts_of(item)
        ]
    row["messages"] = []
    for index, message in messages:
        outgoing.lose_keys(index, message)
        content = [_write_part(outgoing, index, part) for part in parts_of(message)]
        if not content:
            message.fail("message without content")
        row["messages"].append({"role": role_of(message), "content": content})
    for _, message in [*system, *messages]:
        if role_of(message) != "assistant":
            _check_keywords(message)
    return outgoing.finish(row)


def _check_turns(messages: Indexed) -> None:
    for position, (_, message) in enumerate(messages):
        role = role_of(message)
        if role == "tool" or calls_of(message):
            message.fail("tool calls have no place in the format")
        if role != ("user", "assistant")[position % 2]:
            message.fail("roles do not alternate from user to assistant")
    if len(messages) % 2 or not messages:
        raise RowError("the last message is not the assistant's", "/messages")


def _check_keywords(message: RowValue) -> None:
    for part in parts_of(message):
        keyword = RESERVED.search(part.value.get("text") or "")
        if keyword:
            part.fail("reserved keyword, with which a job fails", keyword[0])


def _write_part(outgoing: Outgoing, index: int, part: RowValue) -> dict[str, Any]:
    url = outgoing.image_url(index, part)
    if url is None:
        return {"text": part.need("text").text()}
    type = media_type(url.value)
    if type is None or not url.value.startswith("s3://"):
        url.fail("image that is not in Amazon S3 under a name with its type")
    source = {"s3Location": {"uri": url.value}}
    return {"image": {"format": type.removeprefix("image/"), "source": source}}


def read_titan(value: dict[str, Any]) -> Example:
    """Convert a row for Titan to an example."""
    row, draft = RowValue(value), Draft()
    prompt, completion = row.need("prompt"), row.need("completion")
    add_text(draft, prompt, "user")
    draft.add(completion, "assistant", [text_part(completion.text())])
    draft.lose_others(row, {"prompt", "completion"})
    return draft.example()


def recognizes_claude(value: dict[str, Any]) -> bool:
    """Return True for a system prompt and messages, all of them texts."""
    messages = value.get("messages")
    return (
        value.keys() == {"system", "messages"}
        and isinstance(value["system"], str)
        and isinstance(messages, list)
        and all(
            isinstance(item, dict) and isinstance(item.get("content"), str) for item in messages
        )
    )


def read_claude(value: dict[str, Any]) -> Example:
    """Convert a row for Claude 3 Haiku, which has texts only, to an example."""
    for message in RowValue(value).need("messages").elements():
        message.need("content").text()
    return anthropic.read(value)


FORMATS = (
    RowFormat(
        name="bedrock-nova",
        group="Other providers",
        title="Amazon Bedrock, Nova",
        layout=NOVA_LAYOUT,
        source=NOVA,
        shapes=("bedrock",),
        recognizes=recognizes_nova,
        read=read_nova,
        write=write_nova,
        losses=(
            "tools, and weights, names and refusals of messages",
            "reasoning, videos and documents",
            "the account that owns an image",
            "system messages after the beginning",
        ),
        notes=(
            "Rows with tool calls are read, but not written: fine-tuning does not take them.",
            "Written rows alternate from user to assistant. A user or system prompt with a "
            "reserved keyword, such as `User:` or `[EOS]`, is rejected.",
        ),
    ),
    RowFormat(
        name="bedrock-titan",
        group="Other providers",
        title="Amazon Bedrock, Titan",
        layout='{"prompt":"What is the capital of France?","completion":"Paris."}',
        source=TEXT,
        shapes=("completions",),
        read=read_titan,
        losses=("other keys",),
    ),
    RowFormat(
        name="bedrock-claude",
        group="Other providers",
        bookkeeping=anthropic.REQUEST_KEYS,
        title="Amazon Bedrock, Claude 3 Haiku",
        layout=CLAUDE_LAYOUT,
        source=CLAUDE,
        recognizes=recognizes_claude,
        read=read_claude,
        losses=("other keys",),
    ),
)
