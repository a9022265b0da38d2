"""Parts of pages that update themselves, while the service fails or is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.local_server import LocalServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def show_devices(page: Page, service: LocalServer) -> None:
    page.goto(service.url.removesuffix("/v1") + "/devices")
    page.get_by_text("database and logs of the service").wait_for()


def wait_for_message(page: Page, text: str) -> None:
    """Wait for a message, and check that the page is shown as it was."""
    page.locator("#message[data-tone=error]", has_text=text).wait_for()
    assert page.locator("#state tr", has_text="The service").is_visible()


def wait_until_current(page: Page) -> None:
    """Wait until the message is gone and the page updates itself again."""
    page.locator("#message:empty").wait_for(state="attached")
    page.evaluate("document.querySelector('#state h2').textContent = 'outdated'")
    page.locator("#state h2", has_text="GPUs").wait_for()


def test_a_page_stays_as_it_is_after_an_error_of_the_service(page: Page, tmp_path: Path) -> None:
    page.expected_errors = ["status of 500"]  # type: ignore[attr-defined]
    with LocalServer(tmp_path / "data") as service:
        show_devices(page, service)
        service.folder.rename(tmp_path / "elsewhere")
        wait_for_message(page, "This page is not current: the service answers with error 500.")
        page.wait_for_timeout(2500)
        wait_for_message(page, "error 500")
        (tmp_path / "elsewhere").rename(service.folder)
        wait_until_current(page)


def test_a_page_goes_on_after_a_restart_of_the_service(page: Page, tmp_path: Path) -> None:
    page.expected_errors = ["ERR_CONNECTION_REFUSED", "Failed to fetch"]  # type: ignore[attr-defined]
    with LocalServer(tmp_path / "data") as service:
        show_devices(page, service)
        service.stop()
        wait_for_message(page, "This page is not current: the service does not answer.")
        port = int(service.url.removesuffix("/v1").rpartition(":")[2])
        with LocalServer(service.folder, port=port):
            wait_until_current(page)
