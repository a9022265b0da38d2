"""The index of an archive: one HTML page with all jobs, searchable, sortable, with loss charts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from urllib.parse import quote

from ftkit._text import money, printable
from ftkit.archive.figures import JobFigures, day_of
from ftkit.archive.layout import README
from ftkit.archive.missing import count_missing
from ftkit.archive.read import Archive
from ftkit.jobs.metrics import is_plottable
from ftkit.report.page import render_page

STYLE = files(__package__).joinpath("index.css").read_text("utf-8")
SCRIPT = files(__package__).joinpath("index.js").read_text("utf-8")

COLUMNS = {
    "job": "text",
    "status": "text",
    "created": "text",
    "base model": "text",
    "model": "text",
    "served until": "text",
    "epochs": "number",
    "billed tokens": "number",
    "cost": "number",
    "train loss": "number",
    "validation loss": "number",
    "losses": "",
    "missing": "number",
}
"""Columns with their type for sorting; a column without a type cannot be sorted."""

MAX_POINTS = 60
"""Maximum number of points of a loss chart."""

WIDTH, HEIGHT, MARGIN = 160, 36, 2
"""Size of a loss chart in pixels."""

MAX_LOSS = 1e9
"""Larger losses are not drawn."""

Series = Sequence[tuple[int, float]]
"""Losses by step."""


def render_index(archive: Archive, rows: Sequence[str]) -> str:
    """Return the page.

    Args:
        archive: The archive.
        rows: Rows of the table, from `render_row`.
    """
    manifest = archive.manifest
    account = escape(printable(", ".join([manifest.account, *manifest.organizations])))
    head = "".join(
        f'<th class="{kind}">' + (f"<button>{name}</button>" if kind else name)
        for name, kind in COLUMNS.items()
    )
    counts = count_missing(item for item in manifest.missing if item.reason != "left out")
    missing = (
        f' <span class="bad">Missing: {escape(counts)}; see manifest.json.</span>' if counts else ""
    )
    body = (
        f'<h1>Fine-tuning jobs</h1>\n<p class="soft">{account}</p>\n'
        f"<p>{len(rows):,} jobs, {len(manifest.contents):,} files,"
        f" {len(archive.models):,} models.{missing}</p>\n"
        '<p><label>Search <input type="search" autofocus></label>'
        f" <output>{len(rows):,}</output> shown "
        '<small><i style="background:var(--a)"></i> training'
        ' <i style="background:var(--b)"></i> validation</small></p>\n'
        f'<div class="wide"><table><thead><tr>{head}</thead>\n'
        f"<tbody>\n{''.join(rows)}</tbody></table></div>\n"
    )
    return render_page("ftkit archive", STYLE, body, SCRIPT)


def render_row(figures: JobFigures) -> str:
    """Return the table row of a job."""
    archived, job = figures.archived, figures.archived.job
    train, valid = (series[-1][1] if series else None for series in (figures.train, figures.valid))
    cells = [
        f'<td class="name"><a href="{quote(archived.path)}/{README}">{_name(job.id)}</a>',
        f"{'<td class=bad>' if job.status == 'failed' else '<td>'}{_name(job.status)}",
        f"<td>{day_of(job.created_at)}",
        f'<td class="name">{_name(job.model)}',
        f'<td class="name">{_name(job.fine_tuned_model)}',
        f'<td title="{escape(figures.served_until_source)}">{_text(figures.served_until, 100)}',
        _number(archived.hyperparameters.get("n_epochs"), str),
        _number(job.trained_tokens, "{:,}".format),
        _number(figures.cost, money),
        _number(train, "{:.4g}".format),
        _number(valid, "{:.4g}".format),
        f"<td>{render_chart(figures.train, figures.valid)}",
        _number(len(archived.missing) or None, str),
    ]
    return f"<tr>{''.join(cells)}\n"


def _name(text: str) -> str:
    return f'<span title="{_text(text, 200)}">{_text(text, 100)}</span>'


def _text(text: str, limit: int) -> str:
    """Return untrusted text for HTML: without control characters, cut and escaped."""
    return escape(printable(text[:limit]))


def _number(value: object, form: Callable[[float], str]) -> str:
    if isinstance(value, bool) or not is_plottable(value):
        return '<td class="number" data-value="">'
    return f'<td class="number" data-value="{value!r}">{form(value)}'


def render_chart(train: Series, valid: Series) -> str:
    """Return the losses as an SVG with a common scale, or "" for fewer than two points."""
    points = [(step, loss) for step, loss in (*train, *valid) if abs(loss) < MAX_LOSS]
    if len(points) < 2:
        return ""
    steps, losses = [step for step, _ in points], [loss for _, loss in points]
    first, lowest = min(steps), min(losses)
    x_scale = (WIDTH - 2 * MARGIN) / ((max(steps) - first) or 1)
    y_scale = (HEIGHT - 2 * MARGIN) / ((max(losses) - lowest) or 1)

    def polyline(series: Series, kind: str) -> str:
        drawn = [point for point in series if abs(point[1]) < MAX_LOSS]
        if len(drawn) > MAX_POINTS:
            last = len(drawn) - 1
            drawn = [drawn[index * last // (MAX_POINTS - 1)] for index in range(MAX_POINTS)]
        coordinates = " ".join(
            f"{MARGIN + (step - first) * x_scale:.0f}"
            f",{HEIGHT - MARGIN - (loss - lowest) * y_scale:.1f}"
            for step, loss in drawn
        )
        return f'<polyline class="{kind}" points="{coordinates}"/>' if len(drawn) > 1 else ""

    title = (
        f"losses from step {first:,} to {max(steps):,}, between {lowest:.4g} and {max(losses):.4g}"
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{title}</title>'
        f"{polyline(train, 'train')}{polyline(valid, 'valid')}</svg>"
    )
