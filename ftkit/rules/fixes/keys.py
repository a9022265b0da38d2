"""Fixes of unknown keys."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from ftkit.errors import NAME_LENGTH
from ftkit.rules.fixes import Edit
from ftkit.rules.nodes import SchemaError

VALUES: dict[str, tuple[type[Any], ...]] = {
    **dict.fromkeys(("role", "name", "type", "id", "tool_call_id"), (str,)),
    **dict.fromkeys(("prompt", "completion", "refusal", "arguments"), (str,)),
    **dict.fromkeys(("messages", "tools", "functions", "tool_calls"), (list,)),
    **dict.fromkeys(("preferred_output", "non_preferred_output"), (list,)),
    **dict.fromkeys(("function", "function_call", "input"), (dict,)),
    "content": (str, list),
    "parallel_tool_calls": (bool,),
}
"""Types of the value of each key that another key may be a misspelling of."""


def nearest_key(key: str, holder: dict[str, Any], allowed: Sequence[str]) -> str | None:
    """Return the missing key that an unknown key of an object is close to and whose type it has."""
    if len(key) > NAME_LENGTH:
        return None
    close = get_close_matches(key.lower(), allowed, 1, cutoff=0.8)
    name = close[0] if close else ""
    fits = name in VALUES and name not in holder and isinstance(holder[key], VALUES[name])
    return name if fits else None


def rename_to_nearest(error: SchemaError) -> Edit | None:
    """Rename a misspelt key."""
    name = nearest_key(error.field, error.parent, error.allowed)
    return Edit(error.parent, error.field, name=name) if name else None


def remove_key(error: SchemaError) -> Edit:
    """Remove a key."""
    return Edit(error.parent, error.field)
