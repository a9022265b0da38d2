"""The page of a job in the dashboard, in a browser."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftkit.client.resources import Checkpoint, Event, Job
from ftkit.dashboard.job_metrics import JobMetrics
from ftkit.report.job_page import DataFile, JobDetails, render_job_page
from ftkit.server.objects import CheckpointObject, EventObject, JobObject
from support.browser import HOSTILE_TEXTS, looks
from support.job_store import JobStore
from support.local_server import LocalServer, wait_for_job
from support.training import CITY_DATA, method_with, start_job

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that starts no jobs, and has taken note of those that an earlier one had started."""
    folder = tmp_path_factory.mktemp("dashboard") / "data"
    with JobStore(folder) as stored:
        id = stored.add_job(status="running")
        with LocalServer(folder, max_jobs=0) as server:
            with server.client() as client:
                wait_for_job(client, id, "queued")
            yield server


@pytest.fixture
def stored(server: LocalServer) -> Iterator[JobStore]:
    with JobStore(server.folder) as jobs:
        yield jobs


def visit(page: Page, server: LocalServer, path: str) -> None:
    page.goto(f"{server.url.removesuffix('/v1')}{path}")


def running_job(stored: JobStore) -> str:
    id = stored.add_job(status="running")
    stored.add_message(id, f"Created fine-tuning job: {id}")
    stored.add_message(id, "Files validated, moving job to queued state")
    message = "2 examples of the training file exceed 128 tokens (lines 3, 9): 40 trained tokens are truncated"
    stored.add_message(id, message, "warn", key="cut training")
    stored.add_message(id, "Fine-tuning job started")
    stored.add_steps(id, 1, 45, 80, mean_token_accuracy=0.1)
    for step, loss in ((20, 1.31), (40, 0.92)):
        stored.add_model(id, step, is_last=False, train_loss=loss, full_valid_loss=loss + 0.1)
    stored.write_log(id, "".join(f"{step} of 80 steps\n" for step in range(45)))
    return id


def test_a_running_job_looks_right(page: Page, server: LocalServer, stored: JobStore) -> None:
    stored.add_job(user_provided_suffix="earlier")
    id = running_job(stored)
    visit(page, server, f"/jobs/{id}")
    page.locator("canvas").nth(1).wait_for()
    looks(page, "job-running")


def test_a_preference_job_with_others_in_its_charts_looks_right(
    page: Page, server: LocalServer, stored: JobStore
) -> None:
    ids = [stored.add_job(method="dpo", user_provided_suffix=f"beta-{n}") for n in (1, 2)]
    for number, id in enumerate(ids):
        stored.add_steps(id, 1, 60, 60, rewards_margins=number, mean_token_accuracy=0.1 * number)
        stored.add_model(id, 60, train_loss=0.5, full_valid_loss=0.6)
    visit(page, server, f"/jobs/{ids[0]}?with={ids[1]}")
    page.locator("canvas").nth(2).wait_for()
    legend = page.locator(".u-legend").first.inner_text()
    assert f"training, beta-2 {ids[1][6:14]}" in legend
    looks(page, "job-compared")


def test_the_page_is_updated_without_losing_the_place_of_the_reader(
    page: Page, server: LocalServer, stored: JobStore
) -> None:
    id = running_job(stored)
    visit(page, server, f"/jobs/{id}")
    page.locator("canvas").first.wait_for()
    axis = "() => document.querySelector('canvas').toDataURL()"
    page.locator("#log-text summary").click()
    page.locator("#settings summary").click()
    plot = page.locator(".u-over").first
    plot.scroll_into_view_if_needed()
    whole, box = page.evaluate(axis), plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 60)
    page.mouse.up()
    page.mouse.move(2, 2)
    page.locator("#pause").focus()
    page.evaluate("scrollTo(0, 500)")
    page.wait_for_timeout(300)
    top, before = page.evaluate("scrollY"), page.evaluate(axis)
    stored.add_steps(id, 46, 50, 80, mean_token_accuracy=0.1)
    page.get_by_text("step 50 of 80").wait_for()
    page.wait_for_timeout(2500)
    assert before != whole, "the chart is zoomed"
    assert page.evaluate("scrollY") == top
    assert page.evaluate("document.activeElement.id") == "pause"
    assert page.locator("#log-text").get_attribute("open") is not None
    assert page.locator("#settings").get_attribute("open") is not None
    assert page.evaluate(axis) == before, "the zoomed part has not changed"


def test_a_job_is_paused_resumed_cancelled_and_deleted(
    page: Page, server: LocalServer, stored: JobStore
) -> None:
    id = stored.add_job(status="queued")
    visit(page, server, f"/jobs/{id}")
    page.get_by_role("button", name="Pause").click()
    page.locator("#resume:focus").wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="No").click()
    job = stored.database.get(JobObject, id)
    assert job
    assert job.status == "queued"
    page.get_by_role("button", name="Cancel").click()
    dialog.get_by_role("button", name="Yes").click()
    page.get_by_text("The job was cancelled.").wait_for()
    page.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Yes").click()
    page.wait_for_url(re.compile(r"/$"))
    assert stored.database.get(JobObject, id) is None


