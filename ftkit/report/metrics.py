"""The losses of a job, for people: a table, a chart in the terminal, a drawing in a file."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftkit._atomic import atomic_write
from ftkit._text import printable
from ftkit.errors import FileError, UsageError, os_error_message
from ftkit.jobs.metrics import TRAIN, VALID, Metrics, Verdict, is_finite
from ftkit.report.columns import table

BARS = "▁▂▃▄▅▆▇█"
ROWS = 20
"""Steps that are listed; of more, some are left out evenly."""


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The values as bars of a line, the last of each group of them where there are more than `width`."""
    if len(values) > width:
        values = [values[(index + 1) * len(values) // width - 1] for index in range(width)]
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in values)


def render_metrics_text(metrics: Metrics, verdict: Verdict, whole: str = "`--output csv`") -> str:
    """The metrics as a table with a chart of each loss, and what they say. `whole` is what has the steps that are left out."""
    rows, note = list(metrics.rows), ""
    if len(rows) > ROWS:
        note = f"  {ROWS} of {len(rows):,} steps; {whole} has all\n"
        rows = [rows[index * (len(rows) - 1) // (ROWS - 1)] for index in range(ROWS)]
    shown = [
        [printable(name), *_cells([row.get(name) for row in rows])] for name in metrics.columns
    ]
    parts = [table(list(zip(*shown, strict=True)), left=0) + note]
    for name, columns in (("train", TRAIN), ("validation", VALID)):
        series = metrics.series(columns)
        if series:
            values = [value for _, value in series]
            parts.append(
                f"  {name:<10}  {sparkline(values)}  {values[0]:.4g} to {values[-1]:.4g}\n"
            )
    return "\n".join([parts[0], "".join(parts[1:]) + _verdict(verdict)])


def _cells(values: Sequence[float | None]) -> list[str]:
    """The numbers of a column, all with as many decimals, so that they can be compared at a look."""
    sizes = [abs(value) for value in values if is_finite(value)]
    most = max(sizes, default=0)
    fixed = ".0f" if all(float(size).is_integer() for size in sizes) else ".4f"
    form = fixed if most == 0 or 1e-3 <= most < 1e9 else ".3e"
    return ["-" if value is None else f"{value:{form}}" for value in values]


def _verdict(verdict: Verdict) -> str:
    if verdict.best_step is None:
        return "  no validation loss: submit with --validation-file to learn which checkpoint is best\n"
    best = f"  best by validation loss: step {verdict.best_step:,} ({verdict.best_loss:.4g})\n"
    if verdict.overfits_from is None:
        return best
    return f"{best}  from step {verdict.overfits_from:,} on, training gets better and validation worse: take an earlier checkpoint\n"


def draw(metrics: Metrics, title: str, path: Path) -> None:
    """Draw the losses into a PNG, SVG or HTML file, which is there whole or not at all.

    Raises `UsageError` for another kind of file or where matplotlib is missing, `FileError` where it cannot be written.
    """
    kind = path.suffix.lstrip(".").lower()
    if kind not in ("png", "svg", "html"):
        raise UsageError(f"--plot {path}: name a .png, .svg or .html file")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("--plot needs matplotlib: pip install 'ftkit[plot]'") from None
    figure: Any = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, columns in (("train loss", TRAIN), ("validation loss", VALID)):
        series = metrics.series(columns)
        if series:
            axes.plot(
                *zip(*series, strict=True), marker="." if len(series) < 50 else "", label=name
            )
    axes.set(title=title, xlabel="step", ylabel="loss")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
    try:
        with atomic_write(path) as aside:
            figure.savefig(aside, format="svg" if kind == "html" else kind)
            if kind == "html":
                drawn = aside.read_text("utf-8")
                head = f"<!doctype html><meta charset='utf-8'><title>{html.escape(title)}</title>\n"
                aside.write_text(head + drawn[drawn.index("<svg") :], "utf-8")
    except OSError as error:
        raise FileError(f"cannot write {path}: {os_error_message(error)}") from error
