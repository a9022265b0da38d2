"""Parts of pages that update themselves, while the service fails or is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftkit.dashboard.respond import UPDATE_SECONDS
from support.job_store import JobStore
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


SET_HIDDEN = """value => {
  Object.defineProperty(document, 'hidden', { value, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def test_a_hidden_page_requests_nothing_until_it_is_shown(page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    requests: list[str] = []
    with JobStore(folder) as stored, LocalServer(folder, max_jobs=0) as service:
        id = stored.add_job(status="queued")
        stored.add_steps(id, 1, 10, 80)
        page.goto(service.url.removesuffix("/v1") + f"/jobs/{id}")
        page.locator("canvas").first.wait_for()
        page.evaluate(SET_HIDDEN, True)
        page.wait_for_timeout(300)
        page.on("request", lambda request: requests.append(request.url))
        page.wait_for_timeout(2_000 * UPDATE_SECONDS + 500)
        assert requests == []
        soon = 500 * UPDATE_SECONDS
        with page.expect_request(f"**/{id}/metrics*", timeout=soon):  # noqa: SIM117
            with page.expect_request(f"**/{id}/live*", timeout=soon):
                page.evaluate(SET_HIDDEN, False)
