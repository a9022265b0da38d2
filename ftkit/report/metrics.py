"""Training metrics of a job as a table, a sparkline and a chart in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftkit._atomic import atomic_replace
from ftkit._text import join_names, printable
from ftkit.errors import FileError, UsageError, install_command, os_error_message
from ftkit.jobs.metrics import MARGINS, TRAIN, VALID, Metrics, Verdict, is_plottable
from ftkit.report.columns import fits, table, wrap

BARS = "▁▂▃▄▅▆▇█"

ROWS = 20
"""Maximum number of steps in the table. Of more steps, an even selection is shown."""

DETAILS = (
    "_rewards_chosen",
    "_rewards_rejected",
    "_rewards_accuracies",
    "_logps_chosen",
    "_logps_rejected",
)
"""Ends of the names of columns that the table leaves out; the margins sum them up."""

MARKERS = 50
"""Number of points from which a chart has no markers."""


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Render values as a line of bars.

    More than `width` values are grouped, and each bar shows the last value of its group.
    """
    if len(values) > width:
        values = [values[(index + 1) * len(values) // width - 1] for index in range(width)]
    low, high = min(values), max(values)
    extent = high - low or 1.0
    return "".join(BARS[round((value - low) / extent * (len(BARS) - 1))] for value in values)


def render_metrics_text(
    metrics: Metrics, verdict: Verdict, whole: str = "`--output csv`", width: int | None = None
) -> str:
    """Render metrics as a table, a sparkline of each loss, and the verdict.

    Args:
        metrics: The metrics.
        verdict: The verdict on them.
        whole: Name of the source of all steps, for a table that does not show them all.
        width: Width of the terminal, or None for an unlimited width.
    """
    return f"{_table(metrics, whole, width)}\n{_sparklines(metrics)}{_verdict(verdict)}"


def _table(metrics: Metrics, whole: str, width: int | None) -> str:
    rows, notes = list(metrics.rows), []
    if len(rows) > ROWS:
        notes.append(f"{ROWS} of {len(rows):,} steps; {whole} has all of them")
        rows = [rows[index * (len(rows) - 1) // (ROWS - 1)] for index in range(ROWS)]
    names = [name for name in metrics.columns if not name.endswith(DETAILS)]
    if len(names) < len(metrics.columns):
        hidden = len(metrics.columns) - len(names)
        notes.append(f"{hidden} more columns of rewards and log probabilities: see {whole}")
    columns = [[printable(name), *_cells([row.get(name) for row in rows])] for name in names]
    shown = [columns[: end + 1] for end in range(len(columns))]
    columns = next(
        (part for part in reversed(shown) if width is None or fits(part, width)), columns
    )
    if len(columns) < len(names):
        notes.append(f"without {join_names(names[len(columns) :], 200)}: see {whole}")
    lines = (wrap(note, "  ", "  ", width) for note in notes)
    return table(list(zip(*columns, strict=True)), left=0, width=width) + "".join(lines)


def _cells(values: Sequence[float | None]) -> list[str]:
    """Format the numbers of a column with the same number of decimals."""
    sizes = [abs(value) for value in values if is_plottable(value)]
    largest = max(sizes, default=0)
    fixed = ".0f" if all(float(size).is_integer() for size in sizes) else ".4f"
    form = fixed if largest == 0 or 1e-3 <= largest < 1e9 else ".3e"
    return ["-" if value is None else f"{value:{form}}" for value in values]


def _sparklines(metrics: Metrics) -> str:
    lines = ""
    series = (("train", TRAIN), ("validation", VALID), ("margins", MARGINS))
    for name, columns in series:
        values = [value for _, value in metrics.series(columns)]
        if values:
            lines += f"  {name:<10}  {sparkline(values)}  {values[0]:.4g} to {values[-1]:.4g}\n"
    return lines


def _verdict(verdict: Verdict) -> str:
    return "".join(f"  {line}\n" for line in verdict_lines(verdict))


def verdict_lines(verdict: Verdict) -> list[str]:
    """Return the verdict on the metrics of a job as lines of text."""
    if verdict.best_step is None:
        return ["no validation loss; submit with --validation-file to find the best checkpoint"]
    best = f"lowest validation loss: step {verdict.best_step:,} ({verdict.best_loss:.4g})"
    if verdict.overfits_from is None:
        return [best]
    return [
        best,
        f"overfitting from step {verdict.overfits_from:,}: the training loss falls, "
        "but the validation loss rises; use an earlier checkpoint",
    ]


def draw(metrics: Metrics, title: str, path: Path) -> None:
    """Draw a chart of the losses into a PNG or SVG file, atomically.

    Raises:
        UsageError: The path has another suffix, or matplotlib is not installed.
        FileError: The file cannot be written.
    """
    kind = path.suffix.lstrip(".").lower()
    if kind not in ("png", "svg"):
        raise UsageError(f"`plot` must be a .png, .svg or .html file, not {str(path)!r}")
    figure = _figure(metrics, title)
    try:
        with atomic_replace(path) as temporary:
            figure.savefig(temporary, format=kind)
    except OSError as error:
        raise FileError(f"cannot write {path}: {os_error_message(error)}") from error


def _figure(metrics: Metrics, title: str) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            f"plotting needs matplotlib; install it with: {install_command('plot')}"
        ) from None
    figure: Any = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, columns in (("train loss", TRAIN), ("validation loss", VALID)):
        series = metrics.series(columns)
        if series:
            marker = "." if len(series) < MARKERS else ""
            axes.plot(*zip(*series, strict=True), marker=marker, label=name)
    axes.set(xlabel="step", ylabel="loss")
    axes.set_title(printable(title), parse_math=False)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
    return figure
