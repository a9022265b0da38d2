"""The dataset formats. Everything that is specific to a format is in its `Format`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Literal, get_args

import msgspec
from msgspec import UNSET, Struct

from ftkit.dataset.canonical import chat_parts, cut_at, graded_parts
from ftkit.dataset.types import (
    Answer,
    Chat,
    Completions,
    FunctionCall,
    FunctionDefinition,
    Graded,
    ImagePart,
    Message,
    Preference,
    PromptMessage,
    Reinforcement,
    TextPart,
    ToolDefinition,
)
from ftkit.errors import UnknownNameError, did_you_mean

_decode_any = msgspec.json.Decoder().decode


class Conversation(Struct, gc=False):
    """Consecutive messages of an example, and their place in it."""

    path: str
    """JSON path of the list of messages."""
    part: Literal["chat", "input", "output", "reinforcement"]
    """Role of the messages: a conversation to train on, the prompt of a preference example, one of
    its two outputs, or a prompt that the model answers during training."""
    messages: list[Any]
    tools: list[ToolDefinition] | None
    """None if the line has none."""
    functions: list[FunctionDefinition] | None
    """None if the line has none."""
    before: list[Any] = []
    """Messages that an output answers."""


class Text(Struct, gc=False):
    """A prompt or a completion: the part of a sequence that is not a message."""

    kind: Literal["prompt", "completion"]
    text: str


TrainingSequence = list[tuple[str, Any, bool]]
"""Messages, or `Text`, in order: the JSON path of each, itself, and if it may be trained on."""


class Format(Struct, frozen=True, kw_only=True, dict=True):
    """A dataset format."""

    name: str
    type: type[Struct]
    """Type of a line, from which its JSON Schema is generated."""
    method: Literal["supervised", "dpo", "reinforcement"]
    """Training method that takes the format."""
    keys: tuple[str, ...]
    """Keys that are enough to tell a line of this format from a damaged line of another."""
    recognizes: Callable[[dict[str, Any], set[str]], bool]
    """Return True if an object, given with its keys in lower case, looks like this format."""
    lookalikes: tuple[str, ...] = ()
    """Formats that look like this one if all lines end with a message to the model."""
    decode: Callable[[bytes], Any]
    """Decode a line. Raises the errors of msgspec or `UnicodeDecodeError`."""
    build: Callable[[Any], Any]
    """Convert a JSON object to an example. Raises the errors of msgspec."""
    conversations: Callable[[Any], tuple[Conversation, ...]]
    """Return the conversations of an example; the first holds its prompt."""
    prompt_and_answer: Callable[[Any, bytes], tuple[bytes, bytes]]
    """Return bytes that identify the prompt and the answer.

    It takes an example and its canonical form.
    """
    texts: Callable[[Any], Iterator[tuple[str, str]]]
    """Yield each text of an example with its JSON path."""
    sequences: Callable[[Any], Iterator[TrainingSequence]]
    """Yield the sequences of an example."""
    message_lists: tuple[tuple[str, ...], ...] = ()
    """Keys that lead to each list of messages."""
    message_type: Any = Message
    """Union of the types of its messages."""
    may_be_bare: Callable[[Any], bool] = lambda example: False
    """Return True for an example that holds `messages` and, perhaps, tools and functions only."""
    may_be_deep: Callable[[Any], bool] = lambda example: False
    """Return True for an example with values of any type, which can be nested deeply."""
    grader_fields: Callable[[Any], dict[str, Any]] | None = None
    """Return the fields of an example for the grader."""
    prompt_and_completion: Callable[[Any], tuple[str, str]] | None = None
    """Return the texts of an example whose style is measured."""
    extra_keys: int = 0
    """Number of keys of a decoded example that are not in its line."""

    def messages(self, example: Any) -> list[Any]:
        """Return the messages of the first sequence: the prompt and the first output."""
        return [
            message
            for conversation in self.conversations(example)[:2]
            for message in conversation.messages
        ]

    def fits(self, value: dict[str, Any]) -> bool:
        """Return True if an object without its unknown keys is an example of this format."""
        names = self.type.__struct_encode_fields__
        try:
            self.build({name: value[name] for name in names if name in value})
        except (msgspec.ValidationError, ValueError, TypeError, RecursionError):
            return False
        return True

    @cached_property
    def placeholders(self) -> dict[str, dict[str, str]]:
        """A valid message of each role, which stands for a message that cannot be decoded."""
        return {
            type_.__struct_config__.tag: {"role": type_.__struct_config__.tag, "content": "?"}
            | {field.name: "?" for field in msgspec.structs.fields(type_) if field.required}
            for type_ in get_args(self.message_type)
        }


def _unset_to_none(value: Any) -> Any:
    return None if value is UNSET else value


def _chat_conversations(example: Chat) -> tuple[Conversation, ...]:
    tools, functions = _unset_to_none(example.tools), _unset_to_none(example.functions)
    return (Conversation("$.messages", "chat", example.messages, tools, functions),)


def _preference_conversations(example: Preference) -> tuple[Conversation, ...]:
    before, tools = example.input.messages, _unset_to_none(example.input.tools)
    better, worse = example.preferred_output, example.non_preferred_output
    return (
        Conversation("$.input.messages", "input", before, tools, None),
        Conversation("$.preferred_output", "output", better, tools, None, before),
        Conversation("$.non_preferred_output", "output", worse, tools, None, before),
    )


def _reinforcement_conversations(example: Graded) -> tuple[Conversation, ...]:
    tools = _unset_to_none(example.tools)
    return (Conversation("$.messages", "reinforcement", example.messages, tools, None),)


def message_texts(path: str, message: Any) -> Iterator[tuple[str, str]]:
    """Yield each text of a message with its JSON path."""
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
) -> Callable[[Any], Iterator[TrainingSequence]]:
    def sequences(example: Any) -> Iterator[TrainingSequence]:
        first, *outputs = conversations(example)
        prompt = _sequence(first)
        if outputs:
            yield from ([*prompt, *_sequence(output)] for output in outputs)
        else:
            yield prompt

    return sequences


def _sequence(conversation: Conversation) -> TrainingSequence:
    trainable = conversation.part != "input"
    return [
        (f"{conversation.path}[{index}]", message, trainable)
        for index, message in enumerate(conversation.messages)
    ]


def _completions_texts(example: Completions) -> Iterator[tuple[str, str]]:
    yield "$.prompt", example.prompt
    yield "$.completion", example.completion


def _completions_sequences(example: Completions) -> Iterator[TrainingSequence]:
    yield [
        ("$.prompt", Text("prompt", example.prompt), False),
        ("$.completion", Text("completion", example.completion), True),
    ]


def _builder(type_: type[Struct]) -> Callable[[Any], Any]:
    return lambda data: msgspec.convert(data, type_)


def _build_graded(data: Any) -> Graded:
    prompt = msgspec.convert(data, Reinforcement)
    names = Reinforcement.__struct_fields__
    graded = Graded(*(getattr(prompt, name) for name in names))
    graded.fields = {key: value for key, value in data.items() if key not in names}
    return graded


def _decode_graded(line: bytes) -> Graded:
    return _build_graded(_decode_any(line))


def ends_with_assistant(value: dict[str, Any]) -> bool:
    """Return False if the last message of an object is certainly not the assistant's."""
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return True
    return messages[-1].get("role") not in ("user", "system", "developer", "tool", "function")


