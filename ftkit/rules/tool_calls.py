"""Tool calls and their arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from ftkit._text import excerpt, join_names
from ftkit.dataset.exact_numbers import dumps
from ftkit.dataset.formats import Conversation
from ftkit.dataset.json_repair import from_python
from ftkit.dataset.lenient_json import MAX_DEPTH, nests_deeper
from ftkit.rules.base import ERROR, WARNING, Hit, ScanPlan, also, rule
from ftkit.rules.fixes import Edit, fix
from ftkit.rules.nodes import Messages, SchemaError
from ftkit.rules.parameters import ArgumentChecks
from ftkit.rules.samples import ASK, SAY, TOOLS, chat, tool_answer, tool_call
from ftkit.rules.sources import (
    COMMUNITY_1322493,
    DATALINT,
    JSON_SCHEMA,
    MISTRAL_COMMON,
    OPENAI_GUIDE,
    OPENAPI,
    OWN_CHECK,
)
from ftkit.rules.traverse import (
    iter_called,
    iter_definitions,
    iter_function_calls,
    iter_tool_calls,
)

FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
FUNCTION_NAME_HINT = "use 1 to 64 letters, digits, _ and -"
LIST_LENGTH = 120
"""Maximum characters of a list of functions."""
CALL_FACETS = ("tool_calls", "function_call")

TWO_CALLS = chat(
    *(ASK, tool_call(), tool_answer(), SAY),
    *(ASK, tool_call(id='"id": "call_2", '), tool_answer("call_2"), SAY),
    rest=TOOLS,
)


@rule(
    "FT501",
    "tool-call-id-missing",
    ERROR,
    SchemaError,
    places=[("ToolCall", "id", "required"), ("ToolCall", "id", "type")],
    bad=chat(ASK, tool_call(id=""), rest=TOOLS),
    good=chat(ASK, tool_call(), rest=TOOLS),
    evidence=[OPENAPI.with_detail("required")],
)
def tool_call_id_missing(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A tool call has no `id`.

    No tool message can refer to it, and providers refuse the example. Give it an id.
    """
    yield Hit(
        'the tool call has no "id"; add one, e.g. "call_1", and use it as "tool_call_id" of its '
        "answer",
        error.path,
    )


