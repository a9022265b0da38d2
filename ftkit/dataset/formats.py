"""The dataset formats: how the lines of each are decoded and how its examples are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from ftkit.dataset.canonical import chat_fingerprint, fingerprint_cut_at, graded_fingerprint
from ftkit.dataset.types import (
    Answer,
    Chat,
    Completions,
    FunctionCall,
    FunctionDefinition,
    Graded,
    ImagePart,
    Preference,
    Reinforcement,
    TextPart,
    ToolDefinition,
)
from ftkit.errors import UnknownNameError, did_you_mean

_decode_any = msgspec.json.Decoder().decode


class Conversation(Struct, gc=False):
    """Some consecutive messages of an example, and where they stand. `part` says what they are for.

    `"chat"`: trained on. `"input"`: answered by the outputs of a preference example. `"output"`: one of its two answers;
    `before` are the messages that it answers. `"reinforcement"`: answered by the model during training.
    `tools` and `functions` are None where the line does not have them.
    """

    path: str
    part: Literal["chat", "input", "output", "reinforcement"]
    messages: list[Any]
    tools: list[ToolDefinition] | None
    functions: list[FunctionDefinition] | None
    before: list[Any] = []


class Format(Struct, frozen=True):
    """A dataset format: how its lines are decoded and how its examples are looked at.

    `decode` raises msgspec's errors or `UnicodeDecodeError`; `build` makes an example of a JSON object already read.
    `fingerprint` gives hashes of the prompt and of the answer that do not depend on key order, spacing or escapes.
    `sequences` are the conversations that are trained on, each message with its path.
    """

    name: str
    type: type[Struct]
    decode: Callable[[bytes], Any]
    build: Callable[[Any], Any]
    conversations: Callable[[Any], tuple[Conversation, ...]]
    fingerprint: Callable[[Any], tuple[int, int]]
    texts: Callable[[Any], Iterator[tuple[str, str]]]
    sequences: Callable[[Any], Iterator[list[tuple[str, Any]]]]


def _given(value: Any) -> Any:
    return None if value is UNSET else value


def _chat_conversations(example: Chat) -> tuple[Conversation, ...]:
    return (
        Conversation(
            "$.messages", "chat", example.messages, _given(example.tools), _given(example.functions)
        ),
    )


def _preference_conversations(example: Preference) -> tuple[Conversation, ...]:
    before, tools = example.input.messages, _given(example.input.tools)
    return (
        Conversation("$.input.messages", "input", before, tools, None),
        Conversation("$.preferred_output", "output", example.preferred_output, tools, None, before),
        Conversation(
            "$.non_preferred_output", "output", example.non_preferred_output, tools, None, before
        ),
    )


def _prompt_conversations(example: Graded) -> tuple[Conversation, ...]:
    return (
        Conversation("$.messages", "reinforcement", example.messages, _given(example.tools), None),
    )


def message_texts(path: str, message: Any) -> Iterator[tuple[str, str]]:
    """The texts of a message, each with its JSON path."""
    content = message.content
    if isinstance(content, str):
        yield f"{path}.content", content
    elif isinstance(content, list):
        for index, part in enumerate(content):
            key = "text" if isinstance(part, TextPart) else "refusal"
            if not isinstance(part, ImagePart):
                yield f"{path}.content[{index}].{key}", getattr(part, key)
    if isinstance(message, Answer):
        if isinstance(message.refusal, str):
            yield f"{path}.refusal", message.refusal
        for index, call in enumerate(message.tool_calls or ()):
            yield f"{path}.tool_calls[{index}].function.arguments", call.function.arguments
        if isinstance(message.function_call, FunctionCall):
            yield f"{path}.function_call.arguments", message.function_call.arguments


def _texts_of(
    conversations: Callable[[Any], tuple[Conversation, ...]],
) -> Callable[[Any], Iterator[tuple[str, str]]]:
    def texts(example: Any) -> Iterator[tuple[str, str]]:
        for conversation in conversations(example):
            for index, message in enumerate(conversation.messages):
                yield from message_texts(f"{conversation.path}[{index}]", message)

    return texts


def _sequences_of(
    conversations: Callable[[Any], tuple[Conversation, ...]],
) -> Callable[[Any], Iterator[list[tuple[str, Any]]]]:
    def sequences(example: Any) -> Iterator[list[tuple[str, Any]]]:
        found = conversations(example)
        prompt = _with_paths(found[0])
        yield from (
            ([*prompt, *_with_paths(output)] for output in found[1:]) if found[1:] else (prompt,)
        )

    return sequences


def _with_paths(conversation: Conversation) -> list[tuple[str, Any]]:
    return [
        (f"{conversation.path}[{index}]", message)
        for index, message in enumerate(conversation.messages)
    ]


def _completions_texts(example: Completions) -> Iterator[tuple[str, str]]:
    yield "$.prompt", example.prompt
    yield "$.completion", example.completion


def _builder(type_: type[Struct]) -> Callable[[Any], Any]:
    return lambda data: msgspec.convert(data, type_)


def _build_graded(data: Any) -> Graded:
    known = msgspec.convert(data, Reinforcement)
    names = Reinforcement.__struct_fields__
    graded = Graded(*(getattr(known, name) for name in names))
    graded.fields = {key: value for key, value in data.items() if key not in names}
    return graded


def _decode_graded(line: bytes) -> Graded:
    return _build_graded(_decode_any(line))


_FORMATS = (
    Format(
        "chat",
        Chat,
        msgspec.json.Decoder(Chat).decode,
        _builder(Chat),
        _chat_conversations,
        chat_fingerprint,
        _texts_of(_chat_conversations),
        _sequences_of(_chat_conversations),
    ),
    Format(
        "completions",
        Completions,
        msgspec.json.Decoder(Completions).decode,
        _builder(Completions),
        lambda example: (),
        fingerprint_cut_at(b',"completion":"'),
        _completions_texts,
        lambda example: iter(()),
    ),
    Format(
        "preference",
        Preference,
        msgspec.json.Decoder(Preference).decode,
        _builder(Preference),
        _preference_conversations,
        fingerprint_cut_at(b',"preferred_output":['),
        _texts_of(_preference_conversations),
        _sequences_of(_preference_conversations),
    ),
    Format(
        "reinforcement",
        Reinforcement,
        _decode_graded,
        _build_graded,
        _prompt_conversations,
        graded_fingerprint,
        _texts_of(_prompt_conversations),
        _sequences_of(_prompt_conversations),
    ),
)
FORMATS: dict[str, Format] = {format.name: format for format in _FORMATS}
"""The formats by name."""

METHODS = {
    "chat": "supervised",
    "completions": "supervised",
    "preference": "dpo",
    "reinforcement": "reinforcement",
}
"""The training method that each format is for."""


def find_format(name: str) -> Format:
    """The format of that name; raises `UnknownNameError`."""
    if name not in FORMATS:
        raise UnknownNameError(
            f"unknown format {name!r}{did_you_mean(name, FORMATS, otherwise='.')} Known: {', '.join(FORMATS)}."
        )
    return FORMATS[name]


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one line of the format called `name`; raises `UnknownNameError`."""
    found = find_format(name)
    (reference,), components = msgspec.json.schema_components([found.type])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{name}: one line of the file",
        **reference,
        "$defs": components,
    }
