"""Training metrics of a job as an interactive, self-contained HTML page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ftkit._text import plural
from ftkit.jobs.metrics import TRAIN, VALID, Metrics, assess
from ftkit.pages.page import CHART_STYLE, CHARTS, LISTS, render_page
from ftkit.report.metrics import verdict_lines

MAX_POINTS = 5_000
"""Maximum number of points of a line: an even selection of more."""

MAX_ROWS = 500
"""Maximum number of steps in the table: an even selection of more."""

MAX_CHARTS = 20
"""Maximum number of charts."""

NAMES = {"train": "training", "valid": "validation", "full_valid": "validation, whole file"}
"""Names of lines by the beginning of their columns."""

_COLUMN = re.compile(r"(train|full_valid|valid)_(.+)")

Points = Sequence[tuple[int, float]]


def render_metrics_html(metrics: Metrics, title: str, facts: Sequence[str] = ()) -> str:
    """Render metrics as an HTML page: a chart of the losses, and one for each other metric.

    Args:
        metrics: The metrics.
        title: Title of the page.
        facts: Facts for the head of the page, such as the date.
    """
    charts = [chart for chart in _charts(metrics) if chart["series"]][:MAX_CHARTS]
    verdict = assess(metrics)
    rows = metrics.rows
    if len(rows) > MAX_ROWS:
        rows = tuple(_selected(rows, MAX_ROWS))
    return render_page(
        "metrics.html",
        scripts=(LISTS, *CHARTS),
        styles=(CHART_STYLE,),
        title=title,
        facts=[plural(len(metrics.rows), "step"), *facts],
        tone="warning" if verdict.overfits_from is not None else "good",
        verdict=verdict_lines(verdict),
        charts=charts,
        columns=metrics.columns,
        rows=[[row.get(name) for name in metrics.columns] for row in rows],
        total=len(metrics.rows),
    )


def _charts(metrics: Metrics) -> Iterator[dict[str, Any]]:
    losses = {name: metrics.series(columns) for name, columns in _losses()}
    yield _chart("loss", losses)
    groups: dict[str, dict[str, str]] = {}
    for column in metrics.columns:
        if column == "step" or column in (*TRAIN, *VALID):
            continue
        match = _COLUMN.fullmatch(column)
        part, name = (match[1], match[2]) if match else ("", column)
        groups.setdefault(name, {})[column] = NAMES.get(part, name)
    for name, columns in groups.items():
        lines = {title: metrics.series([column]) for column, title in columns.items()}
        yield _chart(name.replace("_", " "), lines)


def _losses() -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "training", TRAIN
    yield "validation", VALID


def _chart(title: str, lines: dict[str, list[tuple[int, float]]]) -> dict[str, Any]:
    """Return the data of a chart, as `charts.js` expects it."""
    series = [
        {"name": name, "x": [step for step, _ in shown], "y": [value for _, value in shown]}
        for name, points in lines.items()
        if points
        for shown in [_selected(points, MAX_POINTS)]
    ]
    return {"y": title, "x": {"label": "step", "perEpoch": None}, "series": series}


def _selected(points: Sequence[Any], limit: int) -> Sequence[Any]:
    if len(points) <= limit:
        return points
    last = len(points) - 1
    return [points[index * last // (limit - 1)] for index in range(limit)]
