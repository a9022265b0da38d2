"""The neutral form of an example, between the format read and the format written."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

Message = dict[str, Any]
"""A message as in OpenAI's chat format, as a JSON object."""


class Extra(Struct, frozen=True):
    """A value of a source row that OpenAI's chat format has no place for."""

    pointer: str
    """JSON pointer (RFC 6901) to the value in the source row."""
    kind: str
    """What it is, such as "thinking block": a writer that has a place for it selects it by this."""
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
    tools: list[dict[str, Any]] | None = None
    parallel_tool_calls: bool | None = None
    fields: dict[str, Any] = {}
    """Fields for the grader of a reinforcement example."""
    extras: list[Extra] = []
