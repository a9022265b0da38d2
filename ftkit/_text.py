"""Text for messages: excerpts, printable text, money."""

from __future__ import annotations

from typing import Any

import msgspec

EXCERPT_LENGTH = 200
"""Maximum number of characters of the user's data in a message."""


def excerpt(value: Any, limit: int = EXCERPT_LENGTH) -> str:
    """Return `value` on one line, printable, cut after `limit` characters."""
    if isinstance(value, str):
        return repr(value) if len(value) <= limit else f"{value[:limit]!r}…"
    text = _as_json(value)
    return text if len(text) <= limit else f"{text[:limit]}…"


def _as_json(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError):
        return f"<{type(value).__name__}>"


def printable(text: str, keep: str = "") -> str:
    """Escape every character that is not printable, so that text cannot control a terminal.

    Args:
        text: The text.
        keep: Characters to leave as they are, such as a line feed.
    """
    return "".join(
        char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in text
    )


def shorten(text: str, width: int) -> str:
    """Replace the middle of a text longer than `width` by …, since names differ at their ends."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def money(usd: float) -> str:
    """Format US dollars in whole cents, or with four decimals below ten cents."""
    return f"${usd:,.2f}" if usd >= 0.1 or usd == 0 else f"${usd:.4f}"