def test_a_refused_action_says_why(page: Page, server: LocalServer, stored: JobStore) -> None:
    page.expected_errors = ["400 (Bad Request)"]  # type: ignore[attr-defined]
    id = stored.add_job(status="queued")
    visit(page, server, f"/jobs/{id}")
    stored.database.change(JobObject, id, lambda job: setattr(job, "status", "paused"))
    page.evaluate("document.querySelector('#live').removeAttribute('hx-trigger')")
    page.evaluate(
        """id => {
          const button = document.querySelector('#pause') ?? document.querySelector('#resume');
          button.dataset.action = `POST /v1/fine_tuning/jobs/${id}/pause`;
          button.click();
        }""",
        id,
    )
    page.get_by_text("A job that is paused cannot be paused.").wait_for()


def test_an_adapter_and_a_log_are_downloaded(
    page: Page, server: LocalServer, stored: JobStore, tmp_path: Path
) -> None:
    id = stored.add_job()
    stored.add_model(id, 20)
    stored.write_log(id, "done\n")
    visit(page, server, f"/jobs/{id}")
    with page.expect_download() as adapter:
        page.get_by_role("link", name="Download the adapter", exact=True).click()
    assert adapter.value.suggested_filename == f"{id}-step-20.zip"
    with page.expect_download() as log:
        page.get_by_role("link", name="Download the log").click()
    log.value.save_as(tmp_path / "log")
    assert (tmp_path / "log").read_text() == "done\n"


def test_hostile_texts_stay_text(page: Page, server: LocalServer, stored: JobStore) -> None:
    hostile = " ".join(HOSTILE_TEXTS)
    error = {"code": hostile, "message": hostile, "param": None}
    id = stored.add_job(
        status="failed", user_provided_suffix=hostile, metadata={"note": hostile}, error=error
    )
    stored.add_steps(id, 1, 5, 5)
    stored.add_message(id, hostile + "x" * 1_000_000, "error")
    stored.add_model(id, 5, is_last=False)
    stored.write_log(id, hostile)
    visit(page, server, f"/jobs/{id}?with={stored.add_job(user_provided_suffix=hostile)}")
    page.locator("canvas").first.wait_for()
    looks(page, "job-hostile")
    assert page.locator("main img").count() == 0
    legend = page.locator(".u-legend").first.inner_text()
    assert "pwned" in legend
    assert "\u202e" not in legend
    assert page.title() == id


def test_a_service_that_ends_and_returns_is_told(page: Page, tmp_path: Path) -> None:
    page.expected_errors = ["ERR_", "htmx"]  # type: ignore[attr-defined]
    server = LocalServer(tmp_path / "data", max_jobs=0)
    with server, JobStore(server.folder) as stored:
        id = stored.add_job(status="queued")
        visit(page, server, f"/jobs/{id}")
        server.stop()
        page.get_by_text("The service does not answer").wait_for()


def test_the_page_of_a_file_looks_right(page: Page, stored: JobStore, tmp_path: Path) -> None:
    id = running_job(stored)
    job = stored.database.get(JobObject, id)
    assert job
    metrics = JobMetrics()
    metrics.update(stored.database, job)
    rows = [event.public() for event in stored.database.children(EventObject, id)]
    checkpoints = stored.database.children(CheckpointObject, id)
    details = JobDetails(
        job=Job.read(job.public()),
        now=datetime.datetime.now(datetime.UTC),
        metrics=metrics,
        total_steps=80,
        events=[Event.read(row) for row in rows if row["type"] == "message"] * 20,
        checkpoints=[Checkpoint.read(checkpoint.public()) for checkpoint in checkpoints],
        files=[DataFile("training", job.training_file, "marv.jsonl", 1234)],
        cost="about $3.00",
        cost_note="$3.00 per million tokens",
    )
    path = tmp_path / "job.html"
    path.write_text(render_job_page(details, ["OpenAI, read on 2026-11-22"]), "utf-8")
    page.goto(path.as_uri())
    page.locator("canvas").nth(1).wait_for()
    looks(page, "job-file")
    page.get_by_role("button", name="Next").click()
    assert page.locator(".events li:visible").count() == 30


def test_a_job_is_watched_while_it_trains(page: Page, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with LocalServer(tmp_path / "data") as server, server.client() as client:
        job = start_job(
            client, validation=CITY_DATA, method=method_with(n_epochs=30, batch_size=2)
        ).id
        visit(page, server, f"/jobs/{job}")
        page.get_by_text("The model is being trained.").wait_for(timeout=90_000)
        page.locator("canvas").first.wait_for(timeout=60_000)
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Resume").click(timeout=60_000)
        page.get_by_text("The model is ready.").wait_for(timeout=300_000)
        page.get_by_role("link", name="Try the model", exact=True).wait_for()
        assert page.locator("#checkpoints tbody tr").count() == 3
        legend = page.locator(".u-legend").first.inner_text()
        assert "training" in legend
        assert "validation" in legend
        looks(page, "job-trained")
