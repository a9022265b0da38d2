"""Roles and their order."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.dataset.formats import Conversation
from ftkit.errors import did_you_mean
from ftkit.rules.base import ERROR, INFO, WARNING, Hit, ScanPlan, rule
from ftkit.rules.fixes import Edit, fix
from ftkit.rules.fixes.functions_to_tools import as_tools
from ftkit.rules.nodes import Messages, Roles, SchemaError
from ftkit.rules.samples import ASSISTANT, CHAT, USER, chat
from ftkit.rules.sources import (
    CLONE_FACTORY_3,
    COOKBOOK,
    MISTRAL_FINETUNE,
    OPENAI_MESSAGE,
    OPENAPI,
    OPENAPI_2025,
    PUBLIC_JOBS,
    REPORTED_MESSAGE,
    TOGETHER,
    TORCHTUNE,
)

SYSTEM_ROLES = ("system", "developer")
SYSTEM = '{"role": "system", "content": "Be brief."}'
SYSTEM_CHAT = chat(SYSTEM, USER, ASSISTANT)
REFUSED = "refuses it"

ROLE_SYNONYMS = {
    "human": "user",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "chatbot": "assistant",
    "agent": "assistant",
    "customer": "user",
    "instruction": "system",
    "tool_result": "tool",
    "observation": "tool",
    "ipython": "tool",
}
"""Roles by the names that other tools have for them."""


@rule(
    "FT306",
    "role-missing",
    ERROR,
    SchemaError,
    places=[("*", "role", "discriminator-missing")],
    bad=chat('{"content": "Hi"}', ASSISTANT),
    good=CHAT,
    evidence=[OPENAI_MESSAGE],
    provider_messages=[r"Discriminator '?role'? is missing"],
)
def role_missing(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A message has no `role`.

    The type of a message is chosen by its role, so the message cannot be read, and the job fails.
    Add the role.
    """
    yield Hit(f"the message has no role; add one of {', '.join(error.allowed)}", error.path)


