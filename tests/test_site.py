"""The documentation site: the build is strict, every page is in its navigation, nothing is foreign."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from support.browser import CHROMIUM, needs_browser
from support.paths import ROOT

pytest.importorskip("pydata_sphinx_theme", reason="Sphinx is not installed; tox -e docs has it")

SOURCES = ("docs", ".github", "CONTRIBUTING.md", "CHANGELOG.md", "samples", "benchmarks")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-first-run"]

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")


def build(root: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "docs" / "site" / "build.py"), str(target)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the sources of the site."""
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name)
        else:
            shutil.copy(source, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[a page](nowhere.md)", "nowhere.md"),
        ("[an anchor](estimate.md#no-such-heading)", "no-such-heading"),
        ("[an anchor of this page](#no-such-heading)", "no-such-heading"),
        ("![a picture](nowhere.svg)", "nowhere.svg"),
    ],
)
def test_a_link_that_leads_nowhere_fails_the_build(copy: Path, text: str, warning: str) -> None:
    with (copy / "docs" / "start.md").open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")
    done = build(copy, copy / "site")
    assert done.returncode != 0
    assert "start.md" in done.stderr
    assert warning in done.stderr


def test_a_page_that_is_not_in_the_index_fails_the_build(copy: Path) -> None:
    (copy / "docs" / "lonely.md").write_text("# Lonely\n", "utf-8")
    done = build(copy, copy / "site")
    assert done.returncode != 0
    assert "lonely.md" in done.stderr


class Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))


def pages(site: Path) -> list[Path]:
    return [page for page in sorted(site.glob("*.html")) if page.name != "search.html"]


def test_the_navigation_leads_to_every_page_from_every_page(site: Path) -> None:
    names = {page.name for page in pages(site)}
    assert len(names) > 25
    for page in pages(site):
        tags = Tags(page).tags
        links = [
            str(attributes["href"]).partition("#")[0] or page.name
            for tag, attributes in tags
            if tag == "a" and "internal" in str(attributes.get("class"))
        ]
        assert names - set(links) <= {"index.html", page.name}, page.name


def test_the_pages_load_nothing_from_other_hosts(site: Path) -> None:
    loads = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
    for page in site.glob("*.html"):
        for tag, attributes in Tags(page).tags:
            address = attributes.get(loads.get(tag, ""))
            assert not address or not urlsplit(address).netloc, (page.name, address)
    for style in site.rglob("*.css"):
        addresses = re.findall(r"url\(['\"]?([^'\")]+)|@import ['\"]([^'\"]+)", style.read_text())
        assert not [found for found in addresses if "//" in "".join(found)[:8]], style.name


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """The site, served on loopback."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@needs_browser
@pytest.mark.parametrize("width", [390, 1440])
def test_a_browser_finds_no_fault_with_any_page(
    site: Path, address: str, browser: Any, width: int
) -> None:
    faults: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.on("request", lambda request: faults.append(request.url) if foreign(request.url) else None)
    page.on("console", lambda note: faults.append(note.text) if note.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))

    def foreign(url: str) -> bool:
        return not url.startswith((address, "data:", "blob:"))

    for file in pages(site):
        page.goto(urljoin(address, file.name))
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        faults += [f"{file.name} is {overflow} px too wide"] if overflow > 0 else []
    context.close()
    assert faults == []


@needs_browser
def test_the_page_of_error_messages_finds_a_message(address: str, browser: Any) -> None:
    page = browser.new_page()
    page.goto(urljoin(address, "errors.html"))
    page.get_by_label("Words of the message").fill("last message must be from the assistant")
    headings = page.locator("#error-messages > section > section:visible h3").all_inner_texts()
    assert [heading.strip("#\n ") for heading in headings] == ["assistant-not-last"]


@needs_browser
def test_the_search_finds_a_rule(address: str, browser: Any) -> None:
    page = browser.new_page()
    page.goto(urljoin(address, "search.html?q=special-token-text"))
    page.locator("#search-results li a").first.wait_for()
    assert any(
        "rules.html" in str(link.get_attribute("href"))
        for link in page.locator("#search-results li a").all()
    )
