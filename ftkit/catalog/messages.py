"""Providers' messages that are not about a rule, as in `messages.toml`."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from functools import cache

import msgspec
from msgspec import Struct

from ftkit.catalog.load import read_facts


class KnownMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """A message of providers."""

    says: tuple[str, ...]
    """Texts, any of which identifies the message."""
    means: str
    do: str
    """Advice to the user."""
    source: str
    checked: datetime.date
    lines: str = ""
    """Regular expression whose first group lists line numbers, or ""."""


@cache
def known_messages() -> Mapping[str, KnownMessage]:
    """Return all known messages by name."""
    return msgspec.convert(read_facts("messages"), dict[str, KnownMessage])


def match_messages(message: str) -> tuple[KnownMessage, ...]:
    """Return the known messages whose texts occur in a message, in any case."""
    return tuple(
        known_message
        for known_message in known_messages().values()
        if any(text.lower() in message.lower() for text in known_message.says)
    )
