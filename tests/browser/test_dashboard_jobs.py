"""The list of jobs and the login of the dashboard, in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftkit.server.database import Database
from ftkit.server.objects import JobError, JobObject, now
from support.browser import HOSTILE_TEXTS, looks
from support.listed_jobs import store_job, store_losses
from support.local_server import LocalServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

KEY = "sk-browser"

UPDATE = 15_000
"""Milliseconds within which the list shows a change."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    """A service without API keys."""
    with LocalServer(tmp_path / "data") as server:
        yield server


@pytest.fixture
def database(server: LocalServer) -> Iterator[Database]:
    """Its database."""
    database = Database(server.folder / "service.db", durable=False)
    yield database
    database.close()


def show(page: Page, server: LocalServer, path: str = "/") -> Page:
    page.goto(server.url.removesuffix("/v1") + path)
    return page


def fill(database: Database) -> list[JobObject]:
    """Store jobs as they are in practice, the newest last."""
    start = now() - 40_000
    rows = [
        ("support-bot", "succeeded", "Qwen/Qwen3-0.6B", 240, "support.jsonl"),
        ("triage", "failed", "ftkit/smoke", 0, "triage.jsonl"),
        ("support-bot-2", "succeeded", "Qwen/Qwen3-0.6B", 240, "support.jsonl"),
        ("router", "cancelled", "ftkit/smoke", 96, "router.jsonl"),
        (None, "succeeded", "ftkit/smoke", 240, "marv.jsonl"),
        ("support-bot-3", "paused", "Qwen/Qwen3-1.7B", 130, "support-v2.jsonl"),
    ]
    jobs = []
    for number, (suffix, status, model, steps, file) in enumerate(rows):
        failed = JobError("invalid_training_file", "The file has 3 examples, fewer than 10.", None)
        job = store_job(
            database,
            user_provided_suffix=suffix,
            status=status,
            model=model,
            created_at=start + 5_000 * number,
            validation_file="file-v" if number % 3 != 1 else None,
            names={"training": file},
            error=failed if status == "failed" else None,
            **(
                {}
                if status == "paused"
                else {"finished_at": start + 5_000 * number + 700 + 31 * number}
            ),
        )
        store_losses(database, job, steps, 240, 2.0 - 0.1 * number)
        jobs.append(job)
    return jobs


def names(page: Page) -> list[str]:
    return page.locator("tbody th a").all_inner_texts()


def test_the_list_looks_right(page: Page, server: LocalServer, database: Database) -> None:
    jobs = fill(database)
    looks(show(page, server), "dashboard-jobs")
    assert page.title() == "Jobs"
    assert names(page)[0] == "support-bot-3"
    assert page.locator(f"#{jobs[0].id} .spark").get_attribute("aria-label").startswith("losses")


def test_the_empty_list_says_what_to_do(page: Page, server: LocalServer) -> None:
    looks(show(page, server), "dashboard-empty")
    assert page.get_by_role("heading", name="No jobs yet").is_visible()


def test_a_filter_without_jobs_leads_back(
    page: Page, server: LocalServer, database: Database
) -> None:
    fill(database)
    looks(show(page, server, "/?q=nothing"), "dashboard-no-match")
    page.get_by_role("link", name="Show all jobs").click()
    assert len(names(page)) == 6


def test_the_list_is_filtered_and_sorted_with_the_keyboard(
    page: Page, server: LocalServer, database: Database
) -> None:
    fill(database)
    show(page, server)
    page.get_by_label("Search").focus()
    page.keyboard.type("support")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=support*")
    assert names(page) == ["support-bot-3", "support-bot-2", "support-bot"]
    page.get_by_role("link", name="Training loss").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**sort=train_loss*")
    assert names(page) == ["support-bot-2", "support-bot", "support-bot-3"]
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Training loss")
    page.get_by_role("link", name="Paused 1").click()
    assert names(page) == ["support-bot-3"]
    assert page.get_by_label("Search").input_value() == "support"


def test_the_list_updates_itself_and_keeps_the_selection(
    page: Page, server: LocalServer, database: Database
) -> None:
    job = store_job(database, user_provided_suffix="live", status="paused")
    store_losses(database, job, 10, 40)
    other = store_job(database, user_provided_suffix="other")
    show(page, server)
    box = page.get_by_label("Compare live")
    box.check()
    box.focus()
    assert "step 10 of 40" in page.locator(f"#{job.id}").inner_text()
    store_losses(database, job, 20, 40)
    page.locator(f"#{job.id}").get_by_text("step 20 of 40").wait_for(timeout=UPDATE)
    new = store_job(database, user_provided_suffix="new", status="cancelled")
    page.locator(f"#{new.id}").wait_for(timeout=UPDATE)
    assert names(page) == ["new", "other", "live"]
    assert box.is_checked()
    assert box.evaluate("element => element === document.activeElement")
    page.get_by_label("Compare other").check()
    page.expected_errors = ["404"]  # type: ignore[attr-defined]
    page.get_by_role("button", name="Compare the selected jobs").click()
    page.wait_for_url(f"**/jobs/{other.id}?with={job.id}")


def test_a_job_is_cancelled_after_a_question(
    page: Page, server: LocalServer, database: Database
) -> None:
    job = store_job(database, user_provided_suffix="mine", status="paused")
    show(page, server)
    cancel = page.get_by_role("button", name="Cancel mine")
    cancel.click()
    assert "Cancel mine" in page.locator("dialog").inner_text()
    page.get_by_role("button", name="No").click()
    assert database.require(JobObject, job.id, "local").status == "paused"
    cancel.click()
    page.get_by_role("button", name="Yes").click()
    page.locator(f"#{job.id} .badge", has_text="cancelled").wait_for(timeout=UPDATE)
    assert database.require(JobObject, job.id, "local").status == "cancelled"
    assert cancel.count() == 0


def test_hostile_names_stay_text(page: Page, server: LocalServer, database: Database) -> None:
    for text in (*HOSTILE_TEXTS, "x" * 100_000):
        store_job(
            database,
            status="failed",
            user_provided_suffix=text,
            names={"training": text},
            model=text,
            error=JobError("x", text, None),
        )
    looks(show(page, server), "dashboard-hostile")
    assert page.title() == "Jobs"
    assert page.locator("h3, img").count() == 0
    assert not page.evaluate("document.body.innerText.includes('\\u202e')")


def test_a_login_is_asked_for_and_ended(page: Page, tmp_path: Path) -> None:
    page.expected_errors = ["401"]  # type: ignore[attr-defined]
    with LocalServer(tmp_path / "data", keys=(KEY,)) as server:
        show(page, server, "/?status=failed")
        looks(page, "dashboard-login")
        page.get_by_label("API key").fill("sk-wrong")
        page.keyboard.press("Enter")
        assert page.get_by_role("alert").inner_text() == "This API key is not accepted."
        page.get_by_label("API key").fill(KEY)
        page.keyboard.press("Enter")
        page.wait_for_url("**/?status=failed")
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
        show(page, server)
        assert page.get_by_label("API key").is_visible()
        assert page.get_by_role("link", name="Jobs").count() == 0


def test_a_list_whose_login_ended_goes_to_the_login(page: Page, tmp_path: Path) -> None:
    page.expected_errors = ["401"]  # type: ignore[attr-defined]
    with LocalServer(tmp_path / "data", keys=(KEY,)) as server:
        show(page, server)
        page.get_by_label("API key").fill(KEY)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="No jobs yet").wait_for()
        page.context.clear_cookies()
        page.evaluate("document.getElementById('jobs').dispatchEvent(new Event('refresh'))")
        page.wait_for_url("**/login?next=/")
        assert page.get_by_label("API key").is_visible()


def test_the_page_says_so_while_the_service_does_not_answer(
    page: Page, server: LocalServer, tmp_path: Path
) -> None:
    page.expected_errors = ["ERR_CONNECTION_", "Failed to fetch"]  # type: ignore[attr-defined]
    show(page, server)
    port = int(server.url.split(":")[2].partition("/")[0])
    refresh = "document.getElementById('jobs').dispatchEvent(new Event('refresh'))"
    server.stop()
    page.evaluate(refresh)
    message = page.get_by_role("status").filter(has_text="The service does not answer")
    message.wait_for(timeout=UPDATE)
    with LocalServer(tmp_path / "data", port=port):
        page.evaluate(refresh)
        message.wait_for(state="detached", timeout=UPDATE)