@also(tool_call_id_missing, Conversation, needs=["tool_calls"])
def _empty_id(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    for path, call in iter_tool_calls(conversation):
        if not call.id:
            yield Hit('the "id" of the tool call is empty; write one, e.g. "call_1"', f"{path}.id")


@rule(
    "FT502",
    "tool-call-id-duplicate",
    ERROR,
    Conversation,
    needs=["tool_calls"],
    bad=TWO_CALLS.replace("call_2", "call_1"),
    good=TWO_CALLS,
    evidence=[MISTRAL_COMMON, DATALINT],
)
def tool_call_id_duplicate(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """Two tool calls of an example have the same id.

    It is not clear which of them a tool message answers. Give each call of an example its own id.
    Different examples may use the same ids.
    """
    earlier = msgspec.structs.replace(conversation, messages=conversation.before)
    ids = {call.id for _, call in iter_tool_calls(earlier)}
    for path, call in iter_tool_calls(conversation):
        if call.id in ids:
            yield Hit(
                f"id {excerpt(call.id, 60)} is used by an earlier tool call; choose another",
                f"{path}.id",
            )
        ids.add(call.id)


@rule(
    "FT503",
    "tool-call-type",
    ERROR,
    SchemaError,
    places=[
        ("ToolCall", "type", "required"),
        ("ToolCall", "type", "enum"),
        ("Answer", "tool_calls", "minItems"),
        ("Answer", "tool_calls", "type"),
        ("Answer", "tool_calls", "items"),
    ],
    bad=chat(ASK, '{"role": "assistant", "content": "Cold.", "tool_calls": []}', rest=TOOLS),
    good=chat(ASK, '{"role": "assistant", "content": "Cold."}', rest=TOOLS),
    evidence=[OPENAPI.with_detail("enum: [function]")],
)
def tool_call_type(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """`tool_calls` is not an array of calls, or a call's `type` is not `function`.

    Providers refuse the example. Leave out an empty array, and write `"type": "function"` in each
    call.
    """
    if error.field == "tool_calls":
        problem = (
            "is empty; remove it"
            if error.value == []
            else f"must be an array of calls, not {excerpt(error.value, 60)}"
        )
        yield Hit(f'"tool_calls" {problem}', error.path)
    elif error.keyword == "required":
        yield Hit('the tool call has no "type"; add "type": "function"', error.path)
    else:
        yield Hit(
            f'the type of a tool call must be "function", not {excerpt(error.value, 60)}',
            error.path,
        )


@fix(tool_call_type, SchemaError, "safe", 'add `"type": "function"`')
def _add_type(error: SchemaError) -> Edit | None:
    is_missing = error.field == "type" and error.keyword == "required"
    return Edit(error.parent, "type", "function") if is_missing else None


@fix(tool_call_type, SchemaError, "unsafe", "remove the empty array")
def _remove_empty(error: SchemaError) -> Edit | None:
    return Edit(error.parent, "tool_calls") if error.value == [] else None


@rule(
    "FT504",
    "tool-call-name",
    ERROR,
    SchemaError,
    places=[
        ("ToolCall", "function", "*"),
        ("FunctionCall", "name", "*"),
        ("Answer", "function_call", "*"),
    ],
    bad=chat(ASK, tool_call(name="3"), rest=TOOLS),
    good=chat(ASK, tool_call(), rest=TOOLS),
    evidence=[OPENAPI, MISTRAL_COMMON],
)
def tool_call_name(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A call has no function name, or an invalid one.

    Providers refuse the example. A name has 1 to 64 letters, digits, `_` and `-`.
    """
    if error.keyword == "required":
        yield Hit(f'the call has no "{error.field}"; add the function that is called', error.path)
    else:
        yield Hit(
            f"{excerpt(error.value, 60)} is not a function name; {FUNCTION_NAME_HINT}", error.path
        )


@also(tool_call_name, Conversation, needs=CALL_FACETS)
def _call_name(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    for path, name, _ in iter_function_calls(conversation):
        if not FUNCTION_NAME.fullmatch(name):
            yield Hit(
                f"{excerpt(name, 80)} is not a function name; {FUNCTION_NAME_HINT}", f"{path}.name"
            )


@rule(
    "FT505",
    "tool-args-type",
    ERROR,
    SchemaError,
    places=[("FunctionCall", "arguments", "*")],
    bad=chat(ASK, tool_call(arguments='{"town": "Oulu"}'), rest=TOOLS),
    good=chat(ASK, tool_call(), rest=TOOLS),
    evidence=[OPENAI_GUIDE, COMMUNITY_1322493],
)
def tool_args_type(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """`arguments` is an object instead of a string.

    The model writes arguments as text, so the file has them as a string that holds JSON. Providers
    refuse anything else. Write `json.dumps(arguments)`.
    """
    if error.keyword == "required":
        yield Hit('the call has no "arguments"; write "{}" if it takes none', error.path)
    else:
        yield Hit(
            f"arguments must be a string that holds JSON, not {excerpt(error.value, 60)}; "
            "write them with json.dumps",
            error.path,
        )


@fix(tool_args_type, SchemaError, "safe", "write the object as a string of JSON")
def _as_json(error: SchemaError) -> Edit | None:
    if error.keyword == "required" or not isinstance(error.value, dict):
        return None
    return Edit(error.parent, "arguments", dumps(error.value, ensure_ascii=False))


@rule(
    "FT506",
    "tool-args-json",
    ERROR,
    Conversation,
    needs=CALL_FACETS,
    bad=chat(ASK, tool_call(arguments="\"{'town': 'Oulu'}\""), rest=TOOLS),
    good=chat(ASK, tool_call(), rest=TOOLS),
    evidence=[MISTRAL_COMMON],
)
def tool_args_json(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """The string in `arguments` is not a JSON object.

    The model learns to write arguments that programs cannot read. Often they were written with
    `str()` instead of `json.dumps`. A call without arguments has `"{}"`.
    """
    for path, _, arguments in iter_function_calls(conversation):
        if not isinstance(parse_arguments(arguments), dict):
            action = "write them with json.dumps" if arguments.strip() else 'write "{}"'
            yield Hit(
                f"arguments {excerpt(arguments, 60)} are not a JSON object; {action}",
                f"{path}.arguments",
            )


@fix(tool_args_json, Messages, "unsafe", "write Python literals as JSON")
def _arguments_from_python(messages: Messages) -> list[Edit] | None:
    edits = []
    for path, call in iter_called(messages):
        arguments = call.get("arguments")
        if isinstance(arguments, str) and not isinstance(parse_arguments(arguments), dict):
            text = from_python(arguments)
            if text is not None and isinstance(parse_arguments(text), dict):
                edits.append(Edit(call, "arguments", text, path=f"{path}.arguments"))
    return edits or None


def parse_arguments(arguments: str) -> Any:
    """Return the JSON value of the arguments, or None if they are not JSON."""
    if nests_deeper(arguments.encode(), MAX_DEPTH):
        return None
    try:
        return msgspec.json.decode(arguments)
    except msgspec.ValidationError:
        # Valid JSON, with a number that is too long to be read.
        return {} if arguments.lstrip().startswith("{") else None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


@rule(
    "FT507",
    "tool-args-schema",
    WARNING,
    Conversation,
    needs=CALL_FACETS,
    bad=chat(ASK, tool_call(arguments=r'"{\"city\": 1, \"town\": 2}"'), rest=TOOLS),
    good=chat(ASK, tool_call(), rest=TOOLS),
    evidence=[JSON_SCHEMA, OWN_CHECK],
)
def tool_args_schema(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """The arguments of a call do not match the `parameters` of its tool.

    The model learns to call the tool wrongly. Correct the call or the declaration.

    The check takes a number of steps that is proportional to the size of both, so that no file can
    keep ftkit busy for ever. Arguments that would take more are reported, and so are patterns with
    look-arounds or references to groups, and `unevaluatedProperties` and `unevaluatedItems`.
    """
    declared = {definition.name: definition for _, definition in iter_definitions(conversation)}
    checks = ArgumentChecks()
    for path, name, arguments in iter_function_calls(conversation):
        value, definition = parse_arguments(arguments), declared.get(name)
        if isinstance(value, dict) and definition and definition.parameters:
            for message in checks.mismatches(definition, arguments, value):
                yield Hit(message, f"{path}.arguments")


@rule(
    "FT508",
    "tool-call-undeclared",
    WARNING,
    Conversation,
    needs=CALL_FACETS,
    bad=chat(ASK, tool_call(name='"wetter"'), rest=TOOLS),
    good=chat(ASK, tool_call(), rest=TOOLS),
    evidence=[OWN_CHECK],
)
def tool_call_undeclared(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """A call names a function that the example does not declare.

    The model learns to invent functions. Correct the name, or declare the function.
    """
    declared = dict.fromkeys(definition.name for _, definition in iter_definitions(conversation))
    for path, name, _ in iter_function_calls(conversation):
        if declared and name not in declared:
            yield Hit(
                f"function {excerpt(name, 60)} is not declared; "
                f"the example declares {join_names(declared, LIST_LENGTH)}",
                f"{path}.name",
            )


@rule(
    "FT509",
    "tools-missing",
    WARNING,
    Conversation,
    needs=["tool_calls"],
    bad=chat(ASK, tool_call()),
    good=chat(ASK, tool_call(), rest=TOOLS),
    evidence=[OPENAI_GUIDE.with_detail("each example declares its tools")],
)
def tools_missing(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """The example calls tools but declares none.

    At inference the model sees the declarations of its tools, so it should see them in training.
    Add `tools`.
    """
    if conversation.tools is None and any(iter_tool_calls(conversation)):
        yield Hit(
            'the example calls tools but has no "tools"; declare the tools', conversation.path
        )
