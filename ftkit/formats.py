"""The dataset formats, as types: the one definition from which both the fast decoder and the JSON Schema come.

A field that may be absent has the default `UNSET`; where `None` is in its type too, an explicit null means the same as an
absent field (exports of API answers are full of them). Shapes follow OpenAI's API description: its edition of 2025-03-21
still had the schemas of the lines, that of 2026-08-21 the types of the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ftkit.errors import UnknownName, did_you_mean


class TextPart(Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    text: str


class RefusalPart(Struct, tag_field="type", tag="refusal", forbid_unknown_fields=True):
    refusal: str


class ImageUrl(Struct, forbid_unknown_fields=True):
    url: str
    detail: Literal["auto", "low", "high"] | UnsetType = UNSET


class ImagePart(Struct, tag_field="type", tag="image_url", forbid_unknown_fields=True):
    image_url: ImageUrl


class FunctionCall(Struct, forbid_unknown_fields=True):
    name: str
    arguments: str


class ToolCall(Struct, forbid_unknown_fields=True):
    id: str
    type: Literal["function"]
    function: FunctionCall


class FunctionDefinition(Struct, forbid_unknown_fields=True):
    name: str
    description: str | None | UnsetType = UNSET
    parameters: dict[str, Any] | None | UnsetType = UNSET
    strict: bool | None | UnsetType = UNSET


class ToolDefinition(Struct, forbid_unknown_fields=True):
    type: Literal["function"]
    function: FunctionDefinition


class System(Struct, tag_field="role", tag="system", forbid_unknown_fields=True):
    content: str | list[TextPart]
    name: str | None | UnsetType = UNSET


class Developer(Struct, tag_field="role", tag="developer", forbid_unknown_fields=True):
    content: str | list[TextPart]
    name: str | None | UnsetType = UNSET


class User(Struct, tag_field="role", tag="user", forbid_unknown_fields=True):
    content: str | list[TextPart | ImagePart]
    name: str | None | UnsetType = UNSET


class Answer(Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True):
    """An assistant message that carries no weight: what reinforcement prompts may hold."""

    content: str | list[TextPart | RefusalPart] | None | UnsetType = UNSET
    name: str | None | UnsetType = UNSET
    refusal: str | None | UnsetType = UNSET
    tool_calls: Annotated[list[ToolCall], Meta(min_length=1)] | None | UnsetType = UNSET
    function_call: FunctionCall | None | UnsetType = UNSET
    audio: None | UnsetType = UNSET


class Assistant(Answer, tag_field="role", tag="assistant", forbid_unknown_fields=True):
    weight: Literal[0, 1] | UnsetType = UNSET


class Tool(Struct, tag_field="role", tag="tool", forbid_unknown_fields=True):
    content: str
    tool_call_id: str
    name: str | None | UnsetType = UNSET


class Function(Struct, tag_field="role", tag="function", forbid_unknown_fields=True):
    content: str | None
    name: str


AnyMessage = System | Developer | User | Answer | Tool | Function
Message = System | Developer | User | Assistant | Tool | Function
PromptMessage = System | Developer | User | Answer | Tool | Function
Tools = list[ToolDefinition] | None | UnsetType
Functions = list[FunctionDefinition] | None | UnsetType
Flag = bool | None | UnsetType


class Chat(Struct, forbid_unknown_fields=True, kw_only=True):
    """Supervised fine-tuning on conversations: `messages`, and the tools they may call."""

    tools: Tools = UNSET
    parallel_tool_calls: Flag = UNSET
    functions: Functions = UNSET
    messages: Annotated[list[Message], Meta(min_length=1)]


class Completions(Struct, forbid_unknown_fields=True):
    """Supervised fine-tuning on a `prompt` and its `completion`, for base models."""

    prompt: str
    completion: str


class PreferenceInput(Struct, forbid_unknown_fields=True):
    messages: Annotated[list[Message], Meta(min_length=1)]
    tools: Tools = UNSET
    parallel_tool_calls: Flag = UNSET


class Preference(Struct, forbid_unknown_fields=True):
    """Direct preference optimisation: an `input`, the answer to prefer and the one to avoid."""

    input: PreferenceInput
    preferred_output: Annotated[list[Message], Meta(min_length=1)]
    non_preferred_output: Annotated[list[Message], Meta(min_length=1)]


class Reinforcement(Struct):
    """Reinforcement fine-tuning: `messages` that end with the user, and any further fields for the grader."""

    messages: Annotated[list[PromptMessage], Meta(min_length=1)]
    tools: Tools = UNSET
    parallel_tool_calls: Flag = UNSET


class Graded(Reinforcement):
    """A decoded reinforcement example, its grader fields beside it."""

    fields: dict[str, Any] = {}


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
    `canonical` spells the example as bytes that do not depend on key order, spacing or escapes, and says where in them the
    answer begins. `sequences` are the conversations that are trained on, each message with its path.
    """

    name: str
    type: type[Struct]
    decode: Callable[[bytes], Any]
    build: Callable[[Any], Any]
    conversations: Callable[[Any], tuple[Conversation, ...]]
    canonical: Callable[[Any], tuple[bytes, int]]
    texts: Callable[[Any], Iterator[tuple[str, str]]]
    sequences: Callable[[Any], Iterator[list[tuple[str, Any]]]]


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode_any = msgspec.json.Decoder().decode


