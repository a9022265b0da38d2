"""The neutral form of an example, between the format read and the format written."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

Message = dict[str, Any]
"""A message as in OpenAI's chat format, as a JSON object."""


class ExtraKind(StrEnum):
    """Kinds of extras that code selects by, with their text in reports."""

    UNKNOWN_KEY = "unknown key"
    """Key that the source format does not know."""
    UNUSED = "not used by the mapping"
    """Value that no path of a mapping leads to."""
    UNASKED = "answer to a message without text"
    """Answer whose question is an image or the like, so that nobody could learn from it."""
    LOG_KEY = "key that is no part of the conversation"
    """Id, setting or other key of a request, a response or a log."""
    DIFFERENCE = "differs when it is read back"
    """Value that the output does not give back."""
    GRADER_FIELD = "grader field"
    FUNCTIONS = "functions"
    """Deprecated definitions of functions."""
    REASONING = "thinking"
    """Reasoning of a message, as a text."""
    THINKING_BLOCK = "thinking block"
    """Reasoning of a message, as a block of Anthropic's."""
    IS_ERROR = "`is_error` of a tool result"


class Extra(Struct, frozen=True):
    """A value of a source row that OpenAI's chat format has no place for."""

    pointer: str
    """JSON pointer (RFC 6901) to the value in the source row."""
    kind: ExtraKind | str
    """Kind of the value, in words. Writers that have a place for it select it by an `ExtraKind`."""
    value: Any
    message: int = -1
    """Index of the message that it belongs to, or -1 for the example. Messages of `chosen` and
    `rejected` have no extras of their own; theirs belong to the example."""
    is_loss: bool = True
    """False if the example is complete without it: an id of a tool call that was made or renamed,
    another spelling, a default, a key that a log adds to each row. It is reported, but no loss."""


class Example(Struct, kw_only=True):
    """An example in neutral form: OpenAI's chat format, and what that has no place for."""

    messages: list[Message]
    """The conversation; for a preference example, the prompt."""
    chosen: list[Message] | None = None
    """Preferred output of a preference example."""
    rejected: list[Message] | None = None
    """Other output of a preference example."""
    chosen_place: str = "/chosen"
    """JSON pointer to the source of `chosen`."""
    rejected_place: str = "/rejected"
    """JSON pointer to the source of `rejected`."""
    tools: list[dict[str, Any]] | None = None
    parallel_tool_calls: bool | None = None
    fields: dict[str, Any] = {}
    """Fields for the grader of a reinforcement example."""
    extras: list[Extra] = []
    places: list[str] | None = None
    """JSON pointer to the source of each message, or None if the source has them in `messages`."""

    def extra_of(
        self, kind: ExtraKind | str, message: int, key: str = "", value: Any = None
    ) -> Extra:
        """Return the extra for a value of a message that a writer has no place for.

        Args:
            kind: What it is, such as "weight".
            message: Index of the message.
            key: Key of the value in the message.
            value: The value.
        """
        place = self.place(message)
        if key and self.places is None and message < len(self.messages):
            place = f"{place}/{key}"
        return Extra(place, kind, value, message)

    def place(self, message: int) -> str:
        """Return the JSON pointer to the source of a message, or of `chosen` for those behind."""
        if message >= len(self.messages) and self.chosen is not None:
            return self.chosen_place
        if self.places is None:
            return f"/messages/{message}"
        return self.places[message] if message < len(self.places) else ""

    def source_of(self, pointer: str) -> str:
        """Return the JSON pointer to the source of a value of the example."""
        key, _, rest = pointer[1:].partition("/")
        if key == "messages" and rest and self.places is not None:
            return self.place(int(rest.partition("/")[0]))
        places = {"chosen": self.chosen_place, "rejected": self.rejected_place}
        return places.get(key, pointer)

    def split_extras(self, kind: ExtraKind) -> tuple[list[Extra], list[Extra]]:
        """Return the extras of a kind, and the others."""
        selected = [extra for extra in self.extras if extra.kind == kind]
        return selected, [extra for extra in self.extras if extra.kind != kind]
