"""One browser for all tests here, and a page of its own for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.browser import launched, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser."""
    with launched() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page; errors on its console, requests to other machines and overflow fail the test."""
    with watched(browser) as opened:
        yield opened


@pytest.fixture
def visit(page: Page, tmp_path: Path) -> Callable[[str], Page]:
    """Show HTML that is saved as a file, like a report."""

    def show(html: str) -> Page:
        path = tmp_path / "page.html"
        path.write_text(html, "utf-8")
        page.goto(path.as_uri())
        return page

    return show
