"""A headless Chromium for generated HTML pages, and hostile texts to put into them."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

HOSTILE_TEXTS = [
    "</script><script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "</pre></article><h1>fake</h1>",
    "'\"><svg/onload=document.title='pwned'>",
    "&lt;b&gt;",
    "<!--",
    "]]>",
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
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
    )
    return subprocess.run(
        [str(CHROMIUM), *flags, path.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