PREFERENCE_KEYS = {
    *("preferred_output", "non_preferred_output", "preferred_completion"),
    *("non_preferred_completion", "chosen", "rejected"),
}
"""Keys that only preference examples have, by this and by other names."""

OUTPUT_KEYS = {"preferred_output", "non_preferred_output"}
"""Keys of the two answers of a preference example."""

_PROMPT_KEYS = {"messages", "tools", "parallel_tool_calls", "functions"}


def has_own_keys(value: dict[str, Any], keys: set[str]) -> bool:
    """Return True if an object has the keys of a format, whatever other keys it has."""
    return _has_preference_keys(keys) or _has_supervised_values(value)


def _has_preference_keys(keys: set[str]) -> bool:
    return keys >= OUTPUT_KEYS or keys >= {"input", "preferred_output"}


def _has_supervised_values(value: dict[str, Any]) -> bool:
    """Return True if an object has an array of messages, or a prompt and a completion."""
    if isinstance(value.get("messages"), list):
        return True
    return isinstance(value.get("prompt"), str) and isinstance(value.get("completion"), str)


def _is_preference(value: dict[str, Any], keys: set[str]) -> bool:
    if _has_preference_keys(keys):
        return True
    is_similar = bool(keys & PREFERENCE_KEYS) or isinstance(value.get("input"), dict)
    return is_similar and not _has_supervised_values(value)


