"""Weights, which choose the assistant messages to train on."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.dataset.formats import Conversation
from ftkit.dataset.types import Assistant
from ftkit.rules.base import ERROR, Hit, ScanPlan, rule
from ftkit.rules.fixes import Edit, fix
from ftkit.rules.fixes.keys import remove_key
from ftkit.rules.messages import UNWEIGHTED_TYPES
from ftkit.rules.nodes import SchemaError
from ftkit.rules.samples import ASSISTANT, CHAT, USER, chat
from ftkit.rules.sources import MISTRAL_FINETUNE, OPENAI_GUIDE, OPENAPI, TOGETHER


def weighted(weight: str) -> str:
    """Return a chat example whose assistant message has this weight, which is JSON."""
    return chat(USER, f'{{"role": "assistant", "content": "Hello!", "weight": {weight}}}')


GOOD = weighted("1")


@rule(
    "FT340",
    "weight-value",
    ERROR,
    SchemaError,
    places=[("Assistant", "weight", "enum")],
    bad=weighted("2"),
    good=GOOD,
    evidence=[OPENAPI.with_detail("enum: [0, 1]"), TOGETHER, MISTRAL_FINETUNE],
)
def weight_value(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A weight is neither 0 nor 1.

    Providers refuse the example. 1 trains on the message, and 0 does not; there is nothing in
    between.
    """
    if type(error.value) is int:
        yield Hit(
            f"weight must be 0 (not trained on) or 1, not {excerpt(error.value, 30)}", error.path
        )


@rule(
    "FT341",
    "weight-type",
    ERROR,
    SchemaError,
    places=[("Assistant", "weight", "enum")],
    bad=weighted('"1"'),
    good=GOOD,
    evidence=[OPENAPI.with_detail("type: integer"), TOGETHER.with_detail("accepts true")],
)
def weight_type(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A weight is not an integer, but a string, a boolean, null or a fraction.

    Providers refuse the example. Write `0` or `1`.
    """
    if type(error.value) is not int:
        yield Hit(f"weight must be the integer 0 or 1, not {excerpt(error.value, 30)}", error.path)


WEIGHTS = {"0": 0, "1": 1}
"""Weights by their text."""


@fix(weight_type, SchemaError, "safe", "write the weight as 0 or 1")
def _as_integer(error: SchemaError) -> Edit | None:
    value = error.value
    if isinstance(value, str):
        weight = WEIGHTS.get(value)
    else:
        weight = int(value) if isinstance(value, (bool, float)) and value in (0, 1) else None
    return None if weight is None else Edit(error.parent, "weight", weight)


@fix(weight_type, SchemaError, "unsafe", "remove the null")
def _remove_null(error: SchemaError) -> Edit | None:
    return Edit(error.parent, "weight") if error.value is None else None


@rule(
    "FT342",
    "weight-role",
    ERROR,
    SchemaError,
    places=[(owner, "weight", "additionalProperties") for owner in UNWEIGHTED_TYPES],
    bad=chat('{"role": "user", "content": "Hi", "weight": 1}', ASSISTANT),
    good=CHAT,
    evidence=[OPENAPI.with_detail("only the assistant message has a weight"), TOGETHER],
)
def weight_role(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A message other than the assistant's has a weight.

    Only assistant messages are trained on, and providers refuse the key elsewhere. Remove it.
    """
    yield Hit(
        f"a {error.owner.lower()} message has no weight, "
        "since only assistant messages are trained on; remove it",
        error.path,
    )


fix(weight_role, SchemaError, "unsafe", "remove the weight")(remove_key)


@rule(
    "FT343",
    "weight-all-zero",
    ERROR,
    Conversation,
    parts=["chat"],
    needs=["weight"],
    bad=weighted("0"),
    good=GOOD,
    evidence=[OPENAI_GUIDE.with_detail("at least one weight must be 1")],
)
def weight_all_zero(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """Every assistant message of the example has weight 0.

    Nothing is trained on. Give at least one message the weight 1, or remove the example.
    """
    answers = [message for message in conversation.messages if isinstance(message, Assistant)]
    if answers and all(message.weight == 0 for message in answers):
        yield Hit(
            "every assistant message has weight 0, so nothing is trained on; give one the weight 1",
            conversation.path,
        )