@rule(
    "FT307",
    "role-unknown",
    ERROR,
    SchemaError,
    places=[("*", "role", "discriminator")],
    bad=chat('{"role": "human", "content": "Hi"}', ASSISTANT),
    good=CHAT,
    evidence=[COOKBOOK.with_detail("unrecognized_role"), TOGETHER, REPORTED_MESSAGE],
    provider_messages=[
        r"Invalid value: '\w+'.*role",
        r"Input tag '\w+' found using 'role'",
        r"unrecognized_role",
        r"Unsupported role",
    ],
)
def role_unknown(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A message has a role that the API does not know.

    The job fails. Roles are system, user, assistant and tool, and the deprecated function. Other
    tools call the user `human`, and the assistant `gpt`, `model` or `bot`; rename those.
    """
    value = error.value
    nearest = ROLE_SYNONYMS.get(value.lower().strip()) if isinstance(value, str) else None
    hint = f"; did you mean {nearest!r}?" if nearest else did_you_mean(str(value), error.allowed)
    yield Hit(
        f"role {excerpt(value, 60)} is not one of {', '.join(error.allowed)}{hint}", error.path
    )


@fix(role_unknown, SchemaError, "safe", "write the role in lower case")
def _lower_role(error: SchemaError) -> Edit | None:
    return _with_role(error, str(error.value).lower().strip())


@fix(role_unknown, SchemaError, "unsafe", "write the role as the API names it")
def _known_role(error: SchemaError) -> Edit | None:
    return _with_role(error, ROLE_SYNONYMS.get(str(error.value).lower().strip()))


def _with_role(error: SchemaError, role: str | None) -> Edit | None:
    """Return the edit that sets the role, or None if the message would not fit it."""
    if not isinstance(error.value, str) or role not in error.allowed:
        return None
    if role == "tool" and "tool_call_id" not in error.parent:
        return None
    return Edit(error.parent, "role", role)


@rule(
    "FT308",
    "role-developer",
    WARNING,
    Roles,
    parts=["chat", "input"],
    bad=chat('{"role": "developer", "content": "Be brief."}', USER, ASSISTANT),
    good=SYSTEM_CHAT,
    evidence=[OPENAPI_2025.with_detail("dataset lines have no developer message")],
)
def role_developer(roles: Roles, plan: ScanPlan) -> Iterator[Hit]:
    """A chat or preference example has a developer message.

    The chat API accepts the role, but the schema of fine-tuning files does not have it, and it is
    not known what providers do with it. Use `system`.
    """
    for index, role in enumerate(roles):
        if role == "developer":
            yield Hit(
                "role 'developer' is not documented for this kind of file; use 'system'",
                f"[{index}].role",
            )


@rule(
    "FT309",
    "role-function-deprecated",
    WARNING,
    Conversation,
    needs=["function_call", "function", "functions"],
    bad=chat(
        USER,
        '{"role": "assistant", "function_call": {"name": "now", "arguments": "{}"}}',
        rest=', "functions": [{"name": "now", "parameters": {"type": "object", "properties": {}}}]',
    ),
    good=chat(
        USER,
        '{"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", '
        '"function": {"name": "now", "arguments": "{}"}}]}',
        rest=', "tools": [{"type": "function", "function": '
        '{"name": "now", "parameters": {"type": "object", "properties": {}}}}]',
    ),
    evidence=[OPENAPI.with_detail("deprecated")],
)
def role_function_deprecated(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """The example uses functions, the predecessor of tools.

    `functions`, `function_call` and the role `function` are deprecated, and newer models are called
    with tools. Use `tools`, `tool_calls` and the role `tool`.
    """
    yield Hit(
        "functions are deprecated; use `tools`, `tool_calls` and the role 'tool'", conversation.path
    )


fix(role_function_deprecated, Messages, "unsafe", "write functions as tools")(as_tools)


@rule(
    "FT314",
    "assistant-missing",
    ERROR,
    Roles,
    parts=["chat"],
    bad=chat(USER),
    good=CHAT,
    evidence=[COOKBOOK.with_detail("example_missing_assistant_message")],
)
def assistant_missing(roles: Roles, plan: ScanPlan) -> Iterator[Hit]:
    """The example has no assistant message.

    Only assistant messages are trained on, so there is nothing to learn. Add the answer.
    """
    if "assistant" not in roles:
        yield Hit("no assistant message, so there is nothing to train on; add the answer")


@rule(
    "FT315",
    "assistant-not-last",
    ERROR,
    Roles,
    parts=["chat"],
    bad=chat(USER, ASSISTANT, USER),
    good=CHAT,
    evidence=[
        CLONE_FACTORY_3.with_detail('"fine-tune expects the final message to be from assistant"'),
        MISTRAL_FINETUNE.with_detail(REFUSED),
    ],
    provider_messages=[
        r"final message to be from (the )?assistant",
        r"last message (must|should) be from the assistant",
    ],
)
def assistant_not_last(roles: Roles, plan: ScanPlan) -> Iterator[Hit]:
    """The example does not end with an assistant message.

    Messages after the last answer are never trained on. Remove them, or add the answer to them.
    """
    if "assistant" in roles and roles[-1] != "assistant":
        yield Hit(
            f"the example ends with a {roles[-1]} message; "
            "end it with an assistant message, which is trained on",
            f"[{len(roles) - 1}]",
        )


@rule(
    "FT316",
    "user-missing",
    INFO,
    Roles,
    parts=["chat", "input"],
    bad=chat(SYSTEM, ASSISTANT),
    good=SYSTEM_CHAT,
    evidence=[
        COOKBOOK.with_detail("counts such examples"),
        PUBLIC_JOBS.with_detail("a job with such an example succeeded"),
    ],
)
def user_missing(roles: Roles, plan: ScanPlan) -> Iterator[Hit]:
    """The example has no user message.

    Providers accept it, and the model learns to answer without a question. That is right for texts
    that begin by themselves. Otherwise add the question.
    """
    if "user" not in roles and ("assistant" in roles or plan.format == "preference"):
        yield Hit(
            "no user message, so the model learns to answer without a question; add the question"
        )


@rule(
    "FT317",
    "system-multiple",
    WARNING,
    Roles,
    parts=["chat", "input", "reinforcement"],
    bad=chat(SYSTEM, '{"role": "system", "content": "Be kind."}', USER, ASSISTANT),
    good=chat('{"role": "system", "content": "Be brief. Be kind."}', USER, ASSISTANT),
    evidence=[MISTRAL_FINETUNE.with_detail(REFUSED)],
)
def system_multiple(roles: Roles, plan: ScanPlan) -> Iterator[Hit]:
    """The example has more than one system message.

    Some providers refuse it, and chat templates expect a single one. Join them.
    """
    positions = [index for index, role in enumerate(roles) if role in SYSTEM_ROLES]
    if len(positions) > 1:
        yield Hit(
            f"{len(positions):,} system messages; join them into the first", f"[{positions[1]}]"
        )


@rule(
    "FT318",
    "system-not-first",
    WARNING,
    Roles,
    parts=["chat", "input", "reinforcement"],
    bad=chat(USER, SYSTEM, ASSISTANT),
    good=SYSTEM_CHAT,
    evidence=[TORCHTUNE.with_detail(REFUSED)],
)
def system_not_first(roles: Roles, plan: ScanPlan) -> Iterator[Hit]:
    """The system message is not the first message.

    Some tools refuse it, and at inference the system message comes first. Move it to the start.
    """
    positions = [index for index, role in enumerate(roles) if role in SYSTEM_ROLES]
    if positions and positions[0] > 0:
        yield Hit(
            "the system message is not the first message; move it to the start",
            f"[{positions[0]}]",
        )


@rule(
    "FT319",
    "role-consecutive",
    WARNING,
    Roles,
    parts=["chat", "input", "reinforcement"],
    bad=chat(USER, '{"role": "user", "content": "Anyone?"}', ASSISTANT),
    good=chat('{"role": "user", "content": "Hi. Anyone?"}', ASSISTANT),
    evidence=[
        TOGETHER.with_detail(REFUSED),
        TORCHTUNE.with_detail("refuses two user messages in a row"),
    ],
)
def role_consecutive(roles: Roles, plan: ScanPlan) -> Iterator[Hit]:
    """Two user or two assistant messages follow one another.

    Some providers refuse it, and some chat templates cannot express it. Join the messages, unless
    one between them was lost.
    """
    for index in range(1, len(roles)):
        if roles[index] == roles[index - 1] and roles[index] in ("user", "assistant"):
            yield Hit(f"two {roles[index]} messages in a row; join them", f"[{index}]")


@rule(
    "FT320",
    "role-first-assistant",
    WARNING,
    Roles,
    parts=["chat", "input"],
    bad=chat(ASSISTANT, USER, ASSISTANT),
    good=CHAT,
    evidence=[TOGETHER.with_detail(REFUSED)],
)
def role_first_assistant(roles: Roles, plan: ScanPlan) -> Iterator[Hit]:
    """The conversation begins with an assistant message.

    Some providers refuse it; OpenAI accepts it. It is right for a bot that greets. Otherwise a
    message was lost: add it.
    """
    turns = [index for index, role in enumerate(roles) if role not in SYSTEM_ROLES]
    if turns and roles[turns[0]] == "assistant" and "user" in roles:
        yield Hit(
            "the conversation begins with an assistant message; "
            "add the user message before it, if there was one",
            f"[{turns[0]}]",
        )
