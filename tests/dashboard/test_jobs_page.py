"""The page with all jobs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ftkit.dashboard import choices
from ftkit.dashboard.app import DASHBOARD
from ftkit.server.app import ServerSettings, create_app
from ftkit.server.database import Database
from ftkit.server.job_progress import MAX_EVENTS, SAMPLES, read_progress
from ftkit.server.job_search import JobQuery, find_jobs
from ftkit.server.objects import EventObject, JobError, now
from support.browser import HOSTILE_TEXTS, TagCollector
from support.dashboard import POLLED
from support.listed_jobs import copy_events, store_job, store_losses

SECONDS = 0.3
"""Maximum time of a page with 1,000 jobs and 100,000 events."""

PART = {"hx-request": "true"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The database of the service, which has no runner of jobs that could change them."""
    database = Database(tmp_path / "service.db", durable=False)
    yield database
    database.close()


@pytest.fixture
def browser(database: Database, tmp_path: Path) -> Iterator[TestClient]:
    """A browser at a service without API keys. Jobs that wait stay paused, since they cannot run."""
    app = create_app(ServerSettings(tmp_path, pages=DASHBOARD))
    with TestClient(app, "http://127.0.0.1", follow_redirects=False) as client:
        yield client


def names(text: str) -> list[str]:
    """The names of the jobs that a page lists."""
    return re.findall(r'<th scope="row"><a href="/jobs/[^"]+">([^<]*)</a>', text)


def store_named(database: Database, *suffixes: str) -> None:
    for suffix in suffixes:
        store_job(database, user_provided_suffix=suffix)


def test_without_jobs_the_page_says_how_to_create_one(browser: TestClient) -> None:
    text = browser.get("/").text
    assert "No jobs yet" in text
    assert "--base-url http://127.0.0.1/v1 --model ftkit/smoke --watch" in text
    assert 'href="/new"' in text


def test_a_row_has_progress_losses_and_times(browser: TestClient, database: Database) -> None:
    start = now() - 600
    job = store_job(database, status="paused", created_at=start, validation_file="file-v", seed=3)
    store_losses(database, job, 20, 40)
    done = store_job(
        database, user_provided_suffix="done", created_at=start, finished_at=start + 125
    )
    store_losses(database, done, 40, 40)
    text = browser.get("/").text
    assert "step 20 of 40, epoch 1.5 of 3" in text
    assert "step 40 of 40, epoch 3 of 3" in text
    assert '<td class="number" data-label="Training loss">0.5463</td>' in text
    assert '<td class="number" data-label="Validation loss">0.7463</td>' in text
    assert "after 2 min 5 s" in text
    assert text.count('class="spark"') == 2
    assert f'data-action="POST /v1/fine_tuning/jobs/{job.id}/resume"' in text
    assert f"/v1/fine_tuning/jobs/{done.id}/" not in text


def test_a_failed_job_says_why(browser: TestClient, database: Database) -> None:
    store_job(database, status="failed", error=JobError("x", "The file has 3 examples.", None))
    text = browser.get("/").text
    assert '<span class="badge error">failed</span>' in text
    assert "The file has 3 examples." in text


def test_the_list_is_filtered_by_status_model_and_text(
    browser: TestClient, database: Database
) -> None:
    store_job(database, user_provided_suffix="one", model="gpt-4o", metadata={"team": "Zürich"})
    store_job(database, user_provided_suffix="two", status="cancelled")
    store_job(database, names={"training": "Fragen.jsonl"})
    for query, expected in (
        ("status=cancelled", ["two"]),
        ("model=gpt-4o", ["one"]),
        ("q=fragen", ["Fragen.jsonl"]),
        ("q=%20TWO%20", ["two"]),
        ("q=Zürich", ["one"]),
        ("q=team", []),
        ("q=%25", []),
        ("status=succeeded&model=ftkit/smoke", ["Fragen.jsonl"]),
        ("status=no-such&sort=no-such&page=x", ["Fragen.jsonl", "two", "one"]),
    ):
        text = browser.get(f"/?{query}").text
        assert names(text) == expected, query
        assert ("No job matches" in text) == (not expected)
    assert re.search(
        r'href="/\?status=cancelled&amp;q=t">Cancelled <small>1<', browser.get("/?q=t").text
    )


def test_the_list_is_sorted_and_jobs_without_a_value_come_last(
    browser: TestClient, database: Database
) -> None:
    for name, scale in (("low", 1.0), ("none", 0.0), ("high", 9.0), ("middle", 3.0)):
        job = store_job(
            database,
            user_provided_suffix=name,
            validation_file="file-v" if name != "middle" else None,
            created_at=now() - 1000,
            finished_at=now() - 1000 + int(scale),
        )
        if scale:
            store_losses(database, job, 20, 20, scale)
    store_job(database, user_provided_suffix="runs", status="paused", created_at=now() - 500)
    for sort, expected in (
        ("train_loss", ["low", "middle", "high", "none", "runs"]),
        ("-train_loss", ["high", "middle", "low", "runs", "none"]),
        ("valid_loss", ["low", "high", "none", "middle", "runs"]),
        ("duration", ["none", "low", "middle", "high", "runs"]),
        ("finished", ["none", "low", "middle", "high", "runs"]),
        ("-finished", ["high", "middle", "low", "none", "runs"]),
        ("created", ["low", "none", "high", "middle", "runs"]),
        ("", ["runs", "middle", "high", "none", "low"]),
    ):
        assert names(browser.get(f"/?sort={sort}").text) == expected, sort
    text = browser.get("/?sort=train_loss").text
    assert '<th scope="col" aria-sort="ascending"><a href="/?sort=-train_loss">' in text
    assert '<a href="/?sort=-finished">Finished (UTC)</a>' in text


