"""Small charts of the losses of a job, for tables and summaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftkit.report.charts import select

MAX_POINTS = 60
"""Maximum number of points of a line."""

WIDTH, HEIGHT, MARGIN = 160, 36, 2
"""Size of a chart."""

MAX_LOSS = 1e9
"""Larger losses are not drawn."""

Series = Sequence[tuple[int, float]]
"""Losses by step."""


def draw_losses(train: Series, valid: Series) -> dict[str, Any] | None:
    """Return the lines of a loss chart with a common scale, or None for fewer than two points."""
    points = [(step, loss) for step, loss in (*train, *valid) if abs(loss) < MAX_LOSS]
    if len(points) < 2:
        return None
    steps, losses = [step for step, _ in points], [loss for _, loss in points]
    first, lowest = min(steps), min(losses)
    x_scale = (WIDTH - 2 * MARGIN) / ((max(steps) - first) or 1)
    y_scale = (HEIGHT - 2 * MARGIN) / ((max(losses) - lowest) or 1)

    def line(series: Series) -> str:
        drawn = select([point for point in series if abs(point[1]) < MAX_LOSS], MAX_POINTS)
        coordinates = (
            f"{MARGIN + (step - first) * x_scale:.0f}"
            f",{HEIGHT - MARGIN - (loss - lowest) * y_scale:.1f}"
            for step, loss in drawn
        )
        return " ".join(coordinates) if len(drawn) > 1 else ""

    return {
        "train": line(train),
        "valid": line(valid),
        "size": f"0 0 {WIDTH} {HEIGHT}",
        "steps": (f"{first:,}", f"{max(steps):,}"),
        "losses": (f"{lowest:.4g}", f"{max(losses):.4g}"),
    }
