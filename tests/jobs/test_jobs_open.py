"""`ftkit jobs open`: the page of a job from a provider or an archive."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.archives import add_job, save_archive
from support.browser import HOSTILE_TEXTS, TagCollector
from support.examples import chat_lines
from support.fake_provider import FakeProvider
from support.fixture_types import Run
from support.job_store import JobStore
from support.local_server import LocalServer


def text_of(page: str) -> str:
    """The text of a page, with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.partition("<main")[2]))


def charts_of(page: str) -> list[dict[str, Any]]:
    """The data of the charts of a page."""
    data: list[dict[str, Any]] = json.loads(
        page.partition('id="charts-data">')[2].partition("</script>")[0]
    )
    return data


def check_contents(page: str) -> None:
    """Check the page of a job of `add_job`."""
    text = text_of(page)
    for expected in (
        "succeeded The model is ready.",
        "training loss 0.1",
        "trained tokens 1,000,000",
        "cost about $3.00 $3.00 per million tokens",
        "duration 10 min",
        "epochs unknown 3",
        "metadata team é|<b>".replace("<", "&lt;").replace(">", "&gt;"),
        "train.jsonl",
        "Step 3",
    ):
        assert expected in text, expected
    (chart,) = charts_of(page)
    assert [len(line["x"]) for line in chart["series"]] == [30, 30]
    assert chart["x"]["perEpoch"] == 10
    assert "hx-get" not in page
    assert "<button" not in page.partition("<main")[2]


def test_a_job_of_a_provider_becomes_a_page(fake_provider: FakeProvider, ftkit: Run) -> None:
    job = add_job(fake_provider)
    done = ftkit("jobs", "open", job["id"], "--html", "job.html")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "wrote job.html\n")
    page = Path("job.html").read_text("utf-8")
    check_contents(page)
    assert "default-src 'none'" in page


def test_a_job_of_an_archive_becomes_the_same_page(
    fake_provider: FakeProvider, provider_url: str, ftkit: Run, tmp_path: Path
) -> None:
    job = add_job(fake_provider)
    save_archive(provider_url, tmp_path / "archive")
    done = ftkit("jobs", "open", job["id"], "--archive", "archive", "--html", "job.html")
    assert (done.returncode, done.stderr) == (0, "wrote job.html\n")
    page = Path("job.html").read_text("utf-8")
    check_contents(page)
    assert "archive archive, read on" in page
    done = ftkit(
        "jobs", "open", job["id"], "--archive", "archive", "--html", "archive/manifest.json"
    )
    assert (done.returncode, "is in the archive; name a file outside of it" in done.stderr) == (
        2,
        True,
    )


def test_the_page_does_not_replace_the_facts(ftkit: Run, tmp_path: Path) -> None:
    (tmp_path / "facts.toml").write_text("")
    done = ftkit("jobs", "open", "ftjob-1", "--facts", "facts.toml", "--html", "facts.toml")
    assert (done.returncode, done.stderr) == (
        2,
        "ftkit: --html facts.toml would replace an input; name another file\n",
    )


def test_the_page_is_opened_from_a_folder_of_its_own(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    browser, record = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {record}\n')
    browser.chmod(0o700)
    job = add_job(fake_provider)
    done = ftkit(
        "jobs", "open", job["id"], env={"BROWSER": f"{browser} %s", "TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    path = Path(record.read_text().strip().removeprefix("file://"))
    assert path.parent.parent == tmp_path
    assert path.name == f"{job['id']}.html"
    assert path.parent.stat().st_mode & 0o077 == 0
    check_contents(path.read_text("utf-8"))


def test_what_was_requested_is_read_from_the_journal(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    Path("data.jsonl").write_bytes(b"".join(line + b"\n" for line in chat_lines(12)))
    model = "gpt-4o-mini-2024-07-18"
    done = ftkit("submit", "data.jsonl", "--model", model, "--epochs", "2", "--yes")
    assert done.returncode == 0, done.stderr
    (job,) = fake_provider.jobs.values()
    job["hyperparameters"] = {"n_epochs": 2, "batch_size": 1}
    job["method"] = {"type": "supervised", "supervised": {"hyperparameters": {}}}
    assert ftkit("jobs", "open", "@last", "--html", "job.html").returncode == 0
    text = text_of(Path("job.html").read_text("utf-8"))
    assert "epochs 2 2" in text
    assert "batch size auto 1" in text


def test_a_job_without_metrics_has_a_page(fake_provider: FakeProvider, ftkit: Run) -> None:
    job = fake_provider.add_job({"model": "m", "status": "queued", "training_file": "file-gone"})
    done = ftkit("jobs", "open", job["id"], "--html", "job.html")
    assert done.returncode == 0, done.stderr
    text = text_of(Path("job.html").read_text("utf-8"))
    assert "This job has no metrics." in text
    assert "file-gone" in text
    assert "not found at OpenAI" in text


def test_hostile_texts_stay_text(fake_provider: FakeProvider, ftkit: Run) -> None:
    hostile = " ".join(HOSTILE_TEXTS)
    job = add_job(
        fake_provider,
        fine_tuned_model=hostile,
        model=hostile,
        status=hostile,
        hyperparameters={hostile: hostile},
        metadata={hostile: hostile},
        error={"message": hostile, "code": hostile},
        user_provided_suffix=hostile,
    )
    fake_provider.add_event(job["id"], hostile, level=hostile)
    done = ftkit("jobs", "open", job["id"], "--html", "job.html")
    assert done.returncode == 0, done.stderr
    page = Path("job.html").read_text("utf-8")
    main = page.partition("<main")[2].partition("</main>")[0]
    tags = TagCollector(main).tags
    assert not {tag for tag, _ in tags} & {"script", "img", "svg", "article"}
    hashes = page.partition("script-src")[2].partition(";")[0].count("sha256-")
    assert page.count("<script") == hashes + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--archive", "none", "--html", "a.html"], "none"),
        (["--archive", "none", "--provider", "openai"], "--archive cannot be used with --provider"),
        (["--html", "no/such/folder.html"], "no/such"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    options: list[str], message: str, fake_provider: FakeProvider, ftkit: Run
) -> None:
    job = add_job(fake_provider)
    done = ftkit("jobs", "open", job["id"], *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(Path().glob("*.html"))


def test_a_job_of_the_local_service_has_the_same_page(tmp_path: Path, ftkit: Run) -> None:
    with LocalServer(tmp_path / "data", max_jobs=0) as server, JobStore(server.folder) as stored:
        id = stored.add_job(status="running")
        stored.add_steps(id, 1, 30, 60)
        stored.add_model(id, 15, is_last=False, train_loss=1.5)
        options = ("--provider", "local", "--base-url", server.url)
        done = ftkit("jobs", "open", id, *options, "--html", "job.html")
        assert done.returncode == 0, done.stderr
    page = Path("job.html").read_text("utf-8")
    assert "step 30 of 60, 50%" in text_of(page)
    assert charts_of(page)[0]["x"]["perEpoch"] == 15
