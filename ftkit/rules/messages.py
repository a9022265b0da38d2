"""Messages: their array and their keys."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.errors import did_you_mean
from ftkit.rules.base import ERROR, Hit, ScanPlan, rule
from ftkit.rules.fixes import fix
from ftkit.rules.fixes.keys import remove_key, rename_to_nearest
from ftkit.rules.nodes import SchemaError
from ftkit.rules.samples import ASSISTANT, CHAT, USER, chat
from ftkit.rules.sources import COOKBOOK, OPENAI_MESSAGE, OPENAPI_2025, TOGETHER

MESSAGE_TYPES = ("System", "Developer", "User", "Answer", "Tool", "Function")
UNWEIGHTED_TYPES = ("System", "Developer", "User", "Tool", "Function")
"""Types of messages that have no weight."""
PARENT_TYPES = ("Chat", "Reinforcement", "PreferenceInput")
"""Types that have `messages`."""

WEIGHT_SYNONYMS = ("train", "train_detail", "loss", "mask")
"""Keys that other tools use to choose the messages to train on."""


@rule(
    "FT301",
    "messages-missing",
    ERROR,
    SchemaError,
    places=[("Chat", "messages", "required"), ("Reinforcement", "messages", "required")],
    bad="{}",
    good=CHAT,
    evidence=[OPENAI_MESSAGE, OPENAPI_2025],
    provider_messages=[r"missing key '?messages'?"],
)
def messages_missing(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """The example has no `messages`.

    There is no conversation to train on, and the job fails. Add the array of messages.
    """
    yield Hit(
        'the example has no "messages"; add the array of messages',
        error.path.rpartition(".")[0] or "$",
    )


@rule(
    "FT302",
    "messages-type",
    ERROR,
    SchemaError,
    places=[(owner, "messages", "type") for owner in PARENT_TYPES],
    bad='{"messages": {"role": "user", "content": "Hi"}}',
    good=CHAT,
    evidence=[TOGETHER, COOKBOOK],
)
def messages_type(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """`messages` is not an array.

    The example cannot be read, and the job fails. Write the messages as `[...]`, even a single one.
    """
    yield Hit(
        f'"messages" must be an array of messages, not {excerpt(error.value, 60)}', error.path
    )


@rule(
    "FT303",
    "messages-empty",
    ERROR,
    SchemaError,
    places=[(owner, "messages", "minItems") for owner in PARENT_TYPES],
    bad='{"messages": []}',
    good=CHAT,
    evidence=[OPENAPI_2025.with_detail("minItems: 1"), TOGETHER],
)
def messages_empty(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """`messages` is an empty array.

    There is nothing to train on. Add the messages, or remove the example.
    """
    yield Hit('"messages" is empty; add messages, or remove the example', error.path)


@rule(
    "FT304",
    "message-type",
    ERROR,
    SchemaError,
    places=[
        *((owner, "messages", "items") for owner in PARENT_TYPES),
        ("Preference", "preferred_output", "items"),
        ("Preference", "non_preferred_output", "items"),
    ],
    bad=chat('"Hi"', ASSISTANT),
    good=CHAT,
    evidence=[TOGETHER, COOKBOOK],
)
def message_type(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A message is not an object.

    Its role is unknown, and the job fails. Write it as `{"role": ..., "content": ...}`.
    """
    yield Hit(
        'a message must be an object {"role": ..., "content": ...}, '
        f"not {excerpt(error.value, 60)}",
        error.path,
    )


@rule(
    "FT305",
    "message-unknown-key",
    ERROR,
    SchemaError,
    places=[
        (owner, "*", "additionalProperties")
        for owner in (*MESSAGE_TYPES, "ToolCall", "FunctionCall")
    ],
    bad=chat(USER, '{"role": "assistant", "content": "Hello!", "train": true}'),
    good=chat(USER, '{"role": "assistant", "content": "Hello!", "weight": 1}'),
    evidence=[COOKBOOK.with_detail("message_unrecognized_key")],
)
def message_unknown_key(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A message has a key that the API does not know.

    Fine-tuning refuses extra keys. Remove it. To choose the assistant messages to train on, use
    `"weight": 0` and `"weight": 1`.
    """
    if error.field.lower() in error.allowed or (
        error.field == "weight" and error.owner in UNWEIGHTED_TYPES
    ):
        return
    hint = did_you_mean(error.field, error.allowed)
    if error.field in WEIGHT_SYNONYMS and not hint:
        hint = '; use "weight": 0 or 1 to choose the assistant messages to train on'
    if error.field == "weight":
        hint = "; reinforcement examples have no weights"
    yield Hit(
        f"{_owner_name(error)} has no key {excerpt(error.field, 60)}{hint or '; remove it'}",
        error.path,
    )


fix(message_unknown_key, SchemaError, "safe", "rename the key")(rename_to_nearest)
fix(message_unknown_key, SchemaError, "unsafe", "remove the key")(remove_key)


def _owner_name(error: SchemaError) -> str:
    """Return the name of the type that an error is about, with its article."""
    names = {
        "ToolCall": "a tool call",
        "FunctionCall": "a function call",
        "Assistant": "an assistant message",
        "Answer": "an assistant message",
    }
    return names.get(error.owner, f"a {error.owner.lower()} message")
