"""Tools: their definitions, the calls, and the answers to the calls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from ftkit._text import excerpt
from ftkit.dataset.formats import Conversation
from ftkit.dataset.types import Answer, FunctionDefinition, Tool, ToolCall
from ftkit.rules.base import ERROR, WARNING, Broken, Hit, ScanPlan, also, rule
from ftkit.rules.json_lines import GOOD
from ftkit.rules.messages import line
from ftkit.rules.parameters import mismatches

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
NAME_RULE = "a function name has 1 to 64 letters, digits, _ and -"

ASK = '{"role": "user", "content": "Weather in Oulu?"}'
TOOL = '{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}}}'
TOOLS = f', "tools": [{TOOL}]'
ANSWER = '{"role": "tool", "tool_call_id": "call_1", "content": "-3"}'
SAY = '{"role": "assistant", "content": "It is -3 degrees."}'


def call(
    arguments: str = r'"{\"town\": \"Oulu\"}"',
    name: str = '"weather"',
    id: str = '"id": "call_1", ',
) -> str:
    """An assistant message with one tool call, as JSON."""
    return (
        '{"role": "assistant", "tool_calls": [{%s"type": "function", "function": {"name": %s, "arguments": %s}}]}'
        % (
            id,
            name,
            arguments,
        )
    )


GOOD_TOOLS = line(ASK, call(), ANSWER, SAY, rest=TOOLS)
NEEDS_CALLS = ["tool_calls", "function_call"]


def each_call(conversation: Conversation) -> Iterator[tuple[str, ToolCall]]:
    """The tool calls of the conversation, each with its path."""
    for index, message in enumerate(conversation.messages):
        if isinstance(message, Answer):
            for at, made in enumerate(message.tool_calls or ()):
                yield f"{conversation.path}[{index}].tool_calls[{at}]", made


def each_function_call(conversation: Conversation) -> Iterator[tuple[str, str, str]]:
    """The calls of tools and of functions: path, name and arguments."""
    for path, made in each_call(conversation):
        yield f"{path}.function", made.function.name, made.function.arguments
    for index, message in enumerate(conversation.messages):
        if isinstance(message, Answer) and message.function_call:
            yield (
                f"{conversation.path}[{index}].function_call",
                message.function_call.name,
                message.function_call.arguments,
            )


def each_definition(conversation: Conversation) -> Iterator[tuple[str, FunctionDefinition]]:
    """The functions that the example declares, each with its path."""
    where = conversation.path.rpartition(".")[0]
    for index, tool in enumerate(conversation.tools or ()):
        yield f"{where}.tools[{index}].function", tool.function
    for index, function in enumerate(conversation.functions or ()):
        yield f"{where}.functions[{index}]", function


@rule(
    "FT501",
    "tool-call-id-missing",
    ERROR,
    "shape",
    good=GOOD_TOOLS,
    bad=line(ASK, call(id=""), rest=TOOLS),
    shapes=[("ToolCall", "id", "required"), ("ToolCall", "id", "type")],
    evidence="API description: required",
)
def tool_call_id_missing(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A tool call has no `id`, so no answer can refer to it."""
    yield Hit(
        'the tool call has no "id"; give it one, e.g. "call_1", and use it as tool_call_id of the answer',
        broken.path,
    )


