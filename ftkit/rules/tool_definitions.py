"""Tools that an example declares."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.dataset.exact_numbers import exact_numbers
from ftkit.dataset.formats import Conversation
from ftkit.dataset.lenient_json import read
from ftkit.rules.base import ERROR, WARNING, Hit, ScanPlan, also, rule
from ftkit.rules.fixes import Edit, fix
from ftkit.rules.nodes import Messages, SchemaError
from ftkit.rules.parameters import tool_schema
from ftkit.rules.samples import ASK, SAY, TOOL, TOOLS, chat
from ftkit.rules.sources import (
    AZURE_DOCS,
    JSON_SCHEMA,
    MISTRAL_COMMON,
    OPENAI_CHAT_API,
    OWN_CHECK,
)
from ftkit.rules.tool_calls import FUNCTION_NAME, FUNCTION_NAME_HINT
from ftkit.rules.traverse import iter_declared, iter_definitions, without_nulls

FUNCTION_KEYS = ("name", "parameters", "description", "strict")
"""Keys that belong inside `function`."""
GOOD = chat(ASK, SAY, rest=TOOLS)


@rule(
    "FT510",
    "tools-empty",
    WARNING,
    Conversation,
    needs=["tools"],
    bad=chat(ASK, SAY, rest=', "tools": []'),
    good=chat(ASK, SAY),
    evidence=[
        OPENAI_CHAT_API.with_detail("refuses []"),
        AZURE_DOCS.with_detail("examples have it"),
    ],
)
def tools_empty(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """`tools` is an empty array.

    The chat API refuses it, though examples in fine-tuning guides have it. Leave it out.
    """
    if conversation.tools == [] and conversation.part != "output":
        yield Hit('"tools" is empty; remove it', f"{conversation.path.rpartition('.')[0]}.tools")


@fix(tools_empty, Messages, "unsafe", "remove the empty array")
def _remove_empty(messages: Messages) -> list[Edit] | None:
    path = f"{messages.path.rpartition('.')[0]}.tools"
    return (
        [Edit(messages.holder, "tools", path=path)] if messages.holder.get("tools") == [] else None
    )


@rule(
    "FT511",
    "tool-schema-invalid",
    ERROR,
    SchemaError,
    places=[
        *((owner, "*", "*") for owner in ("ToolDefinition", "FunctionDefinition")),
        *(
            (owner, field, "*")
            for owner in ("Chat", "PreferenceInput", "Reinforcement")
            for field in ("tools", "functions", "parallel_tool_calls")
        ),
    ],
    bad=chat(
        ASK, SAY, rest=', "tools": [{"type": "function", "name": "weather", "parameters": {}}]'
    ),
    good=GOOD,
    evidence=[MISTRAL_COMMON.with_detail("checks parameters against draft 7"), JSON_SCHEMA],
)
def tool_schema_invalid(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A tool declaration is invalid, or its `parameters` are not the JSON Schema of an object.

    Providers refuse the example. Write
    `{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}`.
    The Responses API has a flatter form, without the inner `function`.
    """
    if error.keyword == "additionalProperties" and error.field in FUNCTION_KEYS:
        yield Hit(
            f'{excerpt(error.field)} belongs inside "function": {{...}}; '
            "move it there (this is the form of the Responses API)",
            error.path,
        )
    elif error.keyword == "additionalProperties":
        yield Hit(
            f"a tool declaration has no key {excerpt(error.field, 60)}; remove it", error.path
        )
    elif error.keyword == "required":
        yield Hit(f'the tool declaration has no "{error.field}"; add it', error.path)
    elif error.field in ("tools", "functions") and isinstance(error.value, str):
        yield Hit(f"{error.field} is a string; put the array itself", error.path)
    elif error.field == "parameters" and isinstance(error.value, str):
        yield Hit("parameters is a string; put the object itself", error.path)
    else:
        yield Hit(
            f"{excerpt(error.value, 60)} is not valid at this place of a tool declaration",
            error.path,
        )


