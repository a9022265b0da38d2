"""Request bodies of completions: their types.

Limits are from OpenAI's API description of 2026-08-21, unless stated otherwise.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from ftkit.server.bodies import Metadata, Name

MAX_MESSAGES = 2048
"""Maximum number of messages of a chat; a limit of this service."""

MESSAGE_PARTS = 128
"""Maximum number of parts, and of tool calls, of a message; a limit of this service."""

Zero = Annotated[float, Meta(ge=0, le=0)]
Stop = Annotated[str, Meta(max_length=256)]


class Sampling(Struct, kw_only=True):
    """Fields that chat and text completions share."""

    model: Name
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=16)] | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=4)] | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None
    # Clients send these fields with values that have no effect; other values are rejected.
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None
    logit_bias: Annotated[dict[str, float], Meta(max_length=0)] | None = None
    service_tier: Annotated[str, Meta(max_length=64)] | None = None

    @property
    def stops(self) -> list[str]:
        """Texts that end a completion."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or ()
        return [stop for stop in stops if stop]


class ImageUrl(Struct):
    """Image, as a data: URL."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ContentPart(Struct):
    """Part of the content of a message."""

    type: Literal["text", "refusal", "image_url"]
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | UnsetType = UNSET

    def __post_init__(self) -> None:
        if getattr(self, self.type) in (None, UNSET):
            raise ValueError(f"a part of the type `{self.type}` needs its {self.type}")


class FunctionCall(Struct):
    """Function call: name, and arguments as JSON."""

    name: str
    arguments: str


class ToolCall(Struct):
    """Tool call."""

    function: FunctionCall
    id: str | UnsetType = UNSET


class ChatMessage(Struct):
    """Message of a chat, with the fields that chat templates use."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[ContentPart], Meta(max_length=MESSAGE_PARTS)] | None = None
    refusal: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: Annotated[list[ToolCall], Meta(max_length=MESSAGE_PARTS)] | None = None
    function_call: FunctionCall | None = None


class TextFormat(Struct):
    """The only supported response format."""

    type: Literal["text"]


class ChatBody(Sampling, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    response_format: TextFormat | None = None
    logprobs: Literal[False] | None = None
    tools: Annotated[list[Any], Meta(max_length=0)] | None = None


class CompletionBody(Sampling, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/completions`."""

    prompt: str | Annotated[list[str], Meta(min_length=1, max_length=1)]
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    logprobs: None = None
    suffix: None = None
