"""Reports of runs of recipes: a line for each step, the reasons, and the findings."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit._text import plural, printable
from ftkit.prepare.audit import Audit
from ftkit.prepare.recipe.run import RecipeResult
from ftkit.report.prepare import LABELS, render_leaks, render_reasons
from ftkit.report.text import render_text


def render_recipe_text(result: RecipeResult, quiet: bool = False) -> str:
    """Return the report of a run as text.

    Args:
        result: The result of the run.
        quiet: Leave out what is no finding: the steps and their reasons, if nothing is wrong.
    """
    lines = _outputs(result) if quiet and result.ok else _lines(result)
    text = "".join(f"{printable(line)}\n" for line in lines)
    if result.validation is None:
        return text
    separator = "" if quiet else "\n"
    return f"{text}{separator}{render_text(result.validation, quiet=quiet)}"


def _lines(result: RecipeResult) -> Iterator[str]:
    width = max(len(stage.name) for stage in result.stages)
    for stage in result.stages:
        yield f"{stage.name:<{width}}  {_totals(stage.audit)}"
        yield from render_reasons(stage.audit)
    if result.split:
        yield from render_leaks(result.split)
    yield from _outputs(result)


def _totals(audit: Audit) -> str:
    """Return the number of rows in front of a step and after it, and what became of the others."""
    parts = [f"{plural(audit.read, 'row')} → {audit.written:,}"]
    parts += [
        f"{label} {audit.total(effect):,}"
        for effect, label in LABELS.items()
        if audit.total(effect)
    ]
    return ", ".join(parts)


def _outputs(result: RecipeResult) -> Iterator[str]:
    if not result.rows:
        yield "Wrote nothing."
        return
    rows = ", ".join(f"{count:,} to {path}" for path, count in result.rows.items())
    if not result.is_check:
        yield f"Wrote {rows}." if result.changed else f"Unchanged: {rows}."
    elif result.changed:
        yield f"Would change: {', '.join(result.changed)}."
    else:
        yield "The outputs are up to date."
