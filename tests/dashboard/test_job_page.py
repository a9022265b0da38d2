"""The page of a job: what it shows, its events and charts, and who sees it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ftkit.dashboard.app import DASHBOARD
from ftkit.dashboard.job_metrics import MAX_JOBS, JobMetrics, MetricsCache
from ftkit.server.app import ServerSettings, create_app
from ftkit.server.objects import EventObject, JobObject
from support.browser import HOSTILE_TEXTS, TagCollector
from support.dashboard import POLLED
from support.job_store import JobStore


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[JobStore]:
    with JobStore(tmp_path) as jobs:
        yield jobs


@pytest.fixture
def service(tmp_path: Path) -> Iterator[TestClient]:
    """A browser at a service without API keys, which does not supervise its jobs."""
    client = TestClient(create_app(ServerSettings(tmp_path, pages=DASHBOARD)), "http://127.0.0.1")
    yield client
    client.close()


def text_of(html: str) -> str:
    """The text of a page, with single spaces."""
    body = re.sub(r"<[^>]*>", " ", html.partition("<main")[2])
    return re.sub(r"\s+", " ", body)


def running_job(stored: JobStore) -> str:
    id = stored.add_job(status="running")
    stored.add_message(id, "Fine-tuning job started")
    stored.add_steps(id, 1, 40, 80)
    stored.add_model(id, 20, is_last=False, train_loss=1.2345, full_valid_loss=1.5)
    return id


def test_a_running_job_shows_its_progress_and_is_updated(
    service: TestClient, stored: JobStore
) -> None:
    id = running_job(stored)
    page = service.get(f"/jobs/{id}").text
    text = text_of(page)
    for expected in (
        "step 40 of 80, 50%",
        "40 of 80 epoch 2 of 4",
        "training loss",
        "validation loss",
        "Pause",
        "Cancel",
    ):
        assert expected in text, expected
    assert f'hx-get="/jobs/{id}/live"' in page
    assert f'hx-trigger="{POLLED}, refresh"' in page
    live = service.get(f"/jobs/{id}/live").text
    assert live.startswith('<div id="live"')
    stored.add_steps(id, 41, 44, 80)
    assert "step 44 of 80" in text_of("<main>" + service.get(f"/jobs/{id}/live").text)


def test_the_list_and_the_page_agree_on_the_last_step(
    service: TestClient, stored: JobStore
) -> None:
    id = running_job(stored)
    stored.add_metrics(id, 41, 80, valid_loss=1.0)
    assert "step 40 of 80, epoch 2 of 4" in text_of(service.get("/").text)
    assert "40 of 80 epoch 2 of 4" in text_of(service.get(f"/jobs/{id}").text)


def test_the_list_and_the_page_agree_on_the_estimated_end(
    service: TestClient, stored: JobStore
) -> None:
    end = int(time.time()) + 2 * 24 * 3600
    id = stored.add_job(status="running", estimated_finish=end)
    expected = f"about {datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M}"
    assert expected in text_of(service.get("/").text)
    assert expected in text_of(service.get(f"/jobs/{id}").text)


def test_a_job_that_has_ended_is_not_polled(service: TestClient, stored: JobStore) -> None:
    id = stored.add_job()
    page = service.get(f"/jobs/{id}").text
    assert POLLED not in page
    assert 'hx-trigger="refresh"' in page
    assert "Delete this job for good" in page
    assert "Cancel" not in text_of(page)


def test_hyperparameters_are_shown_as_requested_and_as_used(
    service: TestClient, stored: JobStore
) -> None:
    id = stored.add_job(method="dpo")
    text = text_of(service.get(f"/jobs/{id}").text)
    assert "epochs auto 4" in text
    assert "batch size auto 2" in text
    assert "learning rate multiplier 2 2" in text
    assert "peak learning rate 0.001" in text
    assert "LoRA rank 64" in text
    assert "seed unknown 7" in text


def test_requested_hyperparameters_survive_their_resolution(
    service: TestClient, stored: JobStore
) -> None:
    file = stored.add_file(b"{}\n")
    body = {
        "model": "ftkit/smoke",
        "training_file": file.id,
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
    }
    id = service.post("/v1/fine_tuning/jobs", json=body).json()["id"]
    job = stored.database.get(JobObject, id)
    assert job
    assert job.requested == {
        "n_epochs": 3,
        "batch_size": "auto",
        "learning_rate_multiplier": "auto",
    }
    assert "requested" not in service.get(f"/v1/fine_tuning/jobs/{id}").json()


def test_what_was_cut_is_shown_with_the_data(service: TestClient, stored: JobStore) -> None:
    id = stored.add_job()
    message = "2 examples of the training file exceed 128 tokens (lines 3, 9)"
    assert "No example is truncated." in service.get(f"/jobs/{id}").text
    stored.add_message(id, message, "warn", key="cut training")
    page = service.get(f"/jobs/{id}").text
    data = text_of("<main" + page.partition('<section id="data">')[2].partition("</section>")[0])
    assert message in data
    assert "20 examples, chat format" in data


def test_messages_are_paged_and_metrics_are_shown_on_request(
    service: TestClient, stored: JobStore
) -> None:
    id = stored.add_job()
    for number in range(70):
        stored.add_message(id, f"message number {number}")
        stored.add_steps(id, number + 1, number + 1, 70)
    path, seen = f"/jobs/{id}", []
    while path:
        page = service.get(path).text
        seen += re.findall(r"message number (\d+)", page)
        older = re.search(r'href="([^"]*)">Next<', page)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == [str(number) for number in range(69, -1, -1)]
    every = service.get(f"/jobs/{id}?events=all").text
    assert "Step 70/70: training loss=" in every
    assert "Step" not in text_of(page)


def test_charts_have_the_metrics_of_the_job_and_of_others(
    service: TestClient, stored: JobStore
) -> None:
    id, other = stored.add_job(), stored.add_job(method="dpo", user_provided_suffix="other")
    stored.add_steps(id, 1, 40, 40)
    stored.add_steps(other, 1, 20, 20, rewards_margins=1.0)
    answer = service.get(f"/jobs/{id}/metrics").json()
    (chart,) = answer["charts"]
    assert (chart["y"], chart["x"]["perEpoch"]) == ("loss", 10)
    assert [line["name"] for line in chart["series"]] == ["training", "validation"]
    assert chart["series"][1]["x"] == [10, 20, 30, 40]
    assert answer["isOver"]
    both = service.get(f"/jobs/{id}/metrics", params={"with": f"{other},ftjob-none,{id}"}).json()
    names = [line["name"] for line in both["charts"][0]["series"]]
    own, its = id[6:14], f"other {other[6:14]}"
    assert names == [
        f"training, marv {own}",
        f"validation, marv {own}",
        f"training, {its}",
        f"validation, {its}",
    ]
    assert [chart["y"] for chart in both["charts"]] == ["loss", "rewards margins"]


def test_charts_are_sent_again_only_if_they_have_changed(
    service: TestClient, stored: JobStore
) -> None:
    id = running_job(stored)
    path = f"/jobs/{id}/metrics"
    version = service.get(path).json()["version"]
    assert service.get(path, params={"version": version}).status_code == 204
    stored.add_steps(id, 41, 41, 80)
    changed = service.get(path, params={"version": version})
    assert changed.json()["charts"][0]["series"][0]["x"][-1] == 41
    assert not changed.json()["isOver"]
    stored.database.change(JobObject, id, lambda job: setattr(job, "status", "succeeded"))
    ended = service.get(path, params={"version": changed.json()["version"]})
    assert ended.json()["isOver"]


def test_jobs_of_other_keys_are_not_shown(tmp_path: Path) -> None:
    settings = ServerSettings(tmp_path, keys=("sk-one",), max_jobs=0, pages=DASHBOARD)
    with JobStore(tmp_path, tenant="of somebody else") as others:
        foreign = others.add_job()
        others.add_steps(foreign, 1, 5, 5)
    with TestClient(create_app(settings), "http://127.0.0.1", follow_redirects=False) as client:
        assert client.get(f"/jobs/{foreign}").status_code == 303
        headers = {"authorization": "Bearer sk-one"}
        for path in ("", "/live", "/metrics"):
            answer = client.get(f"/jobs/{foreign}{path}", headers=headers)
            assert answer.status_code == 404
            assert "Step" not in answer.text


@pytest.mark.parametrize("id", ["ftjob-none", "%2e%2e%2fservice.db", "<script>", "a" * 5000])
def test_a_job_that_is_not_there_is_a_page_with_status_404(id: str, service: TestClient) -> None:
    answer = service.get(f"/jobs/{id}")
    assert answer.status_code == 404
    assert "<script>" not in answer.text.partition("<main")[2].partition("<dialog")[0]


@pytest.mark.parametrize(
    "query", ["with=%00&before=x", "before=ftevent-none", "events=<b>", "with=" + "a," * 500]
)
def test_an_odd_query_shows_the_page(query: str, service: TestClient, stored: JobStore) -> None:
    id = stored.add_job()
    for path in ("", "/live", "/metrics"):
        assert service.get(f"/jobs/{id}{path}?{query}").status_code == 200


def test_hostile_texts_stay_text(service: TestClient, stored: JobStore) -> None:
    hostile = " ".join(HOSTILE_TEXTS)
    id = stored.add_job(
        status="failed",
        user_provided_suffix=hostile,
        metadata={hostile: hostile},
        names={"training": hostile},
        training_file="file-gone",
        error={"code": hostile, "message": hostile, "param": None},
    )
    stored.add_message(id, hostile + "x" * 1_000_000, "error")
    stored.add_model(id, 20, is_last=False)
    stored.write_log(id, hostile)
    page = service.get(f"/jobs/{id}").text
    assert len(page) < 100_000
    tags = TagCollector(page.partition("<main")[2].partition("<dialog")[0]).tags
    assert not {tag for tag, _ in tags} & {"script", "img", "svg", "h3", "article"}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert "javascript:" not in " ".join(str(attributes.get("href")) for _, attributes in tags)


@pytest.mark.parametrize("status", ["queued", "validating_files", "pausing", "paused", "cancelled"])
def test_every_status_has_a_sentence(status: Any, service: TestClient, stored: JobStore) -> None:
    id = stored.add_job(status=status)
    page = service.get(f"/jobs/{id}").text
    text = text_of(page)
    assert f"{status.replace('_', ' ')} The " in text
    assert ("Resume" in text) == (status == "paused")
    badge = f'<span class="badge (\\w+)">{status.replace("_", " ")}</span>'
    assert re.findall(badge, page) == re.findall(badge, service.get("/").text) != []
    # The list offers the same actions, and asks the same question before.
    attributes = r'data-(?:action|confirm)="[^"]*/?' + id + '[^"]*"'
    assert re.findall(attributes, page) == [
        *re.findall(attributes, service.get("/").text),
        *([f'data-action="DELETE /v1/fine_tuning/jobs/{id}"'] if status == "cancelled" else []),
    ]


@pytest.mark.slow
def test_a_job_with_100_000_events_is_shown_in_time(service: TestClient, stored: JobStore) -> None:
    id = stored.add_job(status="running")
    stored.add_message(id, "Fine-tuning job started")
    stored.add_steps(id, 1, 91_000, 91_000)
    stored.add_message(id, "the last one")
    service.get(f"/jobs/{id}/metrics")
    for path in ("", "/live", "?events=all", "/metrics"):
        start = time.perf_counter()
        assert service.get(f"/jobs/{id}{path}").status_code == 200
        assert time.perf_counter() - start < 1, path


def test_metrics_are_read_once(stored: JobStore) -> None:
    id = running_job(stored)
    job = stored.database.get(JobObject, id)
    assert job
    metrics = JobMetrics()
    metrics.update(stored.database, job)
    first = metrics.series(["train_loss"])
    for event in stored.database.children(EventObject, id):
        stored.database.remove(EventObject, event.id) if event.id != metrics.version else None
    metrics.update(stored.database, job)
    assert metrics.series(["train_loss"]) == first


def test_two_services_in_a_process_share_no_metrics(tmp_path: Path) -> None:
    charts = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        app = create_app(ServerSettings(folder, pages=DASHBOARD))
        with JobStore(folder) as jobs, closing(TestClient(app, "http://127.0.0.1")) as client:
            id = jobs.add_job(id="ftjob-same", status="running")
            jobs.add_steps(id, 1, number, 80)
            charts.append(client.get(f"/jobs/{id}/metrics").json()["charts"][0]["series"][0]["x"])
    assert charts == [[1], [1, 2]]


def test_the_cache_of_metrics_is_bounded(stored: JobStore) -> None:
    cache = MetricsCache()
    for number in range(MAX_JOBS + 3):
        id = stored.add_job(user_provided_suffix=str(number))
        job = stored.database.get(JobObject, id)
        assert job
        cache.read(stored.database, job)
    assert len(cache._jobs) == MAX_JOBS
