"""Providers' messages that are not about a rule, as in `messages.toml`."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from functools import cache

import msgspec
from msgspec import Struct

from ftkit.catalog.load import read_facts


class KnownMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """A message of providers."""

    says: tuple[str, ...]
    """Texts, any of which identifies the message. They begin and end with a word."""
    means: str
    do: str
    """Advice to the user."""
    source: str
    checked: datetime.date
    status: int | None = None
    """HTTP status that identifies the message as well."""
    lines: str = ""
    """Regular expression whose first group lists line numbers, or ""."""


@cache
def known_messages() -> Mapping[str, KnownMessage]:
    """Return all known messages by name."""
    return msgspec.convert(read_facts("messages"), dict[str, KnownMessage])


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    """Return a pattern for the texts and the status of each known message, by name."""
    return {
        name: re.compile("|".join(_alternatives(message)), re.IGNORECASE)
        for name, message in known_messages().items()
    }


def _alternatives(message: KnownMessage) -> list[str]:
    texts = [rf"(?<!\w){re.escape(text)}(?!\w)" for text in message.says]
    if message.status is None:
        return texts
    status = rf"\b(?:HTTP|status|error|code)\W{{0,3}}{message.status}\b"
    return [*texts, status, rf"^\s*{message.status}\b"]


def match_messages(message: str) -> tuple[KnownMessage, ...]:
    """Return the known messages whose texts or status occur in a message, in any case."""
    messages, patterns = known_messages(), _patterns()
    return tuple(messages[name] for name in messages if patterns[name].search(message))
