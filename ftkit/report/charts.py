"""Data of the charts of training metrics, as `charts.js` draws them: a chart of each metric."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from ftkit.jobs.metrics import TRAIN, VALID, MetricSeries
from ftkit.pages.page import visible

MAX_POINTS = 5_000
"""Maximum number of points of a line: an even selection of more."""

MAX_CHARTS = 20
"""Maximum number of charts."""

NAME_LENGTH = 100
"""Maximum number of characters of a name, which a provider or a user has chosen."""

LOSS = "loss"
"""Title of the chart of the losses, which is the first one."""

TONES = ("a", "b", "good", "bad", "warn", "muted")
"""Colours of the lines of several runs, by run. Lines of one run differ in their dashes."""

NAMES = {"train": "training", "valid": "validation", "full_valid": "validation, whole file"}
"""Names of lines by the beginning of their columns."""

_COLUMN = re.compile(r"(train|full_valid|valid)_(.+)")

Lines = dict[str, tuple[str, ...]]
"""Columns by the names of lines: a line has the values of the first column that has any."""


class Run(Struct, frozen=True):
    """Metrics of a training, for charts.

    Attributes:
        name: Name of the run, which tells it from others in the same charts.
        metrics: Its metrics.
        steps_per_epoch: Number of steps of an epoch, or None if it is unknown.
    """

    name: str
    metrics: MetricSeries
    steps_per_epoch: float | None = None


def charts_of(runs: Sequence[Run], points: int = MAX_POINTS) -> list[dict[str, Any]]:
    """Return a chart of the losses, and one of each other metric, without those that are empty.

    Args:
        runs: The runs, of which each chart has a line or several. Steps are converted to epochs
            with the number of the first one.
        points: Maximum number of points of a line.
    """
    groups = [_groups(run.metrics) for run in runs]
    titles = dict.fromkeys(title for lines in groups for title in lines)
    charts = (
        {
            "y": visible(title[:NAME_LENGTH]),
            "x": {"label": "step", "perEpoch": runs[0].steps_per_epoch},
            "series": list(_series(title, runs, groups, points)),
        }
        for title in titles
    )
    return [chart for chart in charts if chart["series"]][:MAX_CHARTS]


def _groups(metrics: MetricSeries) -> dict[str, Lines]:
    """Return the lines of each chart by its title."""
    groups: dict[str, Lines] = {LOSS: {"training": TRAIN, "validation": VALID}}
    for column in metrics.columns:
        if column == "step" or column in (*TRAIN, *VALID):
            continue
        match = _COLUMN.fullmatch(column)
        part, name = (match[1], match[2]) if match else ("", column)
        groups.setdefault(name.replace("_", " "), {})[NAMES.get(part, name)] = (column,)
    return groups


def _series(
    title: str, runs: Sequence[Run], groups: Sequence[dict[str, Lines]], limit: int
) -> Iterator[dict[str, Any]]:
    """Yield the lines of a chart."""
    for number, (run, lines) in enumerate(zip(runs, groups, strict=True)):
        for dash, (name, columns) in enumerate(lines.get(title, {}).items()):
            points = select(run.metrics.series(columns), limit)
            if not points:
                continue
            line: dict[str, Any] = {
                "name": name,
                "x": [x for x, _ in points],
                "y": [y for _, y in points],
            }
            if len(runs) > 1:
                tone = TONES[number % len(TONES)]
                line |= {"name": f"{name}, {run.name}", "tone": tone, "run": dash}
            yield line | {"name": visible(line["name"][:NAME_LENGTH])}


def select(points: Sequence[Any], limit: int) -> Sequence[Any]:
    """Return an even selection of at most `limit` points, with the first and the last one."""
    if len(points) <= limit:
        return points
    last = len(points) - 1
    return [points[index * last // (limit - 1)] for index in range(limit)]
