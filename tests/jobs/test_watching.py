"""Watching a job until it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.client.resources import Event
from ftkit.errors import ProviderError
from ftkit.jobs.watch import NewEvents, watch
from support.connections import connect_to
from support.fake_provider import FakeProvider, random_faults
from support.fixture_types import Run
from support.jobs import add_jobs
from support.models import MINI
from support.terminal import run_in_terminal


@pytest.mark.parametrize("seed", range(20))
def test_watching_loses_no_event_and_repeats_none(
    seed: int, fake_provider: FakeProvider, provider_url: str
) -> None:
    add_jobs(fake_provider, 1)
    (id,) = fake_provider.created
    fake_provider.jobs[id]["status"] = "running"
    fake_provider.pages = 20
    fake_provider.faults = random_faults(seed, 0.15)
    messages = [f"Created fine-tuning job: {id}"]

    def go_on(job: dict[str, Any]) -> None:
        for _ in range(seed % 4 * 5):
            messages.append(f"event {len(messages)}")
            fake_provider.add_event(id, messages[-1])
        job["status"] = "succeeded" if len(messages) > 60 or seed % 4 == 0 else "warming_up"

    fake_provider.on_job = go_on
    seen = [
        event.message
        for look in watch(connect_to(provider_url), id, sleep=lambda seconds: None)
        for event in look.events
    ]
    assert seen == messages


def test_watching_waits_out_trouble_but_not_a_wrong_key(
    fake_provider: FakeProvider, provider_url: str
) -> None:
    add_jobs(fake_provider, 1)
    troubles = iter(["429", "500 before", "drop before", ""])
    fake_provider.faults = lambda method, path: next(troubles, "")
    looks = list(
        watch(connect_to(provider_url), fake_provider.created[0], sleep=lambda seconds: None)
    )
    assert [bool(look.error) for look in looks] == [True, True, True, False]
    fake_provider.key = "sk-new"
    with pytest.raises(ProviderError, match="rejected the API key"):
        list(watch(connect_to(provider_url), fake_provider.created[0], sleep=lambda seconds: None))


def test_watching_ends_when_the_service_stays_away(
    fake_provider: FakeProvider, provider_url: str
) -> None:
    fake_provider.faults = lambda method, path: "500 before"
    hours = iter(range(0, 36000, 1200))
    with pytest.raises(ProviderError, match="responded with 500"):
        list(
            watch(
                connect_to(provider_url),
                "ftjob-1",
                sleep=lambda seconds: None,
                clock=lambda: float(next(hours)),
            )
        )


def test_watching_as_json_is_a_document_on_each_line(
    fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    fake_provider.on_job = lambda job: job.update(status="succeeded")
    done = ftkit("submit", clean_file, "--model", MINI, "--yes", "--watch", "--output", "json")
    first, event, last = map(json.loads, done.stdout.splitlines())
    assert set(first) == {"job", "adopted", "submission"}
    assert event["event"]["message"].startswith("Created fine-tuning job")
    assert last["job"]["status"] == "succeeded"
    assert ftkit("jobs", "watch", last["job"]["id"], "--output", "json").stdout.count("\n") == 2


def test_a_failed_job_ends_watching_with_1(fake_provider: FakeProvider, ftkit: Run) -> None:
    add_jobs(fake_provider, 1)
    done = ftkit("jobs", "watch", fake_provider.created[0])
    assert done.returncode == 1
    assert "ftkit jobs doctor" in done.stderr


def test_the_live_view_shows_status_losses_and_events(
    fake_provider: FakeProvider, provider_url: str
) -> None:
    add_jobs(fake_provider, 1)
    (id,) = fake_provider.created
    steps = iter(["running", "succeeded"])

    def go_on(job: dict[str, Any]) -> None:
        job["status"] = next(steps)
        job["fine_tuned_model"] = "ft:x"
        for step in (1, 2):
            data = {"step": step, "total_steps": 4, "train_loss": 2.0 / step}
            fake_provider.add_event(
                id, f"Step {step}/4: training loss={2 / step}", type="metrics", data=data
            )

    fake_provider.on_job = go_on
    code, shown = run_in_terminal(provider_url, "jobs", "watch", id)
    assert code == 0
    for part in (
        b"step 2 of 4",
        b"train_loss",
        "█".encode(),
        b"Step 2/4",
        b"succeeded",
        b"model ft:x",
    ):
        assert part in shown


def test_an_interrupt_leaves_the_job_running_and_says_so(
    fake_provider: FakeProvider, provider_url: str
) -> None:
    add_jobs(fake_provider, 1)
    fake_provider.on_job = lambda job: job.update(status="running")
    code, shown = run_in_terminal(
        provider_url, "jobs", "watch", fake_provider.created[0], interrupt=b"running"
    )
    assert code == 130
    assert b"the job continues" in shown
    assert fake_provider.jobs[fake_provider.created[0]]["status"] == "running"


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(0, 40))
def test_events_are_given_once_however_they_are_split(times: list[int], at: int) -> None:
    created = [
        Event.read({"id": f"e{n}", "created_at": sum(times[: n + 1]), "message": str(n)})
        for n in range(len(times))
    ]
    seen = NewEvents()
    first = seen.select(iter(created[:at][::-1]))
    second = seen.select(iter(created[::-1]))
    assert [event.id for event in (*first, *second)] == [event.id for event in created]


def test_the_live_view_bears_any_event_and_plays_no_tricks(
    fake_provider: FakeProvider, provider_url: str
) -> None:
    job = fake_provider.add_job({"model": "m", "status": "canceled"})["id"]
    fake_provider.add_event(
        job,
        "evil \x1b]0;title\x07",
        data={"step": "x", "total_steps": None, "train_loss": float("nan")},
    )
    code, shown = run_in_terminal(provider_url, "jobs", "watch", job)
    assert code == 1
    assert b"\x1b]0;title" not in shown
    assert rb"\x1b]0;title" in shown
