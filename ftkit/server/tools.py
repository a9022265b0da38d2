"""Tools and response formats in requests: their types, and their fields for the process.

Limits are from OpenAI's API description of 2026-08-21, unless stated otherwise.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ftkit.server.errors import InvalidRequestError

MAX_TOOLS = 128
"""Maximum number of tools of a request."""

MAX_NESTING = 64
"""Maximum depth of arrays and objects in a schema; a limit of this service."""

FunctionName = Annotated[str, Meta(pattern=r"\A[a-zA-Z0-9_-]{1,64}\Z")]
SchemaName = FunctionName
Choice = Literal["none", "auto", "required"]


class Function(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Definition of a function, with the JSON Schema of its arguments."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct, forbid_unknown_fields=True):
    """Tool: a function, the only type that this service supports."""

    type: Literal["function"]
    function: Function


class FunctionChoice(Struct, forbid_unknown_fields=True):
    """Name of the function that must be called."""

    name: FunctionName


class NamedTool(Struct, forbid_unknown_fields=True):
    """Tool that must be called."""

    type: Literal["function"]
    function: FunctionChoice


class TextFormat(Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """Text without constraints."""


class JsonObjectFormat(Struct, tag_field="type", tag="json_object", forbid_unknown_fields=True):
    """Any JSON object."""


class NamedSchema(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """JSON Schema with its name."""

    name: SchemaName
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(Struct, tag_field="type", tag="json_schema", forbid_unknown_fields=True):
    """JSON that a schema describes."""

    json_schema: NamedSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat
Tools = Annotated[list[Tool], Meta(max_length=MAX_TOOLS)]
Functions = Annotated[list[Function], Meta(max_length=MAX_TOOLS)]


def tool_fields(
    tools: list[Tool], choice: Choice | NamedTool | None, parallel: bool | None
) -> dict[str, Any]:
    """Return the fields of a request for the process that are about tools.

    Args:
        tools: Tools of the request.
        choice: Tool that must be called, or mode.
        parallel: Allow several calls in one answer; None for the default of the process.

    Raises:
        InvalidRequestError: The choice does not fit the tools, or a schema is nested too deeply.
    """
    names = {tool.function.name for tool in tools}
    if isinstance(choice, NamedTool) and choice.function.name not in names:
        message = f"Invalid value for 'tool_choice': 'tools' has no '{choice.function.name}'."
        raise InvalidRequestError(message, "tool_choice", "invalid_value")
    if not tools:
        if choice == "required":
            message = "Invalid value for 'tool_choice': 'required' needs 'tools'."
            raise InvalidRequestError(message, "tool_choice", "invalid_value")
        return {}
    for index, tool in enumerate(tools):
        check_nesting(tool.function.parameters, f"tools[{index}]")
    fields = {"tools": tools, "tool_choice": choice or "auto", "parallel_tool_calls": parallel}
    return {name: msgspec.to_builtins(value) for name, value in fields.items() if value is not None}


def format_fields(format: ResponseFormat | None, param: str) -> dict[str, Any]:
    """Return the field of a request for the process that is about its format.

    Raises:
        InvalidRequestError: The schema is nested too deeply.
    """
    if format is None or isinstance(format, TextFormat):
        return {}
    if isinstance(format, JsonSchemaFormat):
        check_nesting(format.json_schema.schema, param)
    return {"response_format": msgspec.to_builtins(format)}


def check_nesting(value: Any, param: str) -> None:
    """Raise `InvalidRequestError` if a JSON value is nested too deeply."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_NESTING:
            message = f"Invalid value for '{param}': it has more than {MAX_NESTING} levels."
            raise InvalidRequestError(message, param, "invalid_value")
        children: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                children += item.values()
            elif isinstance(item, list):
                children += item
        level = children
