"""Training metrics of a job as an interactive, self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from ftkit._text import plural
from ftkit.jobs.metrics import Metrics, assess
from ftkit.pages.page import CHART_STYLE, CHARTS, LISTS, render_page
from ftkit.report.charts import Run, charts_of, select
from ftkit.report.metrics import verdict_lines

MAX_ROWS = 500
"""Maximum number of steps in the table: an even selection of more."""


def render_metrics_html(metrics: Metrics, title: str, facts: Sequence[str] = ()) -> str:
    """Render metrics as an HTML page: a chart of the losses, and one for each other metric.

    Args:
        metrics: The metrics.
        title: Title of the page.
        facts: Facts for the head of the page, such as the date.
    """
    verdict = assess(metrics)
    rows = metrics.rows
    if len(rows) > MAX_ROWS:
        rows = tuple(select(rows, MAX_ROWS))
    return render_page(
        "metrics.html",
        scripts=(LISTS, *CHARTS),
        styles=(CHART_STYLE,),
        title=title,
        facts=[plural(len(metrics.rows), "step"), *facts],
        tone="warning" if verdict.overfits_from is not None else "good",
        verdict=verdict_lines(verdict),
        charts=charts_of([Run(title, metrics)]),
        columns=metrics.columns,
        rows=[[row.get(name) for name in metrics.columns] for row in rows],
        total=len(metrics.rows),
    )
