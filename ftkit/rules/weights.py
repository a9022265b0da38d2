"""Weights: which of the assistant's messages are trained on."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.dataset.formats import Conversation
from ftkit.dataset.types import Assistant
from ftkit.rules.base import ERROR, Broken, Hit, ScanPlan, rule
from ftkit.rules.json_lines import GOOD
from ftkit.rules.messages import ASSISTANT, USER, WEIGHTLESS, line


@rule(
    "FT340",
    "weight-value",
    ERROR,
    "shape",
    shapes=[("Assistant", "weight", "enum")],
    good=GOOD,
    bad=line(USER, '{"role": "assistant", "content": "Hello!", "weight": 2}'),
    evidence="API description: enum [0, 1]; together 1.5; mistral-finetune",
)
def weight_value(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A weight is neither 0 nor 1.

    1 trains on the message, 0 leaves it out. There is nothing between.
    """
    if type(broken.value) is int:
        yield Hit(
            f"weight is {excerpt(broken.value, 30)}; it must be 0 (not trained on) or 1",
            broken.path,
        )


@rule(
    "FT341",
    "weight-type",
    ERROR,
    "shape",
    shapes=[("Assistant", "weight", "enum")],
    good=GOOD,
    bad=line(USER, '{"role": "assistant", "content": "Hello!", "weight": "1"}'),
    evidence="API description: an integer; together 1.5 lets true pass",
)
def weight_type(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A weight is not an integer: a string, true, null or a fraction."""
    if type(broken.value) is not int:
        yield Hit(
            f"weight is {excerpt(broken.value, 30)}; it must be the integer 0 or 1", broken.path
        )


@rule(
    "FT342",
    "weight-role",
    ERROR,
    "shape",
    good=GOOD,
    shapes=[(owner, "weight", "additionalProperties") for owner in WEIGHTLESS],
    bad=line('{"role": "user", "content": "Hi", "weight": 1}', ASSISTANT),
    evidence="API description: only assistant messages have a weight; together 1.5",
)
def weight_role(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A weight stands on a message that is not the assistant's. Only answers are trained on; remove it."""
    yield Hit(
        f"a {broken.owner.lower()} message has no weight, only the assistant's are trained on; remove it",
        broken.path,
    )


@rule(
    "FT343",
    "weight-all-zero",
    ERROR,
    "conversation",
    parts=["chat"],
    needs=["weight"],
    good=GOOD,
    bad=line(USER, '{"role": "assistant", "content": "Hello!", "weight": 0}'),
    evidence="fine-tuning guide: at least one must count",
)
def weight_all_zero(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """Every assistant message of the example has weight 0, so nothing is trained."""
    answers = [message for message in conversation.messages if isinstance(message, Assistant)]
    if answers and all(message.weight == 0 for message in answers):
        yield Hit(
            "every assistant message has weight 0: nothing is trained; give one the weight 1",
            conversation.path,
        )
