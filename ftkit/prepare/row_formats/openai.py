"""OpenAI's formats: chat, completions, preference and reinforcement."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec.structs import replace

from ftkit.dataset import types
from ftkit.prepare.example import Example, Extra, Message
from ftkit.prepare.paths import child
from ftkit.prepare.row_formats.base import RowError, RowFormat
from ftkit.prepare.row_formats.shared.valid_rows import check_row
from ftkit.prepare.row_formats.shared.values import (
    UNKNOWN,
    check_object,
    check_type,
    plain_text,
    read_messages,
    read_tools,
    text_of,
    unknown_keys,
)
from ftkit.rules.sources import OPENAPI, OPENAPI_2025, OWN_CHECK

FUNCTIONS = "functions"
"""Kind of the extra for the deprecated definitions of functions."""

_OPTIONS = ("tools", "parallel_tool_calls")


def read_options(value: dict[str, Any], pointer: str = "") -> dict[str, Any]:
    """Return the attributes of an example for `tools` and `parallel_tool_calls` of a row."""
    tools, extras = read_tools(value.get("tools"), f"{pointer}/tools")
    parallel = value.get("parallel_tool_calls")
    if not isinstance(parallel, bool | None):
        raise RowError("not true or false", f"{pointer}/parallel_tool_calls")
    return {"tools": tools, "parallel_tool_calls": parallel, "extras": extras}


def written_options(example: Example) -> dict[str, Any]:
    """Return the keys for the tools of an example."""
    options = {name: getattr(example, name) for name in _OPTIONS}
    return {name: value for name, value in options.items() if value is not None}


def conversation(example: Example) -> tuple[list[Message], list[Extra]]:
    """Return the messages of an example as one conversation to train on, and what it lacks."""
    lost = [Extra(child("", name), "grader field", value) for name, value in example.fields.items()]
    if example.rejected is not None:
        lost.append(Extra(example.rejected_place, "rejected answer", example.rejected))
    return [*example.messages, *(example.chosen or [])], lost


def _read_chat(value: dict[str, Any]) -> Example:
    if "messages" not in check_object(value):
        raise RowError("`messages` is missing")
    messages, extras = read_messages(value["messages"], "/messages")
    example = Example(messages=messages, **read_options(value))
    example.extras += extras
    functions = value.get("functions")
    if functions is not None:
        functions, extras = check_type(functions, list[types.FunctionDefinition], "/functions")
        example.extras += [Extra("/functions", FUNCTIONS, functions), *extras]
    example.extras += unknown_keys(value, ("messages", *_OPTIONS, "functions"))
    return example


def _write_chat(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    messages, lost = conversation(example)
    if all(message["role"] != "assistant" for message in messages):
        raise RowError("no answer of the assistant to train on")
    functions, extras = example.select(FUNCTIONS)
    return {"messages": messages, **written_options(example), **functions}, [*lost, *extras]


def _read_completions(value: dict[str, Any]) -> Example:
    keys = {"prompt": "user", "completion": "assistant"}
    texts = {key: text_of(check_object(value), key) for key in keys}
    if not texts["prompt"]:
        del texts["prompt"]  # a text without a prompt
    return Example(
        messages=[{"role": keys[key], "content": text} for key, text in texts.items()],
        extras=unknown_keys(value, keys),
        places=[f"/{key}" for key in texts],
    )


def _read_array(value: Any) -> Example:
    messages, extras = read_messages(value, "")
    places = [f"/{index}" for index in range(len(messages))]
    return Example(messages=messages, extras=extras, places=places)


def _write_completions(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    messages, lost = conversation(example)
    lost += example.extras + lost_options(example)
    roles = [message["role"] for message in messages]
    if roles not in (["user", "assistant"], ["assistant"]):
        raise RowError("not one question and one answer")
    texts = []
    for index, message in enumerate(messages):
        text, more = plain_text(example, index, message)
        texts.append(text)
        lost += more
    if len(texts) == 2 and not texts[0]:
        lost.append(example.lost("empty question", 0, "content", ""))
    prompt, completion = texts if len(texts) == 2 else ("", *texts)
    return {"prompt": prompt, "completion": completion}, lost


def lost_options(example: Example) -> list[Extra]:
    """Return the extras for the tools of an example, for a format without them."""
    return [Extra(f"/{name}", name, value) for name, value in written_options(example).items()]


def _read_preference(value: dict[str, Any]) -> Example:
    for key in ("input", "preferred_output", "non_preferred_output"):
        if key not in check_object(value):
            raise RowError(f"`{key}` is missing")
    prompt = check_object(value["input"], "/input")
    messages, extras = read_messages(prompt.get("messages"), "/input/messages")
    outputs = []
    for key in ("preferred_output", "non_preferred_output"):
        output, more = read_messages(value[key], f"/{key}", -1)
        outputs.append(output)
        extras += more
    example = Example(
        messages=messages,
        chosen=outputs[0],
        rejected=outputs[1],
        chosen_place="/preferred_output",
        rejected_place="/non_preferred_output",
        places=[f"/input/messages/{index}" for index in range(len(messages))],
        **read_options(prompt, "/input"),
    )
    example.extras += extras + unknown_keys(prompt, ("messages", *_OPTIONS), "/input")
    keys = ("input", "preferred_output", "non_preferred_output")
    example.extras += unknown_keys(value, keys)
    return example


def _write_preference(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    if example.chosen is None or example.rejected is None:
        raise RowError("not two answers to one prompt")
    row = {
        "input": {"messages": example.messages, **written_options(example)},
        "preferred_output": example.chosen,
        "non_preferred_output": example.rejected,
    }
    fields = [
        Extra(child("", name), "grader field", value) for name, value in example.fields.items()
    ]
    return row, [*fields, *example.extras]


def _read_reinforcement(value: dict[str, Any]) -> Example:
    if "messages" not in check_object(value):
        raise RowError("`messages` is missing")
    messages, extras = read_messages(value["messages"], "/messages")
    example = Example(messages=messages, **read_options(value))
    example.extras += extras
    example.fields = {key: item for key, item in value.items() if key not in _PROMPT_KEYS}
    if value.get("functions") is not None:
        example.extras.append(Extra("/functions", FUNCTIONS, value["functions"]))
    return example


_PROMPT_KEYS = ("messages", *_OPTIONS, "functions")


def _write_reinforcement(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    messages, lost = conversation(example)
    if messages[-1]["role"] == "assistant":
        lost.append(example.lost("answer", len(messages) - 1, "", messages[-1]))
        messages = messages[:-1]
    for index, message in enumerate(messages):
        if "weight" in message:
            lost.append(example.lost("weight", index, "weight", message["weight"]))
            message = {key: item for key, item in message.items() if key != "weight"}
        if message["role"] == "system":
            kind = "system message as developer message"
            lost.append(replace(example.lost(kind, index, "role", "system"), is_loss=False))
            message = {**message, "role": "developer"}
        messages[index] = message
    lost = [extra for extra in lost if extra.kind != "grader field"]
    row = {"messages": messages, **written_options(example), **example.fields}
    for extra in example.extras:
        name = extra.pointer[1:].replace("~1", "/").replace("~0", "~")
        if extra.kind == UNKNOWN and extra.message < 0 and "/" not in name and name not in row:
            row[name] = extra.value
        else:
            lost.append(extra)
    return row, lost


FORMATS = (
    RowFormat(
        name="chat",
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
        title="Arrays of messages",
        layout='[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]',
        source=OWN_CHECK,
        shapes=("array",),
        read=_read_array,
    ),
    RowFormat(
        name="completions",
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
        title="OpenAI reinforcement",
        layout='{"messages": [{"role": "user", "content": "2 + 2?"}], "answer": "4"}',
        source=OPENAPI,
        holds="prompt",
        shapes=("reinforcement",),
        read=_read_reinforcement,
        write=_write_reinforcement,
        check=partial(check_row, name="reinforcement"),
        losses=("the last answer", "weights"),
        notes=(
            "Keys that the source format does not know become fields for the grader, and system "
            "messages become developer messages.",
        ),
    ),
)
