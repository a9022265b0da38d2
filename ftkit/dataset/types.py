"""The types of examples and of all they are made of: the one definition behind both the fast decoder and the JSON Schema.

A field that may be absent has the default `UNSET`; where `None` is in its type too, an explicit null means the same as an
absent field (exports of API answers are full of them). Shapes follow OpenAI's API description: its edition of 2025-03-21
still had the schemas of the lines, that of 2026-08-21 the types of the messages.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType


class TextPart(Struct, tag_field="type", tag="text", forbid_unknown_fields=True, gc=False):
    text: str


class RefusalPart(Struct, tag_field="type", tag="refusal", forbid_unknown_fields=True, gc=False):
    refusal: str


class ImageUrl(Struct, forbid_unknown_fields=True, gc=False):
    url: str
    detail: Literal["auto", "low", "high"] | UnsetType = UNSET


class ImagePart(Struct, tag_field="type", tag="image_url", forbid_unknown_fields=True, gc=False):
    image_url: ImageUrl


class FunctionCall(Struct, forbid_unknown_fields=True, gc=False):
    name: str
    arguments: str


class ToolCall(Struct, forbid_unknown_fields=True, gc=False):
    id: str
    type: Literal["function"]
    function: FunctionCall


class FunctionDefinition(Struct, forbid_unknown_fields=True, gc=False):
    name: str
    description: str | None | UnsetType = UNSET
    parameters: dict[str, Any] | None | UnsetType = UNSET
    strict: bool | None | UnsetType = UNSET


class ToolDefinition(Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["function"]
    function: FunctionDefinition


class System(Struct, tag_field="role", tag="system", forbid_unknown_fields=True, gc=False):
    content: str | list[TextPart]
    name: str | None | UnsetType = UNSET


class Developer(Struct, tag_field="role", tag="developer", forbid_unknown_fields=True, gc=False):
    content: str | list[TextPart]
    name: str | None | UnsetType = UNSET


class User(Struct, tag_field="role", tag="user", forbid_unknown_fields=True, gc=False):
    content: str | list[TextPart | ImagePart]
    name: str | None | UnsetType = UNSET


class Answer(Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True, gc=False):
    """An assistant message that carries no weight: what reinforcement prompts may hold."""

    content: str | list[TextPart | RefusalPart] | None | UnsetType = UNSET
    name: str | None | UnsetType = UNSET
    refusal: str | None | UnsetType = UNSET
    tool_calls: Annotated[list[ToolCall], Meta(min_length=1)] | None | UnsetType = UNSET
    function_call: FunctionCall | None | UnsetType = UNSET
    audio: None | UnsetType = UNSET


class Assistant(Answer, tag_field="role", tag="assistant", forbid_unknown_fields=True, gc=False):
    weight: Literal[0, 1] | UnsetType = UNSET


class Tool(Struct, tag_field="role", tag="tool", forbid_unknown_fields=True, gc=False):
    content: str
    tool_call_id: str
    name: str | None | UnsetType = UNSET


class Function(Struct, tag_field="role", tag="function", forbid_unknown_fields=True, gc=False):
    content: str | None
    name: str


AnyMessage = System | Developer | User | Answer | Tool | Function
Message = System | Developer | User | Assistant | Tool | Function
PromptMessage = System | Developer | User | Answer | Tool | Function
Tools = list[ToolDefinition] | None | UnsetType
Functions = list[FunctionDefinition] | None | UnsetType
Flag = bool | None | UnsetType


class Chat(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Supervised fine-tuning on conversations: `messages`, and the tools they may call."""

    tools: Tools = UNSET
    parallel_tool_calls: Flag = UNSET
    functions: Functions = UNSET
    messages: Annotated[list[Message], Meta(min_length=1)]


class Completions(Struct, forbid_unknown_fields=True, gc=False):
    """Supervised fine-tuning on a `prompt` and its `completion`, for base models."""

    prompt: str
    completion: str


class PreferenceInput(Struct, forbid_unknown_fields=True, gc=False):
    messages: Annotated[list[Message], Meta(min_length=1)]
    tools: Tools = UNSET
    parallel_tool_calls: Flag = UNSET


class Preference(Struct, forbid_unknown_fields=True, gc=False):
    """Direct preference optimisation: an `input`, the answer to prefer and the one to avoid."""

    input: PreferenceInput
    preferred_output: Annotated[list[Message], Meta(min_length=1)]
    non_preferred_output: Annotated[list[Message], Meta(min_length=1)]


class Reinforcement(Struct, gc=False):
    """Reinforcement fine-tuning: `messages` that end with the user, and any further fields for the grader."""

    messages: Annotated[list[PromptMessage], Meta(min_length=1)]
    tools: Tools = UNSET
    parallel_tool_calls: Flag = UNSET


class Graded(Reinforcement, gc=False):
    """A decoded reinforcement example, its grader fields beside it."""

    fields: dict[str, Any] = {}


@cache
def lineage(owner: str) -> tuple[str, ...]:
    """The names of the type called `owner` and of those that it derives from, and `*`."""
    found = globals().get(owner)
    names = (
        tuple(base.__name__ for base in found.__mro__ if base.__module__ == __name__)
        if found
        else ()
    )
    return (*names, "*")