def _has_messages(value: dict[str, Any], keys: set[str]) -> bool:
    return "messages" in keys and not _is_preference(value, keys)


def _is_reinforcement(value: dict[str, Any], keys: set[str]) -> bool:
    grader_fields = keys - _PROMPT_KEYS
    return _has_messages(value, keys) and bool(grader_fields) and not ends_with_assistant(value)


def _is_chat(value: dict[str, Any], keys: set[str]) -> bool:
    return _has_messages(value, keys) and not _is_reinforcement(value, keys)


def _is_completions(value: dict[str, Any], keys: set[str]) -> bool:
    own = keys & {"prompt", "completion"}
    return bool(own) and "messages" not in keys and not _is_preference(value, keys)


_FORMATS = (
    Format(
        name="chat",
        type=Chat,
        method="supervised",
        keys=("messages",),
        recognizes=_is_chat,
        lookalikes=("reinforcement",),
        decode=msgspec.json.Decoder(Chat).decode,
        build=_builder(Chat),
        conversations=_chat_conversations,
        prompt_and_answer=lambda example, line: chat_parts(example),
        may_be_bare=lambda example: example.parallel_tool_calls is UNSET,
        texts=_texts_of(_chat_conversations),
        sequences=_sequences_of(_chat_conversations),
        message_lists=(("messages",),),
        may_be_deep=lambda example: bool(example.tools),
    ),
    Format(
        name="completions",
        type=Completions,
        method="supervised",
        keys=("prompt", "completion"),
        recognizes=_is_completions,
        decode=msgspec.json.Decoder(Completions).decode,
        build=_builder(Completions),
        conversations=lambda example: (),
        prompt_and_answer=cut_at(b',"completion":"'),
        texts=_completions_texts,
        sequences=_completions_sequences,
        prompt_and_completion=lambda example: (example.prompt, example.completion),
    ),
    Format(
        name="preference",
        type=Preference,
        method="dpo",
        keys=("input", "preferred_output"),
        recognizes=_is_preference,
        decode=msgspec.json.Decoder(Preference).decode,
        build=_builder(Preference),
        conversations=_preference_conversations,
        prompt_and_answer=cut_at(b',"preferred_output":['),
        texts=_texts_of(_preference_conversations),
        sequences=_sequences_of(_preference_conversations),
        message_lists=(("input", "messages"), ("preferred_output",), ("non_preferred_output",)),
        may_be_deep=lambda example: True,
    ),
    Format(
        name="reinforcement",
        type=Reinforcement,
        method="reinforcement",
        keys=("messages",),
        recognizes=_is_reinforcement,
        decode=_decode_graded,
        build=_build_graded,
        conversations=_reinforcement_conversations,
        prompt_and_answer=graded_parts,
        texts=_texts_of(_reinforcement_conversations),
        sequences=_sequences_of(_reinforcement_conversations),
        message_lists=(("messages",),),
        message_type=PromptMessage,
        may_be_deep=lambda example: True,
        grader_fields=lambda example: example.fields,
        extra_keys=1,
    ),
)
FORMATS: dict[str, Format] = {format.name: format for format in _FORMATS}
"""The formats by name."""

METHODS: dict[str, str] = {format.name: format.method for format in _FORMATS}
"""Training method of each format."""


def find_format(name: str) -> Format:
    """Return the format of a name.

    Raises:
        UnknownNameError: There is no such format.
    """
    if name not in FORMATS:
        hint = did_you_mean(name, FORMATS, otherwise=".")
        raise UnknownNameError(f"unknown format {name!r}{hint} Known: {', '.join(FORMATS)}.")
    return FORMATS[name]


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a line of a format.

    Raises:
        UnknownNameError: There is no such format.
    """
    (reference,), components = msgspec.json.schema_components([find_format(name).type])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{name}: one line of the file",
        **reference,
        "$defs": components,
    }
