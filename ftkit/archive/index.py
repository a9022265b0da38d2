"""The HTML pages of an archive: the index of all jobs, and a page for each job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from ftkit.archive.facts import facts_of, files_of
from ftkit.archive.figures import JobFigures, day_of
from ftkit.archive.layout import INDEX
from ftkit.archive.missing import count_missing
from ftkit.archive.read import Archive
from ftkit.jobs.metrics import assess, is_plottable
from ftkit.pages.page import LISTS, environment, render_page
from ftkit.report.loss_chart import draw_losses
from ftkit.report.metrics import verdict_lines

if TYPE_CHECKING:
    from markupsafe import Markup

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

NAME_LENGTH = 100
"""Maximum number of characters of a name in the index."""

TEXT_LENGTH = 500
"""Maximum number of characters of a value on the page of a job."""


def render_index(archive: Archive, rows: Sequence[Markup]) -> str:
    """Return the index.

    Args:
        archive: The archive.
        rows: Rows of the table, from `render_row`.
    """
    manifest = archive.manifest
    return render_page(
        "archive.html",
        scripts=(LISTS,),
        title="Fine-tuning jobs",
        account=", ".join([manifest.account, *manifest.organizations]),
        columns=COLUMNS,
        rows=rows,
        files=len(manifest.contents),
        models=len(archive.models),
        missing=count_missing(item for item in manifest.missing if item.reason != "left out"),
    )


def render_row(figures: JobFigures) -> Markup:
    """Return the table row of a job."""
    from markupsafe import Markup

    archived, job = figures.archived, figures.archived.job
    train, valid = (series[-1][1] if series else None for series in (figures.train, figures.valid))
    row = (
        environment()
        .get_template("archive_row.html")
        .render(
            link=f"{quote(archived.path)}/{INDEX}",
            figures=figures,
            job=job,
            created=day_of(job.created_at),
            epochs=_number(archived.hyperparameters.get("n_epochs")),
            tokens=_number(job.trained_tokens),
            cost=_number(figures.cost),
            train=_number(train),
            valid=_number(valid),
            chart=draw_losses(figures.train, figures.valid),
            missing=len(archived.missing) or None,
            length=NAME_LENGTH,
        )
    )
    return Markup(row)  # noqa: S704 # a template has escaped it


def render_job(figures: JobFigures) -> str:
    """Return the page of a job."""
    archived, job = figures.archived, figures.archived.job
    return render_page(
        "job.html",
        title=job.id,
        archived=archived,
        job=job,
        depth=archived.path.count("/") + 1,
        facts=facts_of(figures),
        hyperparameters=sorted(archived.hyperparameters.items()),
        chart=draw_losses(figures.train, figures.valid),
        verdict=verdict_lines(assess(figures.metrics)) if figures.metrics.rows else [],
        files=files_of(archived),
        length=TEXT_LENGTH,
    )


def _number(value: object) -> float | None:
    return None if isinstance(value, bool) or not is_plottable(value) else value