def test_long_lists_have_pages(browser: TestClient, database: Database) -> None:
    store_named(database, *(f"run-{number}" for number in range(60)))
    text = browser.get("/?q=run").text
    assert names(text) == [f"run-{number}" for number in range(59, 34, -1)]
    assert "1 to 25 of 60 jobs" in text
    assert 'rel="prev"' not in text
    text = browser.get("/?q=run&page=3").text
    assert "51 to 60 of 60 jobs" in text
    assert 'href="/?q=run&amp;page=2" rel="prev"' in text
    assert 'rel="next"' not in text
    assert names(browser.get(f"/?page={'9' * 5}").text) == names(text)


def test_the_page_requests_its_list_again(browser: TestClient, database: Database) -> None:
    job = store_job(database)
    part = browser.get("/?sort=created", headers=PART)
    assert part.text.lstrip().startswith(
        '<div id="jobs" hx-get="/?sort=created" hx-trigger="every 10s'
    )
    assert part.headers["cache-control"] == "no-store"
    store_job(database, status="paused")
    part = browser.get("/?sort=created", headers=PART)
    assert f'hx-trigger="{POLLED}, refresh"' in part.text
    assert job.id in part.text
    assert "<html" not in part.text


def test_jobs_of_another_tenant_are_not_listed(browser: TestClient, database: Database) -> None:
    store_job(database, tenant="other", user_provided_suffix="theirs", model="secret")
    text = browser.get("/").text
    assert "theirs" not in text
    assert "secret" not in text
    assert "No jobs yet" in text


def test_selected_jobs_are_compared_on_one_page(browser: TestClient) -> None:
    location = browser.get("/jobs?id=ftjob-1&id=ftjob-2&id=ftjob-2&id=a/../b,c").headers["location"]
    assert location == "/jobs/ftjob-1?with=ftjob-2,a%2F..%2Fb%2Cc"
    assert browser.get("/jobs?id=//evil.example").headers["location"] == "/jobs/%2F%2Fevil.example"
    response = browser.get("/jobs")
    assert response.status_code == 400
    assert "No job is selected; select the jobs to compare." in response.text


def test_no_more_jobs_are_compared_than_the_charts_have_colours(browser: TestClient) -> None:
    ids = [f"id={number}" for number in range(7)]
    location = browser.get(f"/jobs?{'&'.join(ids[:6])}").headers["location"]
    assert location == "/jobs/0?with=1,2,3,4,5"
    response = browser.get(f"/jobs?{'&'.join(ids)}")
    assert response.status_code == 400
    assert "At most 6 jobs can be compared, not 7." in response.text


def test_the_list_of_models_has_a_limit(
    browser: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "MAX_CHOICES", 2)
    for model in ("a", "b"):
        store_job(database, model=model)
    assert "The list has" not in browser.get("/").text
    store_job(database, model="model-c")
    page = browser.get("/").text
    assert "The list has 2 models. Type the name of another one into the search." in page
    assert '<option value="model-c"' not in page
    assert names(browser.get("/?q=model-c").text) == ["data.jsonl"]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_names_stay_text(browser: TestClient, database: Database, text: str) -> None:
    store_job(
        database,
        status="failed",
        user_provided_suffix=text,
        names={"training": text},
        model=text,
        error=JobError("x", text, None),
    )
    expected = TagCollector(browser.get("/").text).tags
    assert [name for name, _ in expected].count("script") == 2  # those of the dashboard
    assert not any(name in ("img", "h3") for name, _ in expected)
    assert not any(key.startswith("on") for _, attributes in expected for key in attributes)
    for query in ("q", "model", "status", "sort", "page"):
        page = browser.get("/", params={query: text})
        assert page.status_code == 200
        assert "<script>document" not in page.text


def test_a_long_text_is_cut(browser: TestClient, database: Database) -> None:
    store_job(database, user_provided_suffix="x" * 1_000_000, model="y" * 1_000_000)
    assert len(browser.get("/").content) < 100_000


def test_many_events_of_a_job_are_sampled(database: Database) -> None:
    job = store_job(database, status="running", validation_file="file-v")
    store_losses(database, job, 3_000, 4_000)
    progress = read_progress(database, job)
    assert (progress.step, progress.total) == (3_000, 4_000)
    assert SAMPLES <= len(progress.train) < MAX_EVENTS
    assert len(progress.valid) > 10
    steps = [step for step, _ in progress.train]
    assert steps == sorted(steps)
    assert steps[0] < 10
    assert max(b - a for a, b in pairwise(steps)) < 100


def test_a_search_takes_no_sql(database: Database) -> None:
    store_named(database, "safe")
    for text in ("' OR 1=1 --", "%", "_", '"', "\\", ":tenant"):
        assert not find_jobs(database, "local", JobQuery(text=text))


def test_a_page_of_a_thousand_jobs_is_quick(browser: TestClient, database: Database) -> None:
    with database.transaction():  # paused, since the progress of finished jobs is kept in memory
        jobs = [
            store_job(
                database,
                user_provided_suffix=f"run-{number}",
                status="paused",
                validation_file="file-v",
            )
            for number in range(1_000)
        ]
    store_losses(database, jobs[0], 91, 91)
    copy_events(database, jobs[0], *jobs[1:])
    assert len(database.children(EventObject, jobs[-1].id)) == 100
    browser.get("/jobs")  # which loads the templates
    for address in ("/", "/?page=20", "/?sort=valid_loss", "/?q=run-9", "/?status=failed"):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            assert browser.get(address).status_code == 200
            times.append(time.perf_counter() - start)
        assert min(times) < SECONDS, address
