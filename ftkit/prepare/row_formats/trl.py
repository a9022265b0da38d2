"""TRL's formats: messages, prompts with completions, texts, and prompts alone."""

from __future__ import annotations

from typing import Any

from ftkit.prepare.example import Example, Extra, ExtraKind, Message
from ftkit.prepare.row_formats.base import RowError, RowFormat
from ftkit.prepare.row_formats.shared.draft import Draft
from ftkit.prepare.row_formats.shared.outgoing import Outgoing, role_of
from ftkit.prepare.row_formats.shared.plain import lose_tools, text_parts, texts_of
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.prepare.row_formats.shared.trl_messages import (
    THINKING,
    read_trl_messages,
    read_trl_tools,
    written_trl_messages,
)
from ftkit.prepare.row_formats.shared.values import unknown_keys
from ftkit.rules.sources import TRL_FORMATS


def read_turns(value: RowValue, role: str, first: int = 0) -> tuple[list[Message], list[Extra]]:
    """Return the messages of a value that is a text or a list of messages, and their extras.

    Args:
        value: The value.
        role: Role of a text.
        first: Index of the first message in the example, or -1 if the extras are the example's.
    """
    if isinstance(value.value, str):
        return [{"role": role, "content": value.value}], []
    return read_trl_messages(value, first)


def make_example(row: RowValue, keys: set[str], **values: Any) -> Example:
    """Return an example with the tools of a row, and extras for the keys that are not known."""
    tools, extras = read_trl_tools(row)
    extras = [*values.pop("extras", ()), *extras, *unknown_keys(row, {*keys, "tools"})]
    return Example(tools=tools, extras=extras, **values)


def read_conversation(value: dict[str, Any]) -> Example:
    """Convert a row with messages to an example."""
    row = RowValue(value)
    messages, extras = read_trl_messages(row.need("messages"))
    return make_example(row, {"messages"}, messages=messages, extras=extras)


