"""The order of the roles in a conversation."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit.rules.base import ERROR, WARNING, Hit, ScanPlan, rule
from ftkit.rules.json_lines import GOOD
from ftkit.rules.messages import ASSISTANT, USER, line

SYSTEM = ("system", "developer")


@rule(
    "FT308",
    "role-developer",
    WARNING,
    "roles",
    parts=["chat", "input"],
    good=GOOD,
    bad=line('{"role": "developer", "content": "Be brief."}', USER, ASSISTANT),
    evidence="the API description has no developer message for supervised or preference files; the service's answer is unknown",
)
def role_developer(roles: tuple[str, ...], plan: ScanPlan) -> Iterator[Hit]:
    """A developer message in a chat or preference file.

    The chat API takes the role, the description of fine-tuning files leaves it out. Use `system`.
    """
    for index, role in enumerate(roles):
        if role == "developer":
            yield Hit(
                "the developer role is not documented for this kind of file; use system",
                f"[{index}].role",
            )


@rule(
    "FT314",
    "assistant-missing",
    ERROR,
    "roles",
    parts=["chat"],
    good=GOOD,
    bad=line(USER),
    evidence="the cookbook notebook's example_missing_assistant_message",
)
def assistant_missing(roles: tuple[str, ...], plan: ScanPlan) -> Iterator[Hit]:
    """The example has no assistant message, so there is nothing to learn."""
    if "assistant" not in roles:
        yield Hit("no assistant message: there is nothing to train on; add the answer")


@rule(
    "FT315",
    "assistant-not-last",
    ERROR,
    "roles",
    parts=["chat"],
    good=GOOD,
    bad=line(USER, ASSISTANT, USER),
    evidence="'fine-tune expects the final message to be from assistant' (reported by users); mistral-finetune",
    says=[
        r"final message to be from (the )?assistant",
        r"last message (must|should) be from the assistant",
    ],
)
def assistant_not_last(roles: tuple[str, ...], plan: ScanPlan) -> Iterator[Hit]:
    """The example does not end with an assistant message.

    What follows the last answer is never trained on. Remove it, or add the answer.
    """
    if "assistant" in roles and roles[-1] != "assistant":
        yield Hit(
            f"the example ends with a {roles[-1]} message; it must end with the assistant's answer",
            f"[{len(roles) - 1}]",
        )


@rule(
    "FT316",
    "user-missing",
    WARNING,
    "roles",
    parts=["chat", "input"],
    good=GOOD,
    bad=line('{"role": "system", "content": "Be brief."}', ASSISTANT),
    evidence="the cookbook notebook counts it; a job with such an example succeeded",
)
def user_missing(roles: tuple[str, ...], plan: ScanPlan) -> Iterator[Hit]:
    """The example has no user message.

    The service takes it, and the model learns to speak unasked.
    """
    if "user" not in roles and ("assistant" in roles or plan.format == "preference"):
        yield Hit("no user message: the model learns to speak unasked")


@rule(
    "FT317",
    "system-multiple",
    WARNING,
    "roles",
    parts=["chat", "input", "reinforcement"],
    good=GOOD,
    bad=line(
        '{"role": "system", "content": "Be brief."}',
        '{"role": "system", "content": "Be kind."}',
        USER,
        ASSISTANT,
    ),
    evidence="mistral-finetune refuses it",
)
def system_multiple(roles: tuple[str, ...], plan: ScanPlan) -> Iterator[Hit]:
    """The example has more than one system message. Join them."""
    where = [index for index, role in enumerate(roles) if role in SYSTEM]
    for index in where[1:]:
        yield Hit("a second system message; join it with the first", f"[{index}]")


@rule(
    "FT318",
    "system-not-first",
    WARNING,
    "roles",
    parts=["chat", "input", "reinforcement"],
    good=GOOD,
    bad=line(USER, '{"role": "system", "content": "Be brief."}', ASSISTANT),
    evidence="torchtune refuses it",
)
def system_not_first(roles: tuple[str, ...], plan: ScanPlan) -> Iterator[Hit]:
    """The system message stands after the start of the conversation."""
    where = [index for index, role in enumerate(roles) if role in SYSTEM]
    if where and where[0] > 0:
        yield Hit("the system message stands after the start; make it the first", f"[{where[0]}]")


@rule(
    "FT319",
    "role-consecutive",
    WARNING,
    "roles",
    parts=["chat", "input", "reinforcement"],
    good=GOOD,
    bad=line(USER, '{"role": "user", "content": "Anyone?"}', ASSISTANT),
    evidence="together 1.5 refuses it; torchtune refuses two user messages",
)
def role_consecutive(roles: tuple[str, ...], plan: ScanPlan) -> Iterator[Hit]:
    """Two user or two assistant messages follow one another. Join them, if one speaker speaks on."""
    for index in range(1, len(roles)):
        if roles[index] == roles[index - 1] and roles[index] in ("user", "assistant"):
            yield Hit(f"two {roles[index]} messages in a row; join them", f"[{index}]")


@rule(
    "FT320",
    "role-first-assistant",
    WARNING,
    "roles",
    parts=["chat", "input"],
    good=GOOD,
    bad=line(ASSISTANT, USER, ASSISTANT),
    evidence="together 1.5 refuses it; it is legal at OpenAI",
)
def role_first_assistant(roles: tuple[str, ...], plan: ScanPlan) -> Iterator[Hit]:
    """The conversation opens with the assistant.

    Legal, and right for a bot that greets; else a message was lost.
    """
    spoken = [index for index, role in enumerate(roles) if role not in SYSTEM]
    if spoken and roles[spoken[0]] == "assistant" and "user" in roles:
        yield Hit(
            "the conversation opens with the assistant; was a message lost?", f"[{spoken[0]}]"
        )
