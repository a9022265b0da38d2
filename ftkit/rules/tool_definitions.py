"""The tools that an example declares."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.dataset.formats import Conversation
from ftkit.rules.base import ERROR, WARNING, Broken, Hit, ScanPlan, also, rule
from ftkit.rules.messages import line
from ftkit.rules.parameters import schema_problem
from ftkit.rules.tools import ASK, GOOD_TOOLS, NAME, NAME_RULE, SAY, TOOL, each_definition


@rule(
    "FT510",
    "tools-empty",
    WARNING,
    "conversation",
    needs=["tools"],
    good=GOOD_TOOLS,
    bad=line(ASK, SAY, rest=', "tools": []'),
    evidence="the chat API refuses []; examples of the fine-tuning guides have it",
)
def tools_empty(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """`tools` is an empty list. Leave it out."""
    if conversation.tools == [] and conversation.part != "output":
        yield Hit('"tools" is empty; leave it out', f"{conversation.path.rpartition('.')[0]}.tools")


@rule(
    "FT511",
    "tool-schema-invalid",
    ERROR,
    "shape",
    good=GOOD_TOOLS,
    bad=line(
        ASK, SAY, rest=', "tools": [{"type": "function", "name": "weather", "parameters": {}}]'
    ),
    shapes=[(owner, "*", "*") for owner in ("ToolDefinition", "FunctionDefinition")]
    + [
        (owner, field, "*")
        for owner in ("Chat", "PreferenceInput", "Reinforcement")
        for field in ("tools", "functions", "parallel_tool_calls")
    ],
    evidence="mistral-common checks it against JSON Schema draft 7",
)
def tool_schema_invalid(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A tool is not declared as the API wants it, or its `parameters` are not a JSON Schema of an object.

    The form is `{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}`. The Responses API
    has a flatter one, without the inner `function`.
    """
    if broken.keyword == "additionalProperties" and broken.field in (
        "name",
        "parameters",
        "description",
        "strict",
    ):
        yield Hit(
            f'{excerpt(broken.field)} belongs inside "function": {{...}} (this is the Responses API\'s form)',
            broken.path,
        )
    elif broken.keyword == "additionalProperties":
        yield Hit(
            f"a tool declaration has no key {excerpt(broken.field, 60)}; remove it", broken.path
        )
    elif broken.keyword == "required":
        yield Hit(f'the tool declaration lacks "{broken.field}"', broken.path)
    else:
        yield Hit(
            f"{excerpt(broken.value, 60)} cannot stand here in a tool declaration", broken.path
        )


@also(tool_schema_invalid, "conversation", needs=["tools", "functions"])
def _parameters(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    if conversation.part == "output":
        return
    for path, definition in each_definition(conversation):
        if not NAME.fullmatch(definition.name):
            yield Hit(
                f"{excerpt(definition.name, 80)} is no function name; {NAME_RULE}", f"{path}.name"
            )
        if definition.parameters:
            problem = schema_problem(definition.parameters)
            if problem:
                yield Hit(
                    f"parameters are not a JSON Schema of an object: {problem}",
                    f"{path}.parameters",
                )


@rule(
    "FT512",
    "tool-name-duplicate",
    ERROR,
    "conversation",
    needs=["tools", "functions"],
    good=GOOD_TOOLS,
    bad=line(ASK, SAY, rest=f', "tools": [{TOOL}, {TOOL}]'),
    evidence="no other tool checks it",
)
def tool_name_duplicate(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """Two declared tools have one name."""
    seen: set[str] = set()
    for path, definition in each_definition(conversation) if conversation.part != "output" else ():
        if definition.name in seen:
            yield Hit(
                f"the name {excerpt(definition.name, 60)} is declared twice; keep one",
                f"{path}.name",
            )
        seen.add(definition.name)
