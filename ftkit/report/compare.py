"""A comparison as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
import msgspec

from ftkit._text import printable
from ftkit._version import __version__
from ftkit.compare.bootstrap import LEVEL, RESAMPLES, Interval
from ftkit.compare.comparison import Comparison, Group, GroupRow, Row
from ftkit.compare.measures import Unit
from ftkit.report.columns import table
from ftkit.report.text import ranges

COLUMNS = {
    "a": "A",
    "b": "B",
    "difference": "A - B",
    "between": "A against B",
    "reference": "reference",
}
"""The figures of a row, and their headings."""

SHOWN_GROUPS = 20
"""Groups that are listed as text: the largest. JSON has them all."""


class Sides(msgspec.Struct, frozen=True):
    """What was compared: what A and B are called, and the file of the prompts."""

    a: str
    b: str
    prompts: str


def render_compare_text(found: Comparison, sides: Sides) -> str:
    """The comparison as tables, an interval beside each figure."""
    parts = [_heading(found, sides), _rows("", found.rows)]
    if found.fields:
        parts.append(_rows("JSON fields", found.fields))
    if found.groups:
        parts.extend(_groups(found))
    return "\n".join([*parts, f"  {notes(found)}\n"])


def _heading(found: Comparison, sides: Sides) -> str:
    return "".join(
        f"  {click.style(name, bold=True)}  {text}\n" for name, text in heading(found, sides)
    )


def heading(found: Comparison, sides: Sides) -> list[tuple[str, str]]:
    """What is compared, by name."""
    with_reference = "all" if found.references == len(found.pairs) else f"{found.references:,}"
    has = f", {with_reference} with a reference" if found.references else ", none with a reference"
    prompts = f"{len(found.pairs):,} of {printable(sides.prompts)}{has}"
    if found.left_out:
        prompts += f"; {len(found.left_out):,} left out, not answered by both: lines {ranges(found.left_out)}"
    return [("A      ", printable(sides.a)), ("B      ", printable(sides.b)), ("prompts", prompts)]


def _rows(title: str, rows: Sequence[Row]) -> str:
    used = [name for name in COLUMNS if any(name in row.figures for row in rows)]
    shown = [[_cut(row.title), f"{count_of(row.figures):,}", *cells_of(row, used)] for row in rows]
    return table([[title, "n", *(COLUMNS[name] for name in used)], *shown], left=1)


def cells_of(row: Row | GroupRow, names: Sequence[str]) -> Iterator[str]:
    """The figures of those names; where one is over other prompts than the row says, with their number."""
    size = count_of(row.figures)
    for name in names:
        figure = row.figures.get(name)
        yield show(figure, row.unit, name) + (
            f" (n {figure.n:,})" if figure and figure.n != size else ""
        )


def count_of(figures: Mapping[str, Interval]) -> int:
    """Over how many prompts a row is: the figures of A and B, where it has these."""
    return next(figures[name].n for name in COLUMNS if name in figures)


def show(figure: Interval | None, unit: Unit, name: str) -> str:
    """A figure with its interval; a star where a difference is certain enough."""
    if figure is None:
        return "-"
    factor, percent = (100, "%") if unit == "share" else (1, "")
    sign = "+" if name in ("difference", "rest") else ""
    mean = f"{figure.mean * factor:{sign}.1f}{percent}"
    if figure.low is None or figure.high is None:
        return f"{mean} [-]"
    star = "" if not sign else "*" if figure.excludes_zero else " "
    return f"{mean} [{figure.low * factor:{sign}.1f}, {figure.high * factor:{sign}.1f}]{star}"


def _groups(found: Comparison) -> Iterator[str]:
    """A table for each measure, a line for each group."""
    groups = found.groups[:SHOWN_GROUPS]
    yield f"  by {printable(found.group_by)}{_unlisted(found.groups)}; 'to others' is a group less all the others together\n"
    for name in dict.fromkeys(row.name for group in groups for row in group.rows):
        rows = [(group, row) for group in groups for row in group.rows if row.name == name]
        used = [
            column
            for column in ("a", "b", "difference", "between")
            if any(column in row.figures for _, row in rows)
        ]
        if used[:1] == ["a"]:
            used = used[:3]  # A against B says little beside the reference
        head = [rows[0][1].title, "n", *(text for column in used for text in _heads(column))]
        yield table(
            [
                head,
                *(
                    [_cut(group.value), f"{count_of(row.figures):,}", *_both(row, used)]
                    for group, row in rows
                ),
            ]
        )


def _cut(text: str, width: int = 40) -> str:
    return printable(text if len(text) <= width else f"{text[: width - 1]}…")


def _unlisted(groups: Sequence[Group]) -> str:
    return (
        f" (the {SHOWN_GROUPS} largest of {len(groups):,} groups)"
        if len(groups) > SHOWN_GROUPS
        else ""
    )


def _heads(column: str) -> tuple[str, ...]:
    return (COLUMNS[column],) if column == "difference" else (COLUMNS[column], "to others")


def _both(row: GroupRow, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield show(row.figures.get(name), row.unit, name)
        if name != "difference":
            yield show(row.rest.get(name), row.unit, "rest")


def notes(found: Comparison) -> str:
    """How to read the figures."""
    columns = "A and B are held against the reference; " if found.references else ""
    how = f"in brackets the {LEVEL:.0%} interval (percentile bootstrap over prompts, {RESAMPLES:,} resamples, seed {found.seed})"
    return f"{columns}{how}; * a difference whose interval leaves 0 out"


def render_compare_json(found: Comparison, sides: Sides) -> str:
    """The comparison as one JSON object, see `docs/compare.md` for its keys. Shares are from 0 to 1."""
    told = {
        "ftkit": __version__,
        **msgspec.to_builtins(sides),
        "compared": len(found.pairs),
        "references": found.references,
        "left_out": found.left_out,
        "interval": {
            "method": "percentile bootstrap",
            "level": LEVEL,
            "resamples": RESAMPLES,
            "seed": found.seed,
        },
        "measures": _named(found.rows),
        "fields": _named(found.fields),
        "group_by": found.group_by or None,
        "groups": [
            {"value": group.value, "prompts": group.prompts, "measures": _named(group.rows)}
            for group in found.groups
        ],
        "pairs": [
            {
                "line": pair.prompt.number,
                "distance": round(pair.distance, 4),
                "measures": {
                    name: {"a": _round(a), "b": _round(b)} for name, (a, b) in pair.scores.items()
                },
            }
            for pair in found.pairs
        ],
    }
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _named(rows: Sequence[Row | GroupRow]) -> dict[str, Any]:
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
        name: {key: _round(value) for key, value in msgspec.to_builtins(each).items()}
        for name, each in figures.items()
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
