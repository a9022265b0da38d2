"""Fixes that are not those of a rule: functions that replace the values of rows.

Each is a step, so that it can follow any other, and is reported like the fix of a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ftkit.dataset.exact_numbers import dumps, exact_numbers
from ftkit.dataset.json_repair import encode_like
from ftkit.prepare.audit import Audit
from ftkit.prepare.fix.fix import STEP
from ftkit.prepare.paths import child
from ftkit.prepare.prepared import Step
from ftkit.prepare.rows import Row


class ValueFix(NamedTuple):
    """A fix of the values of rows."""

    rule: str
    """Name for reports, such as "personal-data"."""
    summary: str
    """Imperative phrase, such as "replace it by what it is"."""
    apply: Callable[[Any], Any]
    """Function that returns the new value of a row, or the same. It must not change its argument.

    It must return a value that it has made as it is, so that fixing again changes nothing.
    """
    keeps_old: bool = True
    """False if the report must not show the old values."""


def replacing(fix: ValueFix, step_name: str = STEP) -> Step:
    """Return a step that applies a fix to each row. Rows that it does not change stay as they are.

    Args:
        fix: The fix.
        step_name: Name of the step in reports and maps.
    """

    def step(rows: Iterable[Row], audit: Audit) -> Iterator[Row]:
        reason = f"{fix.rule}: {fix.summary}"
        for row in rows:
            line = row.encode()
            old = exact_numbers(line, row.value)
            new = fix.apply(old)
            places = list(_differences(old, new))
            for pointer, value in places:
                detail = _as_text(value) if fix.keeps_old else ""
                audit.change(step_name, reason, row.origin, pointer, detail)
            if not places:
                yield row
                continue
            yield Row(new, row.origins, (*row.steps, step_name), encode_like(new, line))

    return step


def _differences(old: Any, new: Any) -> Iterator[tuple[str, Any]]:
    """Yield the JSON pointer and the old value of each difference between two JSON values."""
    pending = [("", old, new)]
    while pending:
        pointer, one, other = pending.pop()
        if one is other:
            continue
        if isinstance(one, dict) and isinstance(other, dict) and list(one) == list(other):
            pairs = [(child(pointer, key), one[key], other[key]) for key in one]
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            items = enumerate(zip(one, other, strict=True))
            pairs = [(child(pointer, index), *pair) for index, pair in items]
        else:
            if type(one) is not type(other) or one != other:
                yield pointer, one
            continue
        pending += reversed(pairs)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value, ensure_ascii=False)