def _cut(marker: bytes) -> Callable[[Any], tuple[bytes, int]]:
    """Cut the canonical line where its last `marker` begins. Inside a string the quotes of the marker would be escaped, so
    it can only be found where the structure has it."""

    def canonical(example: Any) -> tuple[bytes, int]:
        line = _encode(example)
        at = line.rfind(marker)
        return line, at if at >= 0 else len(line)

    return canonical


def _graded_canonical(example: Graded) -> tuple[bytes, int]:
    answer = _encode(example.fields)
    prompt = _encode(example).removesuffix(b',"fields":' + answer + b"}")
    return prompt + answer, len(prompt)


def _given(value: Any) -> Any:
    return None if value is UNSET else value


def _chat_conversations(example: Chat) -> tuple[Conversation, ...]:
    return (Conversation("$.messages", "chat", example.messages, _given(example.tools), _given(example.functions)),)


def _preference_conversations(example: Preference) -> tuple[Conversation, ...]:
    before, tools = example.input.messages, _given(example.input.tools)
    return (
        Conversation("$.input.messages", "input", before, tools, None),
        Conversation("$.preferred_output", "output", example.preferred_output, tools, None, before),
        Conversation("$.non_preferred_output", "output", example.non_preferred_output, tools, None, before),
    )


def _prompt_conversations(example: Graded) -> tuple[Conversation, ...]:
    return (Conversation("$.messages", "reinforcement", example.messages, _given(example.tools), None),)


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


def _texts_of(conversations: Callable[[Any], tuple[Conversation, ...]]) -> Callable[[Any], Iterator[tuple[str, str]]]:
    def texts(example: Any) -> Iterator[tuple[str, str]]:
        for conversation in conversations(example):
            for index, message in enumerate(conversation.messages):
                yield from message_texts(f"{conversation.path}[{index}]", message)

    return texts


def _sequences_of(conversations: Callable[[Any], tuple[Conversation, ...]]) -> Callable[[Any], Iterator[list[tuple[str, Any]]]]:
    def sequences(example: Any) -> Iterator[list[tuple[str, Any]]]:
        found = conversations(example)
        prompt = _with_paths(found[0])
        yield from ([*prompt, *_with_paths(output)] for output in found[1:]) if found[1:] else (prompt,)

    return sequences


def _with_paths(conversation: Conversation) -> list[tuple[str, Any]]:
    return [(f"{conversation.path}[{index}]", message) for index, message in enumerate(conversation.messages)]


def _completions_texts(example: Completions) -> Iterator[tuple[str, str]]:
    yield "$.prompt", example.prompt
    yield "$.completion", example.completion


def _builder(type_: type[Struct]) -> Callable[[Any], Any]:
    return lambda data: msgspec.convert(data, type_)


def _build_graded(data: Any) -> Graded:
    known = msgspec.convert(data, Reinforcement)
    names = Reinforcement.__struct_fields__
    fields = {key: value for key, value in data.items() if key not in names}
    return Graded(*(getattr(known, name) for name in names), fields)


def _decode_graded(line: bytes) -> Graded:
    return _build_graded(_decode_any(line))


_FORMATS = (
    Format(
        "chat", Chat, msgspec.json.Decoder(Chat).decode, _builder(Chat), _chat_conversations,
        _cut(b'{"role":"assistant"'), _texts_of(_chat_conversations), _sequences_of(_chat_conversations),
    ),
    Format(
        "completions", Completions, msgspec.json.Decoder(Completions).decode, _builder(Completions), lambda example: (),
        _cut(b',"completion":"'), _completions_texts, lambda example: iter(()),
    ),
    Format(
        "preference", Preference, msgspec.json.Decoder(Preference).decode, _builder(Preference), _preference_conversations,
        _cut(b',"preferred_output":['), _texts_of(_preference_conversations),
        _sequences_of(_preference_conversations),
    ),
    Format(
        "reinforcement", Reinforcement, _decode_graded, _build_graded, _prompt_conversations,
        _graded_canonical, _texts_of(_prompt_conversations), _sequences_of(_prompt_conversations),
    ),
)
FORMATS: dict[str, Format] = {format.name: format for format in _FORMATS}
"""The formats by name."""

METHODS = {"chat": "supervised", "completions": "supervised", "preference": "dpo", "reinforcement": "reinforcement"}
"""The training method that each format is for."""


def find_format(name: str) -> Format:
    """The format of that name; raises `UnknownName`."""
    if name not in FORMATS:
        raise UnknownName(f"unknown format {name!r}{did_you_mean(name, FORMATS)} Known: {', '.join(FORMATS)}.")
    return FORMATS[name]


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one line of the format called `name`; raises `UnknownName`."""
    found = find_format(name)
    (reference,), components = msgspec.json.schema_components([found.type])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{name}: one line of the file",
        **reference,
        "$defs": components,
    }


@cache
def lineage(owner: str) -> tuple[str, ...]:
    """The names of the type called `owner` and of those that it derives from, and `*`."""
    found = globals().get(owner)
    names = tuple(base.__name__ for base in found.__mro__ if base.__module__ == __name__) if found else ()
    return (*names, "*")
