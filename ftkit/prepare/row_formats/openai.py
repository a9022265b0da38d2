"""OpenAI's formats: chat, completions, preference and reinforcement."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec.structs import replace

from ftkit.dataset import types
from ftkit.prepare.example import Example, Extra, ExtraKind, Message
from ftkit.prepare.row_formats.base import RowError, RowFormat
from ftkit.prepare.row_formats.shared.draft import Draft
from ftkit.prepare.row_formats.shared.outgoing import Outgoing, conversation, grader_fields
from ftkit.prepare.row_formats.shared.plain import add_text, lose_tools, text_parts, texts_of
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.prepare.row_formats.shared.valid_rows import check_row
from ftkit.prepare.row_formats.shared.values import (
    check_type,
    read_messages,
    read_tools,
    unknown_keys,
)
from ftkit.rules.sources import OPENAPI, OPENAPI_2025, OWN_CHECK

_OPTIONS = ("tools", "parallel_tool_calls")
_CHAT_KEYS = ("messages", *_OPTIONS, "functions")
REFERENCE = "answer as a field for the grader"
"""Kind of an answer that becomes a field for the grader."""

PLAIN_KEYS = frozenset(("role", "content"))
"""Keys of a message that is a text only."""

_OUTPUTS = ("preferred_output", "non_preferred_output")


def read_tool_options(row: RowValue) -> dict[str, Any]:
    """Return the attributes of an example for `tools` and `parallel_tool_calls` of a row."""
    tools, extras = read_tools(row.get("tools"))
    flag = row.get("parallel_tool_calls")
    return {"tools": tools, "parallel_tool_calls": flag and flag.flag(), "extras": extras}


def written_options(example: Example) -> dict[str, Any]:
    """Return the keys for the tools of an example."""
    options = {name: getattr(example, name) for name in _OPTIONS}
    return {name: value for name, value in options.items() if value is not None}


def _read_chat(value: dict[str, Any]) -> Example:
    row = RowValue(value)
    messages, extras = read_messages(row.need("messages"))
    example = Example(messages=messages, **read_tool_options(row))
    functions = row.get("functions")
    if functions is not None:
        definitions, more = check_type(functions, list[types.FunctionDefinition])
        extras += [Extra(functions.pointer, ExtraKind.FUNCTIONS, definitions), *more]
    example.extras += extras + unknown_keys(row, _CHAT_KEYS)
    return example


def _write_chat(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    messages, lost = conversation(example)
    if all(message["role"] != "assistant" for message in messages):
        raise RowError("no answer of the assistant to train on")
    functions, extras = example.split_extras(ExtraKind.FUNCTIONS)
    row = {"messages": messages, **written_options(example)}
    if functions:
        row["functions"] = functions[0].value
    return row, [*lost, *extras]


def _read_completions(value: dict[str, Any]) -> Example:
    row, draft = RowValue(value), Draft()
    completion = row.need("completion")
    add_text(draft, row.need("prompt"), "user")  # unless it is a text without a prompt
    draft.add(completion, "assistant", text_parts(completion))
    draft.lose_others(row, ("prompt", "completion"))
    return draft.example()


def _read_array(value: Any) -> Example:
    messages, extras = read_messages(RowValue(value))
    places = [f"/{index}" for index in range(len(messages))]
    return Example(messages=messages, extras=extras, places=places)


def _write_completions(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    outgoing = Outgoing(example)
    lose_tools(outgoing)
    messages, _ = conversation(example)
    roles = [message["role"] for message in messages]
    if roles not in (["user", "assistant"], ["assistant"]):
        raise RowError("not one question and one answer")
    *prompts, (_, completion) = texts_of(outgoing)
    prompt = prompts[0][1] if prompts else ""
    row, lost = outgoing.finish({"prompt": prompt, "completion": completion})
    if prompts and not prompt:
        lost.append(example.extra_of("empty question", 0, "content", ""))
    return row, lost


def _read_preference(value: dict[str, Any]) -> Example:
    row = RowValue(value)
    prompt = row.need("input")
    messages, extras = read_messages(prompt.need("messages"))
    outputs = []
    for key in _OUTPUTS:
        output, more = read_messages(row.need(key), -1)
        outputs.append(output)
        extras += more
    example = Example(
        messages=messages,
        chosen=outputs[0],
        rejected=outputs[1],
        chosen_place="/preferred_output",
        rejected_place="/non_preferred_output",
        places=[f"/input/messages/{index}" for index in range(len(messages))],
        **read_tool_options(prompt),
    )
    example.extras += extras + unknown_keys(prompt, ("messages", *_OPTIONS))
    example.extras += unknown_keys(row, ("input", *_OUTPUTS))
    return example


def _write_preference(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    if example.chosen is None or example.rejected is None:
        raise RowError("not two answers to one prompt")
    row = {
        "input": {"messages": example.messages, **written_options(example)},
        "preferred_output": example.chosen,
        "non_preferred_output": example.rejected,
    }
    return row, [*grader_fields(example), *example.extras]


def _read_reinforcement(value: dict[str, Any]) -> Example:
    row = RowValue(value)
    messages, extras = read_messages(row.need("messages"))
    example = Example(messages=messages, **read_tool_options(row))
    example.extras += extras
    example.fields = {key: item for key, item in value.items() if key not in _CHAT_KEYS}
    functions = row.get("functions")
    if functions is not None:
        example.extras.append(Extra(functions.pointer, ExtraKind.FUNCTIONS, functions.value))
    return example


def _answer(example: Example, index: int, message: Message) -> Extra:
    """Return the extra for the last answer, which a grader can use if it is the value of a key."""
    place = example.place(index)
    if example.places is not None and place.count("/") == 1 and message.keys() == PLAIN_KEYS:
        return Extra(place, REFERENCE, message["content"], index, is_loss=False)
    return example.extra_of("answer", index, "", message)


def _write_reinforcement(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    messages, lost = conversation(example)
    references: list[Extra] = []
    if messages[-1]["role"] == "assistant":
        answer = _answer(example, len(messages) - 1, messages[-1])
        lost.append(answer)
        if answer.kind == REFERENCE:
            references = [replace(answer, message=-1, is_loss=True)]
        messages = messages[:-1]
    for index, message in enumerate(messages):
        if "weight" in message:
            lost.append(example.extra_of("weight", index, "weight", message["weight"]))
            message = {key: item for key, item in message.items() if key != "weight"}
        if message["role"] == "system":
            kind = "system message as developer message"
            lost.append(replace(example.extra_of(kind, index, "role", "system"), is_loss=False))
            message = {**message, "role": "developer"}
        messages[index] = message
    lost = [extra for extra in lost if extra.kind != ExtraKind.GRADER_FIELD]
    row = {"messages": messages, **written_options(example), **example.fields}
    for extra in [*references, *example.extras]:
        name = extra.pointer[1:].replace("~1", "/").replace("~0", "~")
        if (
            extra.kind in (ExtraKind.UNKNOWN_KEY, ExtraKind.UNUSED, REFERENCE)
            and extra.message < 0
            and "/" not in name
            and name not in row
        ):
            row[name] = extra.value
        else:
            lost.append(extra)
    return row, lost


FORMATS = (
    RowFormat(
        name="chat",
        group="OpenAI",
        title="OpenAI chat",
        layout='{"messages": [{"role": "user", "content": "Hi"}, '
        '{"role": "assistant", "content": "Hello!", "weight": 1}], "tools": []}',
        source=OPENAPI_2025,
        shapes=("chat",),
        read=_read_chat,
        write=_write_chat,
        check=partial(check_row, name="chat"),
        losses=("other keys", "the rejected answer", "fields for a grader"),
    ),
    RowFormat(
        name="array",
        group="OpenAI",
        bookkeeping=frozenset(),
        title="Arrays of messages",
        layout='[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]',
        source=OWN_CHECK,
        shapes=("array",),
        read=_read_array,
    ),
    RowFormat(
        name="completions",
        group="OpenAI",
        title="OpenAI completions",
        layout='{"prompt": "Question: Hi\\n", "completion": " Hello!"}',
        source=OPENAPI_2025,
        shapes=("completions",),
        read=_read_completions,
        write=_write_completions,
        check=partial(check_row, name="completions"),
        losses=("tools", "weights and names", "limits of content parts"),
        notes=(
            "A conversation of more than one question and one answer is rejected. An empty prompt "
            "is no message.",
        ),
    ),
    RowFormat(
        name="preference",
        group="OpenAI",
        title="OpenAI preference",
        layout='{"input": {"messages": [{"role": "user", "content": "Hi"}]}, '
        '"preferred_output": [{"role": "assistant", "content": "Hello!"}], '
        '"non_preferred_output": [{"role": "assistant", "content": "What?"}]}',
        source=OPENAPI_2025,
        holds="preference",
        shapes=("preference",),
        read=_read_preference,
        write=_write_preference,
        check=partial(check_row, name="preference"),
        losses=("other keys", "fields for a grader"),
    ),
    RowFormat(
        name="reinforcement",
        group="OpenAI",
        bookkeeping=frozenset(),
        title="OpenAI reinforcement",
        layout='{"messages": [{"role": "user", "content": "2 + 2?"}], "answer": "4"}',
        source=OPENAPI,
        holds="prompt",
        shapes=("reinforcement",),
        read=_read_reinforcement,
        write=_write_reinforcement,
        check=partial(check_row, name="reinforcement"),
        losses=("the last answer of a conversation", "weights"),
        notes=(
            "Keys that the source format does not know, columns that a mapping does not use, and "
            "the answer of a table become fields for the grader, and system messages become "
            "developer messages.",
        ),
    ),
)
