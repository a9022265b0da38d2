"""Check of written rows by the rules of `ftkit validate`."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from ftkit.catalog.limits import find_limits
from ftkit.dataset.formats import find_format
from ftkit.prepare.example import Extra
from ftkit.prepare.paths import path_steps, pointer_of
from ftkit.prepare.row_formats.base import RowError
from ftkit.rules import RULES
from ftkit.rules.base import ERROR, ScanPlan
from ftkit.validation.runner import Checks

TOOLS = frozenset(["tool", "tool_calls"])
"""Parts of conversations, as in `Rule.needs`, that the rules on tool calls and results visit."""


def check_row(row: dict[str, Any], name: str) -> list[Extra]:
    """Check a row in one of OpenAI's formats by its types and by the rules of severity error.

    Reading a row can break the rules on tool calls and their results. Other rules that it breaks,
    its source breaks, too, such as the one on a conversation that ends with the user.

    Args:
        row: The row.
        name: Name of the format.

    Returns:
        Notes on the other rules that it breaks.

    Raises:
        RowError: The row does not have the types, or breaks a rule on tool calls.
    """
    format = find_format(name)
    try:
        example = msgspec.convert(row, format.type)
    except msgspec.ValidationError as error:
        raise RowError(f"cannot be written as {name}", "", str(error)) from None
    findings, _ = _checks(name).example(format, example, 0)
    notes = []
    for finding in findings:
        place = pointer_of(path_steps(finding.path))
        reason = f"no valid example ({finding.rule})"
        if not TOOLS.isdisjoint(RULES[finding.rule].needs):
            raise RowError(reason, place, finding.message)
        if finding.severity == ERROR:
            notes.append(Extra(place, reason, None, is_loss=False))
    return notes


@cache
def _checks(format: str) -> Checks:
    rules = frozenset(rule.name for rule in RULES.values() if rule.severity == ERROR)
    return Checks(ScanPlan(find_limits("openai"), format, rules=rules))