@fix(tool_schema_invalid, SchemaError, "safe", 'add `"type": "function"`')
def _add_type(error: SchemaError) -> Edit | None:
    is_missing = (error.owner, error.field, error.keyword) == ("ToolDefinition", "type", "required")
    return Edit(error.parent, "type", "function") if is_missing else None


@fix(tool_schema_invalid, SchemaError, "safe", 'move the keys into "function"')
def _nest(error: SchemaError) -> list[Edit] | None:
    tool, is_missing = error.parent, (error.field, error.keyword) == ("function", "required")
    is_flat = error.keyword == "additionalProperties" and error.field in FUNCTION_KEYS
    if error.owner != "ToolDefinition" or not (is_missing or is_flat):
        return None
    if "function" in tool or not isinstance(tool.get("name"), str):
        return None
    function = {key: value for key, value in tool.items() if key in FUNCTION_KEYS}
    return [Edit(tool, "function", function), *(Edit(tool, key) for key in function)]


@fix(tool_schema_invalid, SchemaError, "safe", "write the array or the object itself")
def _parse(error: SchemaError) -> Edit | None:
    kind = {"tools": list, "functions": list, "parameters": dict}.get(error.field)
    if kind is None or not isinstance(error.value, str):
        return None
    text = error.value.encode()
    reading = read(text)
    is_json = reading.parsed and not (reading.defects or reading.extra or reading.control)
    is_exact = is_json and isinstance(reading.value, kind)
    value = exact_numbers(text, reading.value) if is_exact else None
    return Edit(error.parent, error.field, value) if is_exact else None


@fix(tool_schema_invalid, SchemaError, "unsafe", "remove the key")
def _remove_key(error: SchemaError) -> Edit | None:
    is_unknown = error.keyword == "additionalProperties" and error.field not in FUNCTION_KEYS
    return Edit(error.parent, error.field) if is_unknown else None


@also(tool_schema_invalid, Conversation, needs=["tools", "functions"])
def _parameters(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    if conversation.part == "output":
        return
    for path, definition in iter_definitions(conversation):
        if not FUNCTION_NAME.fullmatch(definition.name):
            yield Hit(
                f"{excerpt(definition.name, 80)} is not a function name; {FUNCTION_NAME_HINT}",
                f"{path}.name",
            )
        if definition.parameters:
            problem = tool_schema(definition.parameters).problem
            if problem:
                yield Hit(
                    f"parameters are not the JSON Schema of an object: {problem}",
                    f"{path}.parameters",
                )


@fix(tool_schema_invalid, Messages, "unsafe", "remove the nulls that Arrow adds to schemas")
def _remove_nulls(messages: Messages) -> list[Edit] | None:
    edits = []
    for path, definition in iter_declared(messages):
        parameters = definition.get("parameters")
        if isinstance(parameters, dict) and parameters and tool_schema(parameters).problem:
            cleaned = without_nulls(parameters)
            if cleaned and cleaned != parameters and not tool_schema(cleaned).problem:
                edits.append(Edit(definition, "parameters", cleaned, path=f"{path}.parameters"))
    return edits or None


@rule(
    "FT512",
    "tool-name-duplicate",
    ERROR,
    Conversation,
    needs=["tools", "functions"],
    bad=chat(ASK, SAY, rest=f', "tools": [{TOOL}, {TOOL}]'),
    good=GOOD,
    evidence=[OWN_CHECK],
)
def tool_name_duplicate(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """Two declared tools have the same name.

    It is not clear which of them a call means. Rename or remove one.
    """
    names: set[str] = set()
    for path, definition in iter_definitions(conversation) if conversation.part != "output" else ():
        if definition.name in names:
            yield Hit(
                f"name {excerpt(definition.name, 60)} is declared twice; rename or remove one",
                f"{path}.name",
            )
        names.add(definition.name)
