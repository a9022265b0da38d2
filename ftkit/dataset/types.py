"""Types of dataset examples: the single definition behind the fast decoder and the JSON Schemas.

A field that may be absent defaults to `UNSET`. Where its type also has `None`, null means the same
as an absent field, since exported API responses are full of nulls. The shapes follow OpenAI's API
description: the edition of 2025-03-21 for the lines (its last with their schemas), that of
2026-08-21 for the messages.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType


class TextPart(Struct, tag_field="type", tag="text", forbid_unknown_fields=True, gc=False):
    """Text part of a message."""

    text: str


class RefusalPart(Struct, tag_field="type", tag="refusal", forbid_unknown_fields=True, gc=False):
    """Refusal part of an assistant message."""

    refusal: str


class ImageUrl(Struct, forbid_unknown_fields=True, gc=False):
    """Image of an image part: an HTTP or `data:` URL, and the detail to process it in."""

    url: str
    detail: Literal["auto", "low", "high"] | UnsetType = UNSET


class ImagePart(Struct, tag_field="type", tag="image_url", forbid_unknown_fields=True, gc=False):
    """Image part of a user message."""

    image_url: ImageUrl


class FunctionCall(Struct, forbid_unknown_fields=True, gc=False):
    """Function name and arguments, as a string of JSON, that the assistant calls."""

    name: str
    arguments: str


class ToolCall(Struct, forbid_unknown_fields=True, gc=False):
    """Tool call of an assistant message."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class FunctionDefinition(Struct, forbid_unknown_fields=True, gc=False):
    """Function that the assistant may call; `parameters` is a JSON Schema."""

    name: str
    description: str | None | UnsetType = UNSET
    parameters: dict[str, Any] | None | UnsetType = UNSET
    strict: bool | None | UnsetType = UNSET


class ToolDefinition(Struct, forbid_unknown_fields=True, gc=False):
    """Tool that the assistant may call."""

    type: Literal["function"]
    function: FunctionDefinition


class System(Struct, tag_field="role", tag="system", forbid_unknown_fields=True, gc=False):
    """System message."""

    content: str | list[TextPart]
    name: str | None | UnsetType = UNSET


class Developer(Struct, tag_field="role", tag="developer", forbid_unknown_fields=True, gc=False):
    """Developer message, the system message of reasoning models."""

    content: str | list[TextPart]
    name: str | None | UnsetType = UNSET


class User(Struct, tag_field="role", tag="user", forbid_unknown_fields=True, gc=False):
    """User message."""

    content: str | list[TextPart | ImagePart]
    name: str | None | UnsetType = UNSET


class Answer(Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True, gc=False):
    """Assistant message without `weight`, as in prompts for reinforcement fine-tuning."""

    content: str | list[TextPart | RefusalPart] | None | UnsetType = UNSET
    name: str | None | UnsetType = UNSET
    refusal: str | None | UnsetType = UNSET
    tool_calls: Annotated[list[ToolCall], Meta(min_length=1)] | None | UnsetType = UNSET
    function_call: FunctionCall | None | UnsetType = UNSET
    audio: None | UnsetType = UNSET


class Assistant(Answer, tag_field="role", tag="assistant", forbid_unknown_fields=True, gc=False):
    """Assistant message; `weight` 0 leaves it out of training."""

    weight: Literal[0, 1] | UnsetType = UNSET


class Tool(Struct, tag_field="role", tag="tool", forbid_unknown_fields=True, gc=False):
    """Tool message: the result of a tool call."""

    content: str
    tool_call_id: str
    name: str | None | UnsetType = UNSET


class Function(Struct, tag_field="role", tag="function", forbid_unknown_fields=True, gc=False):
    """Function message: the result of a `function_call` (deprecated)."""

    content: str | None
    name: str


Message = System | Developer | User | Assistant | Tool | Function
"""A message of an example that is trained on."""

PromptMessage = System | Developer | User | Answer | Tool | Function
"""A message of a prompt that the model answers during training."""

Tools = list[ToolDefinition] | None | UnsetType
Functions = list[FunctionDefinition] | None | UnsetType
Flag = bool | None | UnsetType


class Chat(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Line for supervised fine-tuning: a conversation and the tools it may call."""

    tools: Tools = UNSET
    parallel_tool_calls: Flag = UNSET
    functions: Functions = UNSET
    messages: Annotated[list[Message], Meta(min_length=1)]


class Completions(Struct, forbid_unknown_fields=True, gc=False):
    """Line for supervised fine-tuning of a base model: a prompt and its completion."""

    prompt: str
    completion: str


class PreferenceInput(Struct, forbid_unknown_fields=True, gc=False):
    """Prompt of a preference example, and the tools it may call."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    tools: Tools = UNSET
    parallel_tool_calls: Flag = UNSET


class Preference(Struct, forbid_unknown_fields=True, gc=False):
    """Line for direct preference optimization: a prompt, the better and the worse output."""

    input: PreferenceInput
    preferred_output: Annotated[list[Message], Meta(min_length=1)]
    non_preferred_output: Annotated[list[Message], Meta(min_length=1)]


class Reinforcement(Struct, gc=False):
    """Line for reinforcement fine-tuning: a prompt, and any other keys for the grader."""

    messages: Annotated[list[PromptMessage], Meta(min_length=1)]
    tools: Tools = UNSET
    parallel_tool_calls: Flag = UNSET


class Graded(Reinforcement, gc=False):
    """Decoded reinforcement example; `fields` holds the keys for the grader."""

    fields: dict[str, Any] = {}


@cache
def lineage(type_name: str) -> tuple[str, ...]:
    """Return the names of a type of this module and of its base types, followed by `*`."""
    type_ = globals().get(type_name)
    bases = type_.__mro__ if type_ else ()
    return (*(base.__name__ for base in bases if base.__module__ == __name__), "*")
