"""The page of `ftkit compare --html`, in a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftkit.compare.comparison import compare_answers
from ftkit.report.compare import Sides
from ftkit.report.compare_page import render_compare_html
from support.browser import HOSTILE_TEXTS, looks
from support.commands import run_ftkit
from support.paths import SAMPLES
from support.recordings import assistant_message, numbered_prompt

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

FILES = SAMPLES / "compare"


@pytest.fixture
def compared(page: Page) -> Page:
    """The page of the samples."""
    paths = [str(FILES / f"{name}.jsonl") for name in ("tuned", "base", "prompts")]
    options = ("--prompts", paths[2], "--group-by", "metadata.headline", "--html", "page.html")
    assert run_ftkit("compare", *paths[:2], *options).returncode == 0
    page.goto(Path("page.html").resolve().as_uri())
    return page


def lines(page: Page) -> list[int]:
    """The line numbers of the pairs that are shown."""
    shown = page.locator("article:visible").evaluate_all("all => all.map(one => one.dataset.line)")
    return list(map(int, shown))


def test_the_comparison_looks_right(compared: Page) -> None:
    looks(compared, "compare")
    title = "ft:gpt-4o-mini-2024-07-18:me:sports:abc123 vs. gpt-4o-mini-2024-07-18"
    assert compared.title() == title
    assert "is better than" in compared.locator(".headline").inner_text()
    assert "ftkit compare" in compared.locator("footer").inner_text()


def test_pairs_are_sorted_and_filtered_with_the_keyboard(compared: Page) -> None:
    assert len(lines(compared)) == 10
    compared.get_by_label("Find").last.focus()
    compared.keyboard.type("petra LINDQVALE")
    assert len(lines(compared)) == 1
    compared.keyboard.press("Control+A")
    compared.keyboard.press("Delete")
    compared.get_by_label("Sort").focus()
    compared.keyboard.type("by line")
    assert lines(compared) == sorted(lines(compared))
    compared.get_by_label("Where A loses").focus()
    compared.keyboard.press("Space")
    losses = compared.locator("article[data-a-loses]").count()
    assert compared.locator("output[data-for=pairs]").inner_text() == str(losses)
    compared.keyboard.press("Space")
    compared.get_by_label("Where B loses").check()
    assert compared.locator("article:visible").count() > 0
    assert compared.locator("article:visible:not([data-b-loses])").count() == 0


def test_groups_are_shown_by_measure(compared: Page) -> None:
    rows = compared.locator("[data-list=groups] tr:visible")
    assert rows.count() == 2
    compared.get_by_label("Measure").select_option("chrF")
    assert {"chrF"} == set(rows.locator("td[data-label=measure]").all_inner_texts())
    compared.get_by_role("button", name="prompts").click()
    counts = rows.locator("td[data-label=prompts]").all_inner_texts()
    assert counts == sorted(counts, key=int, reverse=True)


def test_hostile_answers_stay_text(page: Page, tmp_path: Path) -> None:
    texts = [*HOSTILE_TEXTS, "x" * 1_000_000]
    asked = [
        numbered_prompt(number, assistant_message(text), topic=text)
        for number, text in enumerate(texts)
    ]
    a: list[Any] = [assistant_message(f"{text} a") for text in texts]
    b: list[Any] = [assistant_message(json.dumps({text: text})) for text in texts]
    comparison = compare_answers(asked, a, b, group_by="topic")
    path = tmp_path / "page.html"
    path.write_text(render_compare_html(comparison, Sides(*HOSTILE_TEXTS[:3])), "utf-8")
    page.goto(path.as_uri())
    looks(page, "compare-hostile")
    assert page.title() == f"{HOSTILE_TEXTS[0]} vs. {HOSTILE_TEXTS[1]}"
    assert page.locator("article").count() == len(texts)
    assert page.locator("a").count() == 1
    assert not page.evaluate("document.body.innerText.includes('\\u202e')")
