"""Comparisons as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
import msgspec

from ftkit._text import plural, printable, ranges
from ftkit._version import __version__
from ftkit.compare.bootstrap import LEVEL, RESAMPLES, Interval
from ftkit.compare.comparison import Comparison, Group, GroupRow, Row
from ftkit.compare.measures import Unit
from ftkit.report.columns import table, wrap

COLUMNS = {
    "a": "A",
    "b": "B",
    "difference": "A - B",
    "between": "A vs. B",
    "reference": "reference",
}
"""Figures of a row with their headings."""

REST_COLUMN = "vs. rest"
"""Heading of the difference between a group and all other groups."""

REST_NOTE = f"'{REST_COLUMN}' is the difference between a group and all other groups"

SHOWN_GROUPS = 20
"""Maximum number of groups in the text report: the largest. JSON has all of them."""

TITLE_WIDTH = 40
"""Maximum width of the first column, in characters."""


class Sides(msgspec.Struct, frozen=True):
    """Titles of A and B, and the name of the file with the prompts."""

    a: str
    b: str
    prompts: str


def render_compare_text(comparison: Comparison, sides: Sides, width: int | None = None) -> str:
    """Render a comparison as tables of figures with their intervals.

    Args:
        comparison: The comparison.
        sides: What is compared.
        width: Width of the terminal, or None for an unlimited width.
    """
    parts = [_heading(comparison, sides, width), _rows("", comparison.rows, width)]
    if comparison.fields:
        parts.append(_rows("JSON fields", comparison.fields, width))
    if comparison.groups:
        parts.extend(_groups(comparison, width))
    return "\n".join([*parts, wrap(note_of(comparison), "  ", "  ", width)])


def _heading(comparison: Comparison, sides: Sides, width: int | None) -> str:
    return "".join(
        wrap(text, f"  {click.style(f'{name:<7}', bold=True)}  ", " " * 11, width)
        for name, text in heading_of(comparison, sides)
    )


def heading_of(comparison: Comparison, sides: Sides) -> list[tuple[str, str]]:
    """Return what is compared, as names and descriptions."""
    compared, references = len(comparison.pairs), comparison.references
    number = "all" if references == compared else f"{references:,}" if references else "none"
    prompts = f"{compared:,} of {printable(sides.prompts)}, {number} with a reference"
    if comparison.left_out:
        lines = ranges(comparison.left_out)
        prompts += f"; {len(comparison.left_out):,} skipped, not answered by both: lines {lines}"
    return [("A", printable(sides.a)), ("B", printable(sides.b)), ("prompts", prompts)]


def _rows(title: str, rows: Sequence[Row], width: int | None) -> str:
    names = [name for name in COLUMNS if any(name in row.figures for row in rows)]
    cells = [
        [_shortened(row.title), f"{count_of(row.figures):,}", *cells_of(row, names)] for row in rows
    ]
    return table([[title, "n", *(COLUMNS[name] for name in names)], *cells], left=1, width=width)


def cells_of(row: Row | GroupRow, names: Sequence[str]) -> Iterator[str]:
    """Yield the named figures of a row, with their number of prompts if it is another one."""
    count = count_of(row.figures)
    for name in names:
        figure = row.figures.get(name)
        suffix = f" (n {figure.n:,})" if figure and figure.n != count else ""
        yield format_interval(figure, row.unit, name) + suffix


def count_of(figures: Mapping[str, Interval]) -> int:
    """Return the number of prompts of a row: that of its first figure."""
    return next(figures[name].n for name in COLUMNS if name in figures)


def format_interval(figure: Interval | None, unit: Unit, name: str) -> str:
    """Format a figure with its interval, such as "87.5% [68.8, 100.0]".

    Differences have a sign, and an asterisk if their interval excludes 0.

    Args:
        figure: The figure, or None if it does not apply.
        unit: Unit of the figure.
        name: Name of the figure, or "rest" for a difference to the other groups.
    """
    if figure is None:
        return "-"
    factor, percent = (100, "%") if unit == "share" else (1, "")
    sign = "+" if name in ("difference", "rest") else ""
    mean = f"{figure.mean * factor:{sign}.1f}{percent}"
    if figure.low is None or figure.high is None:
        return f"{mean} [-]"
    star = "" if not sign else "*" if figure.excludes_zero else " "
    return f"{mean} [{figure.low * factor:{sign}.1f}, {figure.high * factor:{sign}.1f}]{star}"


def _groups(comparison: Comparison, width: int | None) -> Iterator[str]:
    """Yield a table for each measure, with a line for each group."""
    groups = comparison.groups[:SHOWN_GROUPS]
    total = len(comparison.groups)
    extent = f" (the {SHOWN_GROUPS} largest of {total:,} groups)" if total > SHOWN_GROUPS else ""
    yield wrap(f"by {printable(comparison.group_by)}{extent}; {REST_NOTE}", "  ", "  ", width)
    for name in dict.fromkeys(row.name for group in groups for row in group.rows):
        yield _group_table(
            [(group, row) for group in groups for row in group.rows if row.name == name], width
        )


def _group_table(rows: Sequence[tuple[Group, GroupRow]], width: int | None) -> str:
    names = [
        name
        for name in ("a", "b", "difference", "between")
        if any(name in row.figures for _, row in rows)
    ]
    if "a" in names:
        names = names[:3]  # a comparison of A with B adds little to that with the reference
    headings = [heading for name in names for heading in _group_headings(name)]
    cells = [
        [_shortened(group.value), f"{count_of(row.figures):,}", *_group_cells(row, names)]
        for group, row in rows
    ]
    return table([[rows[0][1].title, "n", *headings], *cells], width=width)


def _group_headings(name: str) -> tuple[str, ...]:
    return (COLUMNS[name],) if name == "difference" else (COLUMNS[name], REST_COLUMN)


def _group_cells(row: GroupRow, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield format_interval(row.figures.get(name), row.unit, name)
        if name != "difference":
            yield format_interval(row.rest.get(name), row.unit, "rest")


def _shortened(text: str) -> str:
    return printable(text if len(text) <= TITLE_WIDTH else f"{text[: TITLE_WIDTH - 1]}…")


def note_of(comparison: Comparison) -> str:
    """Return a note that explains the figures."""
    columns = "A and B are compared with the reference; " if comparison.references else ""
    return (
        f"{columns}in brackets: {LEVEL:.0%} confidence interval (percentile bootstrap over "
        f"prompts, {plural(RESAMPLES, 'resample')}, seed {comparison.seed}); "
        "*: the interval of the difference excludes 0"
    )


def render_compare_json(comparison: Comparison, sides: Sides) -> str:
    """Render a comparison as JSON; see `docs/compare.md` for the keys. Shares are from 0 to 1."""
    values = {
        "ftkit": __version__,
        **msgspec.to_builtins(sides),
        "compared": len(comparison.pairs),
        "references": comparison.references,
        "left_out": comparison.left_out,
        "interval": {
            "method": "percentile bootstrap",
            "level": LEVEL,
            "resamples": RESAMPLES,
            "seed": comparison.seed,
        },
        "measures": _by_name(comparison.rows),
        "fields": _by_name(comparison.fields),
        "group_by": comparison.group_by or None,
        "groups": [
            {"value": group.value, "prompts": group.prompts, "measures": _by_name(group.rows)}
            for group in comparison.groups
        ],
        "pairs": [
            {
                "line": pair.prompt.number,
                "distance": round(pair.distance, 4),
                "measures": {
                    name: {"a": _round(a), "b": _round(b)} for name, (a, b) in pair.scores.items()
                },
            }
            for pair in comparison.pairs
        ],
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _by_name(rows: Sequence[Row | GroupRow]) -> dict[str, Any]:
    return {
        row.name: {
            "title": row.title,
            "unit": row.unit,
            **_rounded(row.figures),
            **({"to_others": _rounded(row.rest)} if isinstance(row, GroupRow) else {}),
        }
        for row in rows
    }


def _rounded(figures: Mapping[str, Interval]) -> dict[str, dict[str, Any]]:
    return {
        name: {key: _round(value) for key, value in msgspec.to_builtins(figure).items()}
        for name, figure in figures.items()
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
