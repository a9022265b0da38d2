"""A headless Chromium for HTML pages, and hostile texts to put into them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from support.paths import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = (
    os.environ.get("FTKIT_CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)

SCREENSHOTS = os.environ.get("FTKIT_SCREENSHOTS")
"""Folder for the screenshots of `looks`; without one, none are taken."""

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

WIDTHS = {390: 844, 768: 1024, 1440: 900}
"""Widths of the window with their heights: a phone, a tablet, a desktop."""

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

LOCAL = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:", "http://localhost:")
"""Beginnings of addresses on this machine."""

AXE = ROOT / "tests/browser/vendor/axe.js"

OVERFLOWING = """() => {
  const width = document.documentElement.clientWidth, shown = [];
  if (document.documentElement.scrollWidth > width) shown.push('the page scrolls sideways');
  for (const element of document.body.querySelectorAll('*')) {
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    const isHidden = box.width <= 1 || box.right <= 0 || style.visibility === 'hidden';
    if (isHidden || element.closest('.u-wrap, svg, select')) continue;
    const name = `${element.tagName.toLowerCase()}.${element.className}`;
    if (box.right > width + 1) shown.push(`${name} ends at ${Math.round(box.right)} of ${width}`);
    const cuts = style.overflowX !== 'visible' && !element.matches('input, .badge, .hidden');
    if (cuts && element.scrollWidth > element.clientWidth + 1) shown.push(`${name} is cut`);
  }
  return shown.slice(0, 5);
}"""

HOSTILE_TEXTS = [
    "</script><script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "</pre></article><h1>fake</h1><h3>fake</h3>",
    "'\"><svg/onload=document.title='pwned'>",
    "&lt;b&gt;",
    "<!--",
    "]]>",
    "{{ 7 * 7 }}{% raw %}",
    "\x00\x1b[31m\u202e",
    "javascript:alert(1)",
]


class TagCollector(HTMLParser):
    """The tags of a page, and its text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))


def rendered_dom(page: str, folder: Path) -> str:
    """The page as a browser has it once its script has run."""
    path = folder / "page.html"
    path.write_text(page, "utf-8", errors="replace")
    return subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser, driven by Playwright."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here; FTKIT_CHROMIUM names one")
    driver = pytest.importorskip("playwright.sync_api", reason="no Playwright here")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched(browser: Browser) -> Iterator[Page]:
    """A page that must not log errors, leave the machine or overflow.

    Its `expected_errors`, a list, holds parts of messages on the console that are wanted.
    """
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page: Any = context.new_page()
    page.expected_errors = []
    errors: list[str] = []
    page.on("console", lambda entry: errors.append(entry.text) if entry.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}") or dialog.dismiss())
    away: list[str] = []
    context.on("requestfinished", lambda request: away.append(request.url))
    context.on(
        "requestfailed",
        lambda request: away.append(request.url) if request.failure != "csp" else None,
    )
    try:
        yield page
        assert not [text for text in errors if not any(map(text.count, page.expected_errors))]
        assert not [url for url in away if not url.startswith(LOCAL)]
        assert not page.evaluate(OVERFLOWING)
    finally:
        context.close()


def looks(page: Page, name: str) -> None:
    """Check a page in each width and colour scheme: nothing overflows, and axe finds nothing serious.

    Screenshots are saved as NAME-WIDTH-SCHEME.png in `SCREENSHOTS`.
    """
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(60)
            if SCREENSHOTS:
                path = Path(SCREENSHOTS, f"{name}-{width}-{scheme}.png")
                page.screenshot(path=path, full_page=True)
            place = f"{name} at {width} px, {scheme}"
            assert page.evaluate(OVERFLOWING) == [], place
            assert violations(page) == [], place


def violations(page: Page) -> list[str]:
    """The serious and critical findings of axe-core, with the first elements of each."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text("utf-8"))
    result = page.evaluate("() => axe.run({resultTypes: ['violations']})")
    return [
        f"{row['id']}: {row['help']}: {[node['html'][:200] for node in row['nodes'][:3]]}"
        for row in result["violations"]
        if row["impact"] in ("serious", "critical")
    ]
