"""Verdict of a comparison: who is better, on what, and with which certainty."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ftkit._text import join_names, plural
from ftkit.compare.bootstrap import LEVEL, Interval
from ftkit.compare.comparison import Comparison, GroupRow, Row
from ftkit.compare.measures import QUALITY
from ftkit.report.compare import Sides, format_interval
from ftkit.report.data_verdict import Verdict

MAX_REASONS = 4
"""Maximum number of differences that are explained."""

NAME_LENGTH = 80
"""Maximum number of characters of the name of a side."""

NAMES_LENGTH = 200
"""Maximum number of characters of a list of measures."""


def names_of(sides: Sides) -> tuple[str, str]:
    """Return short names of A and B: the models of recorded answers, where they differ."""
    matches = (re.fullmatch(r".+ \((.+)\)", name, re.DOTALL) for name in (sides.a, sides.b))
    names = [
        match[1] if match else name for match, name in zip(matches, (sides.a, sides.b), strict=True)
    ]
    a, b = names if names[0] != names[1] else (sides.a, sides.b)
    return _short(a), _short(b)


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"{name[:NAME_LENGTH]}…"


def compare_verdict(comparison: Comparison, sides: Sides) -> Verdict:
    """Return the verdict of a comparison.

    Only measures of which more is better count, and only differences whose interval excludes 0.
    """
    name_a, name_b = names_of(sides)
    rows = [row for row in comparison.rows if row.name in QUALITY and "difference" in row.figures]
    certain = [row for row in rows if row.figures["difference"].excludes_zero]
    a, b = (
        [row for row in certain if (row.figures["difference"].mean > 0) is up]
        for up in (True, False)
    )
    reasons = tuple(_reason(row) for row in certain[:MAX_REASONS])
    certainty = f"at {LEVEL:.0%} confidence"
    if a and b:
        text = (
            f"{name_a} is better on {_names(a)}; {name_b} is better on {_names(b)} ({certainty})."
        )
    elif certain:
        winner, loser = (name_a, name_b) if a else (name_b, name_a)
        text = f"{winner} is better than {loser} on {_names(certain)} ({certainty})."
    elif rows:
        text = f"No clear winner: no difference in quality is certain at {LEVEL:.0%}."
        reasons = tuple(_reason(row) for row in rows[:MAX_REASONS])
    else:
        same = sum(pair.is_same for pair in comparison.pairs)
        text = "Which one is better is open: no prompt has a reference to compare with."
        total = plural(len(comparison.pairs), "prompt")
        reasons = (f"The answers to {same:,} of {total} are identical.",)
    title = f"{name_a} vs. {name_b}"
    return Verdict(title, text, reasons, "good" if certain else "warning")


def _names(rows: Sequence[Row]) -> str:
    return join_names((row.title for row in rows), NAMES_LENGTH)


def _reason(row: Row) -> str:
    a, b, difference = (row.figures.get(name) for name in ("a", "b", "difference"))
    assert difference
    scores = f"{_mean(a, row)} for A and {_mean(b, row)} for B, " if a and b else ""
    bounds = f"{_value(difference.low, row)} to {_value(difference.high, row)}"
    return (
        f"{row.title}: {scores}a difference of {_value(difference.mean, row)} "
        f"({LEVEL:.0%} confidence interval {bounds}; {plural(difference.n, 'prompt')})."
    )


def _mean(figure: Interval, row: Row) -> str:
    return format_interval(figure, row.unit, "a").partition(" ")[0]


def _value(value: float | None, row: Row) -> str:
    if value is None:
        return "unknown"
    return f"{100 * value:+.1f} points" if row.unit == "share" else f"{value:+.1f}"


def has_direction(row: Row | GroupRow, is_field: bool = False) -> bool:
    """Return True if more of a measure is better."""
    return is_field or row.name in QUALITY