def write_messages(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    """Convert an example to a row with messages."""
    outgoing = Outgoing(example)
    messages = written_trl_messages(outgoing, outgoing.messages())
    return outgoing.finish({"messages": messages, **written_tools(outgoing)})


def written_tools(outgoing: Outgoing) -> dict[str, Any]:
    """Return the key for the tools of an example, if it has some."""
    outgoing.lose_parallel_tool_calls()
    tools = [tool.value for tool in outgoing.tools()]
    return {"tools": tools} if tools else {}


def read_completion(value: dict[str, Any]) -> Example:
    """Convert a row with a prompt and a completion to an example, which trains on the latter."""
    row = RowValue(value)
    if "label" in value:
        row.child("label").fail("a label, as rows for KTO have")
    prompt, completion = row.need("prompt"), row.need("completion")
    before, extras = read_turns(prompt, "user") if prompt.value != "" else ([], [])
    after, more = read_turns(completion, "assistant", len(before))
    for message in before:
        if message["role"] == "assistant":
            message["weight"] = 0
    return make_example(
        row,
        {"prompt", "completion"},
        messages=before + after,
        extras=extras + more,
        places=places_of(prompt, before)[: len(before)] + places_of(completion, after),
    )


def places_of(value: RowValue, messages: list[Message]) -> list[str]:
    """Return the JSON pointers to messages that a text or a list of messages was read as."""
    if isinstance(value.value, str):
        return [value.pointer]
    return [f"{value.pointer}/{index}" for index in range(len(messages))]


def write_completion(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    """Convert an example to a row with a prompt and a completion."""
    outgoing = Outgoing(example)
    *prompt, last = outgoing.messages()
    if role_of(last[1]) != "assistant" or not prompt:
        raise RowError("no prompt and answer at the end")
    row_prompt = []
    for index, message in prompt:
        if role_of(message) == "assistant" and message.value.get("weight") != 0:
            outgoing.lose(message, "training on an answer in the prompt", index)
        values = {key: value for key, value in message.value.items() if key != "weight"}
        row_prompt += written_trl_messages(outgoing, [(index, RowValue(values, message.pointer))])
    row = {"prompt": row_prompt, "completion": written_trl_messages(outgoing, [last])}
    return outgoing.finish({**row, **written_tools(outgoing)})


def read_text(value: dict[str, Any]) -> Example:
    """Convert a row with a text to an example with one message of the assistant."""
    row, draft = RowValue(value), Draft()
    text = row.need("text")
    draft.add(text, "assistant", text_parts(text))
    draft.lose_others(row, {"text"})
    return draft.example()


def write_text(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    """Convert an example that is one text to a row."""
    outgoing = Outgoing(example)
    lose_tools(outgoing)
    texts = texts_of(outgoing)
    if [role for role, _ in texts] != ["assistant"]:
        raise RowError("not a single text")
    return outgoing.finish({"text": texts[0][1]})


def read_prompt(value: dict[str, Any]) -> Example:
    """Convert a row with a prompt to an example; its other keys are fields for the grader."""
    row = RowValue(value)
    messages, extras = read_turns(row.need("prompt"), "user")
    tools, more = read_trl_tools(row)
    fields = {key: item for key, item in value.items() if key not in ("prompt", "tools")}
    return Example(
        messages=messages,
        tools=tools,
        fields=fields,
        extras=extras + more,
        places=places_of(row.child("prompt"), messages),
    )


def write_prompt(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    """Convert an example to a row with a prompt and fields."""
    outgoing = Outgoing(example)
    messages = outgoing.messages()
    if role_of(messages[-1][1]) == "assistant":
        outgoing.lose(messages[-1][1], "answer", messages.pop()[0])
    row = {"prompt": written_trl_messages(outgoing, messages), **written_tools(outgoing)}
    if row.keys() & example.fields.keys():
        raise RowError("a field for the grader has the name of a key of the format")
    row, lost = outgoing.finish({**row, **example.fields})
    return row, [extra for extra in lost if extra.kind != ExtraKind.GRADER_FIELD]


def _has_objects(value: dict[str, Any]) -> bool:
    """Return True for messages that only TRL's format allows."""
    messages = value.get("messages")
    return isinstance(messages, list) and any(map(_is_trl_only, messages))


def _is_trl_only(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    calls = message.get("tool_calls")
    functions = (
        [call.get("function") for call in calls or () if isinstance(call, dict)]
        if isinstance(calls, list)
        else []
    )
    return THINKING in message or any(
        isinstance(function, dict) and isinstance(function.get("arguments"), dict)
        for function in functions
    )


FORMATS = (
    RowFormat(
        name="trl-messages",
        title="TRL, conversational language modeling",
        layout='{"messages": [{"role": "user", "content": "2+3?"}, {"role": "assistant", '
        '"tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 2, '
        '"b": 3}}}]}, {"role": "tool", "name": "add", "content": "5"}, {"role": "assistant", '
        '"content": "5"}], "tools": [{"type": "function", "function": {"name": "add", '
        '"parameters": {"type": "object", "properties": {}}}}]}',
        source=TRL_FORMATS,
        recognizes=_has_objects,
        read=read_conversation,
        write=write_messages,
        losses=("weights", "`parallel_tool_calls`"),
        notes=(
            "Calls without an id get one, such as `call_1`; results answer the calls before them "
            "by name, or in order.",
            "Calls whose arguments are not a JSON object are rejected.",
        ),
    ),
    RowFormat(
        name="trl-prompt-completion",
        title="TRL, prompt and completion",
        layout='{"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": '
        '"assistant", "content": "Hello!"}]}',
        source=TRL_FORMATS,
        recognizes=lambda value: {"prompt", "completion"} <= value.keys(),
        read=read_completion,
        write=write_completion,
        losses=("training on earlier answers", "`parallel_tool_calls`"),
        notes=("Answers in the prompt get the weight 0, since TRL does not train on them.",),
    ),
    RowFormat(
        name="trl-text",
        title="TRL, language modeling",
        layout='{"text": "The ferry leaves at ten."}',
        source=TRL_FORMATS,
        holds="text",
        shapes=("text",),
        read=read_text,
        write=write_text,
        notes=("A text becomes one message of the assistant, or a completion without a prompt.",),
    ),
    RowFormat(
        name="trl-prompt",
        bookkeeping=frozenset(),
        title="TRL, prompt only",
        layout='{"prompt": [{"role": "user", "content": "2+3?"}], "solution": "5"}',
        source=TRL_FORMATS,
        holds="prompt",
        shapes=("grpo",),
        read=read_prompt,
        write=write_prompt,
        losses=("the last answer", "weights", "`parallel_tool_calls`"),
        notes=("Other keys than `prompt` and `tools` are fields for the grader.",),
    ),
)
