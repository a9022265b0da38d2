"""From a file to a job in the dashboard, with a browser only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.browser import HOSTILE_TEXTS, looks
from support.local_server import LocalServer, wait_for_job
from support.models import SMOKE
from support.paths import SAMPLES
from support.training import CITY_DATA, city_example, encode_jsonl

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

SECONDS = 120_000
"""Milliseconds to wait for a check."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """The service."""
    folder = tmp_path_factory.mktemp("service") / "data"
    with LocalServer(folder, {"gpt-4.1-mini": SMOKE}) as running:
        yield running


@pytest.fixture
def dashboard(page: Page, server: LocalServer) -> Page:
    """The page with the files."""
    page.set_default_timeout(SECONDS)
    page.goto(f"{server.url.removesuffix('/v1')}/files")
    return page


def choose(page: Page, name: str, content: bytes) -> None:
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    page.get_by_label("File").set_input_files(files=[file])  # type: ignore[list-item]
    page.get_by_role("button", name="Upload").click()


def test_a_table_becomes_a_tuned_model(dashboard: Page, server: LocalServer) -> None:
    page = dashboard
    looks(page, "dashboard-files-empty")
    rows = "".join(f"{n},How do I reset {n}?,Choose reset {n}.\n" for n in range(12))
    choose(page, "faq.csv", f"id,Kundenfrage,Text\n{rows}".encode())
    page.get_by_label("Question").select_option("Kundenfrage")
    page.get_by_label("Answer").select_option("Text")
    looks(page, "dashboard-convert-columns")
    page.get_by_role("button", name="Convert").click()
    page.get_by_role("button", name="Use these examples").wait_for()
    looks(page, "dashboard-convert")
    page.get_by_role("button", name="Use these examples").click()
    page.get_by_role("link", name="Train on this file").wait_for()
    looks(page, "dashboard-file")
    page.get_by_role("link", name="Train on this file").click()
    create = page.locator("[data-create]:enabled")
    create.wait_for()
    page.get_by_label("Epochs").fill("0")
    page.get_by_role("alert").wait_for()
    assert page.locator("[data-create]").is_disabled()
    looks(page, "dashboard-new-invalid")
    page.get_by_label("Epochs").fill("1")
    create.wait_for()
    looks(page, "dashboard-new")
    page.expected_errors.append("404")  # type: ignore[attr-defined]
    create.click()
    page.wait_for_url("**/jobs/ftjob-*")
    with server.client() as client:
        job = wait_for_job(client, page.url.rpartition("/")[2], "succeeded")
    assert job.hyperparameters.n_epochs == 1
    page.reload()
    page.get_by_role("link", name="Try the model", exact=True).click()
    page.get_by_text("Parameters", exact=True).click()
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Question").fill("How do I reset 3?")
    page.get_by_role("button", name="Ask").click()
    page.wait_for_function(
        "() => document.querySelectorAll('#turns .answer').length === 2"
        " && document.querySelector('#stop').disabled"
    )
    labels = page.locator("#turns .answer .badge").all_text_contents()
    assert labels == ["Base model", "Fine-tuned"]
    page.goto(f"{server.url.removesuffix('/v1')}/files")
    looks(page, "dashboard-files")


def test_a_check_is_polled_in_a_hidden_tab(dashboard: Page) -> None:
    page = dashboard
    page.add_init_script("Object.defineProperty(document, 'hidden', { value: true })")
    choose(page, "hidden.jsonl", encode_jsonl([city_example(f"h{n}", "x") for n in range(50)]))
    page.get_by_role("link", name="Train on this file").click()
    page.locator("[data-create]:enabled").wait_for()


def test_a_broken_file_is_fixed(dashboard: Page) -> None:
    page = dashboard
    broken = b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}],}\n'
    marv = Path(SAMPLES / "marv.jsonl").read_bytes()
    choose(page, "support tickets.jsonl", marv + broken)
    page.get_by_role("link", name="Open the report").wait_for()
    looks(page, "dashboard-file-broken")
    page.get_by_role("link", name="Fix 1 finding").click()
    page.get_by_role("button", name="Use the fixed file").wait_for()
    looks(page, "dashboard-fix")
    page.get_by_role("button", name="Use the fixed file").click()
    page.get_by_role("link", name="Train on this file").wait_for()
    assert page.get_by_role("heading", level=1).inner_text() == "support tickets-fixed.jsonl"


def test_a_report_works_and_cannot_act_on_the_dashboard(dashboard: Page) -> None:
    page = dashboard
    rows = [city_example(text, text) for text in HOSTILE_TEXTS]
    rows += [{"messages": [{"role": text, "content": text}]} for text in HOSTILE_TEXTS]
    choose(page, f"{HOSTILE_TEXTS[1].replace('/', '')}.jsonl", encode_jsonl(rows))
    page.get_by_role("link", name="Open the report").wait_for()
    looks(page, "dashboard-file-hostile")
    assert page.title().startswith("<img src=x onerror=")
    page.goto(f"{page.url}/report")
    looks(page, "dashboard-report")
    assert page.evaluate("self.origin") == "null"
    denied = "fetch('/v1/files').then(() => 'sent', () => 'refused')"
    page.expected_errors += ["Content Security Policy", "CSP", "Refused"]  # type: ignore[attr-defined]
    assert page.evaluate(denied) == "refused"


def test_a_file_is_deleted_after_a_confirmation(dashboard: Page) -> None:
    page = dashboard
    choose(page, "old.jsonl", CITY_DATA)
    page.get_by_role("link", name="Train on this file").wait_for()
    page.get_by_role("button", name="Delete").click()
    looks(page, "dashboard-delete")
    page.get_by_role("button", name="No").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Yes").click()
    page.wait_for_url("**/files")
    assert page.get_by_role("link", name="old.jsonl").count() == 0


def test_an_upload_that_is_refused_says_why(dashboard: Page) -> None:
    page = dashboard
    page.expected_errors.append("400")  # type: ignore[attr-defined]
    choose(page, "empty.jsonl", b"")
    page.get_by_text("The file is empty.").wait_for()
    assert page.get_by_role("button", name="Upload").is_enabled()
