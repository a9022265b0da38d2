"""Caches of ftkit that tests empty."""

from __future__ import annotations

from ftkit.rules import parameters


def forget_tool_schemas() -> None:
    """Forget the schemas of earlier examples, so that the time for them can be measured."""
    parameters._small.cache_clear()
    parameters._large.cache_clear()