@rule(
    "FT502",
    "tool-call-id-duplicate",
    ERROR,
    "conversation",
    needs=["tool_calls"],
    good=GOOD_TOOLS,
    bad=line(ASK, call(), ANSWER, SAY, ASK, call(), ANSWER, SAY, rest=TOOLS),
    evidence="mistral-common; datalint",
)
def tool_call_id_duplicate(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """Two tool calls of one example have the same id. Ids need to differ inside an example only."""
    earlier = msgspec.structs.replace(conversation, messages=conversation.before)
    seen = {made.id for _, made in each_call(earlier)}
    for path, made in each_call(conversation):
        if made.id in seen:
            yield Hit(
                f"the id {excerpt(made.id, 60)} was used before in this example; make ids differ",
                f"{path}.id",
            )
        seen.add(made.id)


@rule(
    "FT503",
    "tool-call-type",
    ERROR,
    "shape",
    good=GOOD_TOOLS,
    bad=line(ASK, '{"role": "assistant", "content": "Cold.", "tool_calls": []}', rest=TOOLS),
    shapes=[
        ("ToolCall", "type", "required"),
        ("ToolCall", "type", "enum"),
        ("Answer", "tool_calls", "minItems"),
        ("Answer", "tool_calls", "type"),
        ("Answer", "tool_calls", "items"),
    ],
    evidence="API description: enum; minItems 1",
)
def tool_call_type(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """`tool_calls` is not a list of calls, or a call's `type` is missing or not `function`."""
    if broken.field == "tool_calls":
        wrong = (
            "is empty; leave it out"
            if broken.value == []
            else f"must be a list of calls, not {excerpt(broken.value, 60)}"
        )
        yield Hit(f'"tool_calls" {wrong}', broken.path)
    elif broken.keyword == "required":
        yield Hit('the tool call has no "type"; add "type": "function"', broken.path)
    else:
        yield Hit(
            f'the type of a tool call must be "function", not {excerpt(broken.value, 60)}',
            broken.path,
        )


@rule(
    "FT504",
    "tool-call-name",
    ERROR,
    "shape",
    good=GOOD_TOOLS,
    bad=line(ASK, call(name="3"), rest=TOOLS),
    shapes=[
        ("ToolCall", "function", "*"),
        ("FunctionCall", "name", "*"),
        ("Answer", "function_call", "*"),
    ],
    evidence="API description; mistral-common",
)
def tool_call_name(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A call names no function, or the name is not 1 to 64 letters, digits, `_` and `-`."""
    if broken.keyword == "required":
        yield Hit(f'the call has no "{broken.field}"; say which function is called', broken.path)
    else:
        yield Hit(f"{excerpt(broken.value, 60)} names no function; {NAME_RULE}", broken.path)


@also(tool_call_id_missing, "conversation", needs=["tool_calls"])
def _empty_id(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    for path, made in each_call(conversation):
        if not made.id:
            yield Hit(
                'the "id" of the tool call is empty; give it one, e.g. "call_1"', f"{path}.id"
            )


@also(tool_call_name, "conversation", needs=NEEDS_CALLS)
def _call_name(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    for path, name, _ in each_function_call(conversation):
        if not NAME.fullmatch(name):
            yield Hit(f"{excerpt(name, 80)} is no function name; {NAME_RULE}", f"{path}.name")


@rule(
    "FT505",
    "tool-args-type",
    ERROR,
    "shape",
    good=GOOD_TOOLS,
    bad=line(ASK, call(arguments='{"town": "Oulu"}'), rest=TOOLS),
    shapes=[("FunctionCall", "arguments", "*")],
    evidence="fine-tuning guide; a common mistake in the forum",
)
def tool_args_type(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """`arguments` is an object instead of a string that holds JSON.

    The model writes arguments as text, so the file has them as text: `json.dumps(arguments)`.
    """
    if broken.keyword == "required":
        yield Hit('the call has no "arguments"; without any, write "{}"', broken.path)
    else:
        yield Hit(
            f"arguments must be a string that holds JSON, not {excerpt(broken.value, 60)}; json.dumps them",
            broken.path,
        )


@rule(
    "FT506",
    "tool-args-json",
    ERROR,
    "conversation",
    needs=NEEDS_CALLS,
    good=GOOD_TOOLS,
    bad=line(ASK, call(arguments="\"{'town': 'Oulu'}\""), rest=TOOLS),
    evidence="mistral-common; the service's behaviour is not documented",
)
def tool_args_json(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """The string in `arguments` is not a JSON object.

    Often it was made with `str()` instead of `json.dumps`. A call without arguments has `"{}"`.
    """
    for path, _, arguments in each_function_call(conversation):
        if not isinstance(parsed(arguments), dict):
            action = 'write "{}"' if not arguments.strip() else "make it with json.dumps"
            yield Hit(
                f"arguments {excerpt(arguments, 60)} are not a JSON object; {action}",
                f"{path}.arguments",
            )


def parsed(arguments: str) -> Any:
    """The JSON value of the arguments, or None."""
    try:
        return msgspec.json.decode(arguments)
    except msgspec.ValidationError:
        return (
            {} if arguments.lstrip().startswith("{") else None
        )  # JSON, with a number that is too long to be read
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


@rule(
    "FT507",
    "tool-args-schema",
    WARNING,
    "conversation",
    needs=["tool_calls", "function_call"],
    good=GOOD_TOOLS,
    bad=line(ASK, call(arguments=r'"{\"city\": 1, \"town\": 2}"'), rest=TOOLS),
    evidence="no other tool checks it",
)
def tool_args_schema(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """The arguments of a call do not fit the `parameters` that its tool declares.

    The model learns to call the tool wrongly. Correct the call or the declaration.
    """
    declared = {definition.name: definition for _, definition in each_definition(conversation)}
    for path, name, arguments in each_function_call(conversation):
        value, definition = parsed(arguments), declared.get(name)
        if isinstance(value, dict) and definition and definition.parameters:
            for message in mismatches(value, definition.parameters):
                yield Hit(
                    f"arguments of {name} do not fit its parameters: {message}", f"{path}.arguments"
                )


@rule(
    "FT508",
    "tool-call-undeclared",
    WARNING,
    "conversation",
    needs=NEEDS_CALLS,
    good=GOOD_TOOLS,
    bad=line(ASK, call(name='"wetter"'), rest=TOOLS),
    evidence="no other tool checks it for these files",
)
def tool_call_undeclared(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """A called function is not among the declared ones."""
    declared = [definition.name for _, definition in each_definition(conversation)]
    for path, name, _ in each_function_call(conversation):
        if declared and name not in declared:
            yield Hit(
                f"{excerpt(name, 60)} is called but not declared; declared: {', '.join(declared)[:120]}",
                f"{path}.name",
            )


@rule(
    "FT509",
    "tools-missing",
    WARNING,
    "conversation",
    needs=["tool_calls"],
    good=GOOD_TOOLS,
    bad=line(ASK, call()),
    evidence="the fine-tuning guide has tools on each line",
)
def tools_missing(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """Tools are called, but the line declares none.

    At inference the model sees the declarations, so it should see them in training.
    """
    if conversation.tools is None and any(each_call(conversation)):
        yield Hit('tools are called but the line has no "tools"; declare them', conversation.path)


@rule(
    "FT513",
    "tool-id-missing",
    ERROR,
    "shape",
    good=GOOD_TOOLS,
    bad=line(ASK, call(), '{"role": "tool", "content": "-3"}', SAY, rest=TOOLS),
    shapes=[("Tool", "tool_call_id", "required"), ("Tool", "tool_call_id", "type")],
    evidence="API description: required",
)
def tool_id_missing(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A tool message does not say which call it answers."""
    yield Hit(
        'the tool message has no "tool_call_id"; give it the id of the call it answers', broken.path
    )


@rule(
    "FT514",
    "tool-orphan",
    ERROR,
    "conversation",
    needs=["tool"],
    good=GOOD_TOOLS,
    bad=line(ASK, ANSWER, SAY, rest=TOOLS),
    evidence="mistral-common; datalint",
)
def tool_orphan(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """A tool message answers no open call: there is no call with its id before it, or it was answered already."""
    for index, message, open_calls in _with_open_calls(conversation):
        if isinstance(message, Tool) and message.tool_call_id not in open_calls:
            waiting = (
                f"open: {', '.join(sorted(open_calls))[:80]}" if open_calls else "none is open"
            )
            path = f"{conversation.path}[{index}].tool_call_id"
            yield Hit(
                f"no open tool call has the id {excerpt(message.tool_call_id, 60)} ({waiting})",
                path,
            )


@rule(
    "FT515",
    "tool-unanswered",
    ERROR,
    "conversation",
    needs=["tool_calls"],
    good=GOOD_TOOLS,
    bad=line(ASK, call(), ASK, SAY, rest=TOOLS),
    evidence="mistral-common; the chat API refuses it",
)
def tool_unanswered(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """The conversation goes on after a tool call without its answer.

    Only the last message of an example may leave calls unanswered.
    """
    for index, message, open_calls in _with_open_calls(conversation):
        if open_calls and not isinstance(message, Tool):
            ids = ", ".join(sorted(open_calls))[:80]
            yield Hit(
                f"the tool call {ids} is not answered before this message; add the tool message",
                f"{conversation.path}[{index}]",
            )


def _with_open_calls(conversation: Conversation) -> Iterator[tuple[int, Any, set[str]]]:
    """Each message with the ids of the calls that wait for an answer when it comes.

    What is still open when somebody else than a tool speaks is not open any more, so that it is reported once.
    """
    open_calls: set[str] = set()
    before = len(conversation.before)
    for index, message in enumerate((*conversation.before, *conversation.messages)):
        if index >= before:
            yield index - before, message, open_calls
        if isinstance(message, Tool):
            open_calls = open_calls - {message.tool_call_id}
        else:
            calls = message.tool_calls if isinstance(message, Answer) else None
            open_calls = {made.id for made in calls or ()}


@rule(
    "FT516",
    "tool-content-parts",
    ERROR,
    "shape",
    good=GOOD_TOOLS,
    bad=line(
        ASK,
        call(),
        '{"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "-3"}]}',
        SAY,
        rest=TOOLS,
    ),
    shapes=[("Tool", "content", "type")],
    evidence="service message (community 965584)",
    says=[r'key "content": Input should be a valid string'],
)
def tool_content_parts(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """The content of a tool message is a list of parts.

    The chat API takes that, fine-tuning does not. Join the texts into one string.
    """
    if isinstance(broken.value, list):
        yield Hit(
            "the content of a tool message must be one string; join the texts of the parts",
            broken.path,
        )


@rule(
    "FT517",
    "function-name-missing",
    ERROR,
    "shape",
    good=GOOD,
    bad=line(
        ASK,
        '{"role": "assistant", "function_call": {"name": "weather", "arguments": "{}"}}',
        '{"role": "function", "content": "-3"}',
        SAY,
    ),
    shapes=[("Function", "name", "required"), ("Function", "name", "type")],
    evidence="API description: required",
)
def function_name_missing(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A function message does not say which function answers."""
    yield Hit(
        'the function message has no "name"; give it the name of the function called', broken.path
    )
