"""The pages of an archive, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftkit.archive.layout import INDEX
from support.archives import RESULTS, add_job, save_archive
from support.browser import HOSTILE_TEXTS, looks
from support.fake_provider import FakeProvider
from support.paths import SAMPLES

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def show(page: Page, folder: Path) -> Page:
    page.goto((folder / INDEX).as_uri())
    return page


def jobs(page: Page) -> list[str]:
    """The ids of the jobs that are shown."""
    return page.locator("tbody tr:visible th").all_inner_texts()


def test_the_pages_look_right(
    page: Page, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    statuses = ["succeeded", "failed", "cancelled", *["succeeded"] * 5]
    ids = [
        add_job(fake_provider, number, status=status)["id"]
        for number, status in enumerate(statuses)
    ]
    fake_provider.jobs[ids[1]]["error"] = {
        "message": "The file is invalid.",
        "code": "invalid_file",
    }
    save_archive(provider_url, tmp_path / "archive")
    looks(show(page, tmp_path / "archive"), "archive")
    page.get_by_role("link", name=ids[0], exact=True).click()
    assert page.title() == ids[0]
    looks(page, "archive-job")
    page.get_by_role("link", name="All jobs").click()
    assert page.title() == "Fine-tuning jobs"
    page.get_by_role("link", name=ids[1], exact=True).click()
    assert page.locator(".headline").inner_text() == "The file is invalid."


def test_the_pages_of_the_sample_are_current(page: Page) -> None:
    show(page, SAMPLES / "archive")
    page.locator("tbody a").first.click()
    page.get_by_role("link", name="All jobs").click()
    assert len(jobs(page)) == 1


def test_the_index_is_searched_and_sorted_with_the_keyboard(
    page: Page, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    """Three jobs; the second failed and has no losses, which come last however they are sorted."""
    one = add_job(fake_provider, 0)["id"]
    nothing = {
        "status": "failed",
        "fine_tuned_model": "",
        "result_files": [],
        "hyperparameters": {},
    }
    two = add_job(fake_provider, 1, **nothing)["id"]
    fake_provider.checkpoints[two] = []
    last = add_job(fake_provider, 2)
    fake_provider.contents[last["result_files"][0]] = RESULTS.replace(b"30,0.100", b"30,0.900")
    three = last["id"]
    save_archive(provider_url, tmp_path / "archive")
    show(page, tmp_path / "archive")
    assert jobs(page) == [three, two, one]
    for text, shown in (("FAILED", [two]), ("ft: succeeded", [three, one]), ("no such", [])):
        page.get_by_label("Search").fill(text)
        assert jobs(page) == shown
    page.get_by_label("Search").fill("")
    page.get_by_role("button", name="created").focus()
    page.keyboard.press("Enter")
    assert jobs(page) == [one, two, three]
    page.get_by_role("button", name="train loss").focus()
    page.keyboard.press("Enter")
    assert jobs(page) == [three, one, two]
    page.keyboard.press("Enter")
    assert jobs(page) == [one, three, two]


def test_hostile_values_of_a_provider_stay_text(
    page: Page, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    for number, text in enumerate([*HOSTILE_TEXTS, "x" * 1_000_000]):
        job = add_job(fake_provider, number)
        name = job["training_file"]
        fake_provider.files[name]["filename"] = text
        fake_provider.jobs[job["id"]] |= {
            "model": text,
            "fine_tuned_model": text,
            "status": text,
            "organization_id": text,
            "metadata": {text[:64]: text},
            "error": {"message": text, "code": text},
            "hyperparameters": {"n_epochs": text, text: text},
        }
    save_archive(provider_url, tmp_path / "archive")
    looks(show(page, tmp_path / "archive"), "archive-hostile")
    assert page.title() == "Fine-tuning jobs"
    for path in sorted((tmp_path / "archive" / "jobs").glob("*/index.html")):
        page.goto(path.as_uri())
        assert page.locator("script, img").count() == 0
        assert not page.evaluate("document.body.innerText.includes('\\u202e')")
