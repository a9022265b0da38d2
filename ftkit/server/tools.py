"""Tools and response formats in request bodies, and in requests for the generation process.

Limits are from OpenAI's API description of 2026-08-21, unless stated otherwise.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from ftkit.server.bodies import NULL, read_value
from ftkit.server.errors import InvalidRequestError

MAX_TOOLS = 128
"""Maximum number of tools of a request."""

MAX_NESTING = 64
"""Maximum depth of arrays and objects in a schema; a limit of this service."""

MAX_SCHEMA_BYTES = 1 << 20
"""Maximum size of all schemas of a request as JSON; a limit of this service."""

FunctionName = Annotated[str, Meta(pattern=r"\A[a-zA-Z0-9_-]{1,64}\Z")]
SchemaName = FunctionName
ToolChoiceMode = Literal["none", "auto", "required"]


class Function(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Definition of a function, with the JSON Schema of its arguments, which is not decoded."""

    name: FunctionName
    description: str | None = None
    parameters: Raw = NULL
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
    """JSON Schema, which is not decoded, with its name."""

    name: SchemaName
    schema: Raw
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(Struct, tag_field="type", tag="json_schema", forbid_unknown_fields=True):
    """JSON that a schema describes."""

    json_schema: NamedSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat
Tools = Annotated[list[Tool], Meta(max_length=MAX_TOOLS)]
Functions = Annotated[list[Function], Meta(max_length=MAX_TOOLS)]


def tool_fields(
    tools: list[Tool],
    choice: ToolChoiceMode | NamedTool | None,
    parallel: bool | None,
    schema_path: str = "function.parameters",
) -> dict[str, Any]:
    """Return the fields about tools of a request for the generation process.

    Args:
        tools: Tools of the request.
        choice: Tool that must be called, or mode; None for "auto".
        parallel: Allow several calls in one answer; None for the default, which is true.
        schema_path: Place of the schema in a tool of the body, for errors.

    Raises:
        InvalidRequestError: The choice does not match the tools, or a schema is not an object, too
            large, or nested too deeply.
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
    _check_size([tool.function.parameters for tool in tools], "tools")
    encoded = [msgspec.to_builtins(tool, builtin_types=(Raw,)) for tool in tools]
    for index, tool in enumerate(encoded):
        parameters = tool["function"].pop("parameters", NULL)
        if bytes(parameters) != bytes(NULL):
            schema = _read_schema(parameters, f"tools[{index}].{schema_path}")
            tool["function"]["parameters"] = schema
    fields = {
        "tools": encoded,
        "tool_choice": msgspec.to_builtins(choice or "auto"),
        "parallel_tool_calls": parallel,
    }
    return {name: value for name, value in fields.items() if value is not None}


def format_fields(format: ResponseFormat | None, param: str) -> dict[str, Any]:
    """Return the field about the format of a request for the generation process.

    Args:
        format: Format of the answer.
        param: Place of the schema in the body, for errors.

    Raises:
        InvalidRequestError: The schema is not an object, too large, or nested too deeply.
    """
    if format is None or isinstance(format, TextFormat):
        return {}
    encoded = msgspec.to_builtins(format, builtin_types=(Raw,))
    if isinstance(format, JsonSchemaFormat):
        _check_size([format.json_schema.schema], f"{param}.schema")
        schema = _read_schema(format.json_schema.schema, f"{param}.schema")
        encoded["json_schema"]["schema"] = schema
    return {"response_format": encoded}


def _check_size(schemas: list[Raw], param: str) -> None:
    if sum(memoryview(schema).nbytes for schema in schemas) > MAX_SCHEMA_BYTES:
        message = f"Invalid value for '{param}': more than {MAX_SCHEMA_BYTES:,} bytes of schemas."
        raise InvalidRequestError(message, param, "invalid_value")


def _read_schema(encoded: Raw, param: str) -> dict[str, Any]:
    """Decode a schema.

    Raises:
        InvalidRequestError: The schema is not an object, or nested too deeply.
    """
    schema = read_value(encoded, dict[str, Any], param)
    _check_nesting(schema, param)
    return schema


def _check_nesting(value: Any, param: str) -> None:
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
