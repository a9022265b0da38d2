"""Names of the authors of messages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.dataset.formats import Conversation
from ftkit.rules.base import ERROR, Hit, ScanPlan, also, rule
from ftkit.rules.nodes import SchemaError
from ftkit.rules.samples import ASSISTANT, chat
from ftkit.rules.sources import OPENAI_CHAT_API

NAME = re.compile(r"[a-zA-Z0-9_-]+")
NAME_LENGTH = 64
"""Maximum number of characters of a name."""
GOOD = chat('{"role": "user", "content": "Hi", "name": "Jo_Smith"}', ASSISTANT)


@rule(
    "FT330",
    "name-invalid",
    ERROR,
    Conversation,
    needs=["name"],
    bad=GOOD.replace("Jo_Smith", "Jo Smith"),
    good=GOOD,
    evidence=[OPENAI_CHAT_API.with_detail("pattern of an earlier edition: ^[a-zA-Z0-9_-]{1,64}$")],
)
def name_invalid(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """A name has characters other than letters, digits, `_` and `-`.

    The chat API refuses such names. Replace the other characters.
    """
    for index, message in enumerate(conversation.messages):
        if isinstance(message.name, str) and not NAME.fullmatch(message.name):
            yield Hit(
                f"name {excerpt(message.name, 60)} has characters other than letters, digits, _ "
                "and -; replace them",
                f"{conversation.path}[{index}].name",
            )


@also(
    name_invalid,
    SchemaError,
    places=[(owner, "name", "type") for owner in ("System", "Developer", "User", "Answer", "Tool")],
)
def _name_type(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    yield Hit(f"name must be a string, not {excerpt(error.value, 60)}", error.path)


@rule(
    "FT331",
    "name-too-long",
    ERROR,
    Conversation,
    needs=["name"],
    bad=GOOD.replace("Jo_Smith", "n" * (NAME_LENGTH + 1)),
    good=GOOD,
    evidence=[OPENAI_CHAT_API.with_detail("at most 64 characters")],
)
def name_too_long(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """A name is longer than 64 characters.

    The chat API refuses such names. Shorten it.
    """
    for index, message in enumerate(conversation.messages):
        if isinstance(message.name, str) and len(message.name) > NAME_LENGTH:
            yield Hit(
                f"the name has {len(message.name)} characters; shorten it to {NAME_LENGTH}",
                f"{conversation.path}[{index}].name",
            )
