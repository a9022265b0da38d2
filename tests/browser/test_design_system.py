"""The design system: a specimen of all components, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftkit.pages.page import CHART_STYLE, CHARTS, FOLDER, LISTS, environment, read, render_page
from support.browser import HOSTILE_TEXTS, looks

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

Visit = Callable[[str], "Page"]

CHART = {
    "x": {"label": "step", "perEpoch": 10},
    "y": "loss",
    "series": [
        {"name": "training", "x": list(range(1, 41)), "y": [3 / n for n in range(1, 41)]},
        {"name": "validation", "x": [10, 20, 30, 40], "y": [1.5, 0.9, 0.8, 0.9]},
    ],
}


def specimen(text: str = "A text of some words.", chart: Any = CHART) -> str:
    """A page with all components, and a list of 12 rows."""
    rows = [
        {
            "name": f"row {number}",
            "value": 100 - number,
            "shown": f"{100 - number:,}",
            "odd": number % 2,
            "kind": "xy"[number > 9],
        }
        for number in range(1, 13)
    ]
    return render_page(
        environment().from_string(Path(__file__).with_name("specimen.html").read_text("utf-8")),
        scripts=(LISTS, *CHARTS),
        styles=(CHART_STYLE,),
        title=text,
        text=text,
        rows=rows,
        chart=chart,
    )


def names(page: Page) -> list[str]:
    """The rows that are shown, by name."""
    return page.locator("[data-list] tr:visible th").all_inner_texts()


def rows(*numbers: int) -> list[str]:
    return [f"row {number}" for number in numbers]


def test_the_components_look_right(visit: Visit) -> None:
    looks(visit(specimen()), "specimen")


def test_a_long_word_and_a_long_line_break(visit: Visit) -> None:
    looks(visit(specimen("x" * 3_000)), "specimen-long")


def test_a_list_is_paged_searched_and_filtered_with_the_keyboard(visit: Visit) -> None:
    page = visit(specimen())
    assert names(page) == rows(1, 2, 3, 4, 5)
    page.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert names(page) == rows(11, 12)
    page.get_by_label("Find").focus()
    page.keyboard.type("ROW 8")
    assert names(page) == rows(2, 8, 11, 12)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert names(page) == rows(11)
    page.get_by_label("Kind").select_option("x")
    assert names(page) == []
    assert page.locator("output[data-for=rows]").inner_text() == "0"


def test_a_column_is_sorted_with_the_keyboard_and_says_so(visit: Visit) -> None:
    page = visit(specimen())
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "value":
            break
    page.keyboard.press("Enter")
    assert names(page) == rows(1, 2, 3, 4, 5)
    page.keyboard.press("Space")
    assert names(page) == rows(12, 11, 10, 9, 8)
    head = page.get_by_role("columnheader", name="value")
    assert head.get_attribute("aria-sort") == "ascending"


def test_a_chart_has_smoothing_a_log_scale_and_epochs(visit: Visit) -> None:
    page = visit(specimen())
    plot = page.locator(".plot")
    assert plot.get_attribute("aria-label") == "loss by step: training, validation"
    before = plot.screenshot()
    page.get_by_label("Log scale").check()
    assert plot.screenshot() != before
    page.get_by_label("Epochs").check()
    assert plot.get_attribute("aria-label") == "loss by epoch: training, validation"
    page.get_by_label("Smoothing").focus()
    before = plot.screenshot()
    page.keyboard.press("End")
    assert plot.screenshot() != before
    page.locator(".u-over").hover(position={"x": 100, "y": 50})
    assert page.locator(".u-series .u-value").first.inner_text() not in ("", "–")


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_text_stays_text(text: str, visit: Visit) -> None:
    chart = {**CHART, "series": [{"name": text, "x": [1, 2], "y": [1, 2]}]}
    page = visit(specimen(text, chart))
    assert "pwned" not in page.title() or page.title() == text
    assert page.locator("script").count() == 4
    assert page.locator("img").count() == page.locator("h1:has-text('fake') + h1").count() == 0
    shown = text.replace("\x00", "\\x00").replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    assert page.locator("h1").all_inner_texts() == [shown]


def test_an_injected_script_does_not_run(visit: Visit, page: Page) -> None:
    """The policy holds even if something is not escaped."""
    html = specimen().replace("</footer>", "</footer><script>document.title='pwned'</script>")
    html = html.replace("</footer>", "</footer><img src='http://example.com/x.png'>")
    page.expected_errors = ["Content Security Policy"]  # type: ignore[attr-defined]
    assert visit(html).title() != "pwned"


def test_all_is_readable_without_scripts(visit: Visit) -> None:
    html = specimen()
    page = visit(html[: html.index("<script>")])
    assert len(names(page)) == 12


@pytest.mark.parametrize("name", ["lists.js", "charts.js", "vendor/uPlot.js", "vendor/htmx.js"])
def test_a_script_cannot_end_its_element(name: str) -> None:
    assert "</script" not in read(name).lower()
    assert "<!--" not in read(name)


def test_every_vendored_file_has_its_licence() -> None:
    for folder in (FOLDER / "vendor", Path(__file__).with_name("vendor")):
        for path in folder.iterdir():
            assert "LICENSE" in path.name or path.with_name(f"{path.stem}.LICENSE").exists()
