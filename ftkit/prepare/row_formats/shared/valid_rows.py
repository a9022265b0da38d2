"""Check of written rows by the rules of `ftkit validate`."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from ftkit.catalog.limits import find_limits
from ftkit.dataset.formats import find_format
from ftkit.prepare.paths import path_steps, pointer_of
from ftkit.prepare.row_formats.base import RowError
from ftkit.rules import RULES
from ftkit.rules.base import ERROR, ScanPlan
from ftkit.validation.runner import Checks


def check_row(row: dict[str, Any], name: str) -> None:
    """Check the types of a row in one of OpenAI's formats, and its tool calls and their answers.

    Reading a row can break the rules on these. Other rules that it breaks, its source breaks, too,
    such as one on a conversation that ends with the user.

    Args:
        row: The row.
        name: Name of the format.

    Raises:
        RowError: The row is not valid.
    """
    format = find_format(name)
    try:
        example = msgspec.convert(row, format.type)
    except msgspec.ValidationError as error:
        raise RowError(f"cannot be written as {name}", "", str(error)) from None
    findings, _ = _checks(name).example(format, example, 0)
    for finding in findings:
        place = pointer_of(path_steps(finding.path))
        raise RowError(f"would be no valid example ({finding.rule})", place, finding.message)


@cache
def _checks(format: str) -> Checks:
    rules = frozenset(
        rule.name
        for rule in RULES.values()
        if rule.severity == ERROR and not {"tool", "tool_calls"}.isdisjoint(rule.needs)
    )
    return Checks(ScanPlan(find_limits("openai"), format, rules=rules))
