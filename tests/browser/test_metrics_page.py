"""The page of `ftkit jobs metrics --plot FILE.html`, in a browser."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ftkit.jobs.metrics import Metrics
from ftkit.report.charts import MAX_POINTS
from ftkit.report.metrics_page import MAX_ROWS, render_metrics_html
from support.browser import HOSTILE_TEXTS, looks

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

Visit = Callable[[str], "Page"]

COLUMNS = (
    "step",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
)


def metrics(steps: int) -> Metrics:
    """Metrics of a training that overfits in its second half."""
    rows = []
    for step in range(1, steps + 1):
        part = step / steps
        row: dict[str, float | None] = dict.fromkeys(COLUMNS)
        row["step"] = float(step)
        row["train_loss"] = 0.3 + 2.2 * math.exp(-4 * part) + 0.1 * math.sin(1.7 * step)
        row["train_mean_token_accuracy"] = 1 - 0.5 * math.exp(-3 * part)
        if step % 10 == 0:
            row["valid_loss"] = 0.5 + 1.6 * math.exp(-4 * part) + max(0, part - 0.6)
            row["valid_mean_token_accuracy"] = 0.9 - 0.4 * math.exp(-3 * part)
        rows.append(row)
    return Metrics(COLUMNS, tuple(rows))


def test_the_metrics_look_right(visit: Visit) -> None:
    page = visit(render_metrics_html(metrics(200), "ftjob-abc123", ("2026-11-22",)))
    looks(page, "metrics")
    assert page.locator("h2").all_inner_texts() == ["Loss", "Mean token accuracy", "Values"]
    assert page.locator("canvas").count() == 2
    assert page.locator(".headline").inner_text().startswith("Overfitting from step ")


def test_many_steps_are_an_even_selection(visit: Visit) -> None:
    html = render_metrics_html(metrics(50_000), "ftjob-abc123")
    assert len(html) < 3_000_000
    page = visit(html)
    data = page.evaluate("JSON.parse(document.getElementById('chart-1').textContent)")
    steps = data["series"][0]["x"]
    assert (len(steps), steps[0], steps[-1]) == (MAX_POINTS, 1, 50_000)
    assert page.locator("[data-list] tr").count() == MAX_ROWS
    assert "500 of 50,000 steps" in page.locator("main").inner_text()


@pytest.mark.parametrize(
    "values", [[None, 1.0], [1.0], [math.nan, 1.0], [1e300, -1e300], [0.0, 0.0]]
)
def test_odd_values_are_shown(values: list[float | None], visit: Visit) -> None:
    rows = tuple({"step": float(n), "train_loss": value} for n, value in enumerate(values, 1))
    page = visit(render_metrics_html(Metrics(("step", "train_loss"), rows), "x"))
    page.get_by_label("Log scale").check()
    assert page.locator("[data-list] tr").count() == len(values)


def test_a_file_without_plottable_values_has_no_chart(visit: Visit) -> None:
    page = visit(
        render_metrics_html(Metrics(("step", "note"), ({"step": 1.0, "note": None},)), "x")
    )
    assert page.locator("canvas").count() == 0


def test_hostile_names_stay_text(visit: Visit) -> None:
    texts = [text for text in HOSTILE_TEXTS if "\x00" not in text]
    row: dict[str, float | None] = {"step": 1.0, **dict.fromkeys(texts, 2.0)}
    page = visit(
        render_metrics_html(Metrics(("step", *texts), (row, row | {"step": 2.0})), texts[0])
    )
    looks(page, "metrics-hostile")
    assert page.title() == texts[0]
    assert page.locator("img").count() == 0
