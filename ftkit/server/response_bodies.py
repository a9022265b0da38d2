"""Request body of `/v1/responses`, and its translation for the generation process.

Limits are from OpenAI's API description of 2026-08-21, unless stated otherwise.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from ftkit.server.bodies import NULL, Metadata, Name
from ftkit.server.completion_bodies import MAX_MESSAGES, MAX_TOP_LOGPROBS, Identifier, TokenCount
from ftkit.server.errors import InvalidRequestError
from ftkit.server.response_items import read_messages
from ftkit.server.tools import (
    MAX_TOOLS,
    Function,
    FunctionChoice,
    FunctionName,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedSchema,
    NamedTool,
    ResponseFormat,
    SchemaName,
    TextFormat,
    Tool,
    ToolChoiceMode,
    format_fields,
    tool_fields,
)
from ftkit.server.unsupported import check_unsupported

LOGPROBS = "message.output_text.logprobs"
"""Value of `include` that requests log probabilities."""


class FunctionTool(Struct, forbid_unknown_fields=True):
    """Function, the only tool that this service supports."""

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: Raw = NULL
    strict: bool | None = True

    def as_tool(self) -> Tool:
        """Return the tool of a chat."""
        function = Function(self.name, self.description, self.parameters, self.strict)
        return Tool("function", function)


class NamedFunction(Struct, forbid_unknown_fields=True):
    """Function that must be called."""

    type: Literal["function"]
    name: FunctionName


class SchemaFormat(
    Struct,
    tag_field="type",
    tag="json_schema",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """JSON that a schema describes."""

    name: SchemaName
    schema: Raw
    description: str | None = None
    strict: bool | None = None


class TextSettings(Struct, forbid_unknown_fields=True):
    """Settings of the generated text."""

    format: TextFormat | JsonObjectFormat | SchemaFormat | None = None
    verbosity: Literal["medium"] | None = None


class ResponseStreamOptions(Struct, forbid_unknown_fields=True):
    """Options of a stream."""

    include_obfuscation: Literal[False] | None = None


class ResponseBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/responses`."""

    model: Name
    input: str | Annotated[list[Raw], Meta(min_length=1, max_length=MAX_MESSAGES)]
    instructions: str | None = None
    max_output_tokens: TokenCount | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    tools: Annotated[list[FunctionTool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoiceMode | NamedFunction | None = None
    parallel_tool_calls: bool | None = None
    text: TextSettings | None = None
    include: list[Literal["message.output_text.logprobs", "reasoning.encrypted_content"]] | None = (
        None
    )
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    metadata: Metadata | None = None
    # These have no effect on the answer.
    max_tool_calls: int | None = None  # limits calls of built-in tools, which are refused
    prompt_cache_key: Identifier | None = None
    prompt_cache_options: Raw = NULL
    prompt_cache_retention: Annotated[str, Meta(max_length=64)] | None = None
    safety_identifier: Identifier | None = None
    service_tier: Annotated[str, Meta(max_length=64)] | None = None
    user: Identifier | None = None
    prompt: None = None  # a stored prompt, which this service does not have
    # See `UNSUPPORTED`.
    access_programs: Raw = NULL
    background: Raw = NULL
    background_options: Raw = NULL
    context_management: Raw = NULL
    conversation: Raw = NULL
    image: Raw = NULL
    moderation: Raw = NULL
    previous_response_id: Raw = NULL
    reasoning: Raw = NULL
    store: Raw = NULL
    truncation: Raw = NULL

    def request(self) -> dict[str, Any]:
        """Return the request for the generation process.

        Raises:
            InvalidRequestError: The fields contradict each other, or are unsupported.
        """
        check_unsupported(self)
        has_logprobs = LOGPROBS in (self.include or ())
        if self.top_logprobs and not has_logprobs:
            message = f"'top_logprobs' is only allowed when 'include' has '{LOGPROBS}'."
            raise InvalidRequestError(message, "top_logprobs", "invalid_value")
        tools = [tool.as_tool() for tool in self.tools or ()]
        choice: ToolChoiceMode | NamedTool | None
        if isinstance(self.tool_choice, NamedFunction):
            choice = NamedTool("function", FunctionChoice(self.tool_choice.name))
        else:
            choice = self.tool_choice
        return {
            "messages": self._messages(),
            "n": 1,
            "max_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "stop": [],
            "seed": None,
            **({"logprobs": self.top_logprobs or 0} if has_logprobs else {}),
            **tool_fields(tools, choice, self.parallel_tool_calls, "parameters"),
            **format_fields(self._format(), "text.format"),
        }

    def _messages(self) -> list[dict[str, Any]]:
        first = [{"role": "system", "content": self.instructions}] if self.instructions else []
        if isinstance(self.input, str):
            return [*first, {"role": "user", "content": self.input}]
        return [*first, *read_messages(self.input)]

    def _format(self) -> ResponseFormat | None:
        format = self.text.format if self.text else None
        if isinstance(format, SchemaFormat):
            schema = NamedSchema(format.name, format.schema, format.description, format.strict)
            return JsonSchemaFormat(schema)
        return format

    def echo(self) -> dict[str, Any]:
        """Return the fields of the response that repeat those of the request."""
        format = (self.text and self.text.format) or TextFormat()
        return {
            "background": False,
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": self.max_tool_calls,
            "metadata": self.metadata or {},
            "model": self.model,
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "previous_response_id": None,
            "prompt_cache_key": self.prompt_cache_key,
            "reasoning": {"effort": None, "summary": None},
            "safety_identifier": self.safety_identifier,
            "service_tier": "default",
            "store": False,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "text": {"format": _as_json(format), "verbosity": "medium"},
            "tool_choice": msgspec.to_builtins(self.tool_choice or "auto"),
            "tools": _as_json(self.tools or []),
            "top_logprobs": self.top_logprobs or 0,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "truncation": "disabled",
            "user": self.user,
        }


def _as_json(value: Any) -> Any:
    """Return a value as JSON, with its schemas, which are not decoded before."""
    return msgspec.json.decode(msgspec.json.encode(value))
