"""Node types that exist only for rules: schema errors, roles, messages, texts and whole files.

The other node types are `Head`, `Reading`, `Conversation`, `TokenCount` and the types of decoded
examples, which belong to the packages below.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ftkit.rules.fingerprints import Fingerprints
from ftkit.summary import Summary


class SchemaError(Struct, frozen=True):
    """A place where the JSON of an example does not fit the types of its format."""

    owner: str
    """Name of the type that declares the field."""
    field: str
    """Name of the field, or "" for the value as a whole."""
    keyword: str
    """JSON Schema keyword that failed, or `discriminator` or `discriminator-missing` for a tag."""
    path: str
    """JSON path of the value."""
    value: Any
    """The value that does not fit."""
    parent: Any
    """The object or array that holds the value."""
    allowed: tuple[str, ...] = ()
    """Keys or tags that are allowed instead."""
    steps: tuple[str | int, ...] = ()
    """Keys and indices that lead from the root to the value."""


class Roles(tuple[str, ...]):
    """Roles of the messages of a conversation, in order. Paths of hits are indices into it."""

    __slots__ = ()


class Messages(Struct, frozen=True):
    """The messages of a conversation as JSON, for fixes."""

    messages: list[Any]
    holder: dict[str, Any]
    """The object that may hold `tools` and `functions` of the conversation."""
    path: str
    """JSON path of the list of messages."""


Text = str
"""Node type of a text of an example. Only texts of lines that pass the prefilter are visited."""


class Dataset(Struct, frozen=True):
    """A whole file."""

    summary: Summary
    """Sum over all lines of the file."""
    fingerprints: Fingerprints
    """Fingerprints of its examples."""
    validation: str | None = None
    """Name of the validation file that belongs to this training file."""
    validation_fingerprints: Fingerprints | None = None
    """Fingerprints of the examples of the validation file."""
