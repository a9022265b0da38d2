"""Limits, priorities and turns with jobs that train, as their events show them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest

from support.local_server import LocalServer, event_messages, wait_for_job
from support.training import CITY_DATA, method_with, start_job

pytestmark = pytest.mark.training

KEYS = ("a", "b", "c")

STARTED = "Fine-tuning job started"


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, openai.OpenAI]]:
    folder = tmp_path_factory.mktemp("queue") / "data"
    limits = {"running": 1}
    with LocalServer(folder, keys=KEYS, max_jobs=2, limits=limits) as server, ExitStack() as stack:
        yield {key: stack.enter_context(server.client(key)) for key in KEYS}


def start_long(client: openai.OpenAI) -> Any:
    """Return a running job that does not end before it is cancelled."""
    job = start_job(client, CITY_DATA * 20, method=method_with(n_epochs=50))
    return wait_for_job(client, job.id, "running")


def start_short(client: openai.OpenAI, priority: int = 0) -> Any:
    """Start a job that takes few steps."""
    metadata = {"ftkit_priority": str(priority)}
    return start_job(client, method=method_with(n_epochs=1), metadata=metadata)


def wait_for_message(client: openai.OpenAI, job: str, message: str, count: int = 1) -> None:
    deadline = time.monotonic() + 300
    while event_messages(client, job).count(message) < count:
        assert time.monotonic() < deadline, event_messages(client, job)
        time.sleep(0.05)


def test_the_jobs_of_a_key_run_one_at_a_time_by_priority(clients: dict[str, openai.OpenAI]) -> None:
    client, other = clients["a"], clients["b"]
    long = start_long(client)
    low, high = (start_short(client, priority=number) for number in (-10, 10))
    for job in (low, high):
        wait_for_job(client, job.id, "queued")
    client.fine_tuning.jobs.pause(low.id)
    client.fine_tuning.jobs.resume(low.id)
    wait_for_message(client, low.id, "The job waits: 1 job of this key is before it")
    of_key = "The job waits: 1 of 1 jobs of this key is running"
    wait_for_message(client, high.id, of_key)
    free = start_short(other)
    wait_for_job(other, free.id, "succeeded")
    assert not [text for text in event_messages(other, free.id) if "waits" in text]
    client.fine_tuning.jobs.cancel(long.id)
    wait_for_job(client, high.id, "succeeded")
    assert client.fine_tuning.jobs.retrieve(low.id).status == "queued"
    wait_for_job(client, low.id, "succeeded")
    assert event_messages(client, high.id).count(of_key) == 1


def test_a_full_service_is_the_reason_of_a_wait(clients: dict[str, openai.OpenAI]) -> None:
    running = [(clients[key], start_long(clients[key]).id) for key in "ab"]
    waiting = start_short(clients["c"])
    of_all = "The job waits: 2 of 2 jobs of all keys are running"
    wait_for_message(clients["c"], waiting.id, of_all)
    for client, job in running:
        client.fine_tuning.jobs.cancel(job)
    wait_for_job(clients["c"], waiting.id, "succeeded")
    assert event_messages(clients["c"], waiting.id).count(of_all) == 1


def test_an_interrupted_job_continues_before_those_that_waited(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", keys=KEYS) as server:
        with server.client("a") as client, server.client("b") as other:
            long = start_long(client)
            waiting = start_short(other, priority=10)
            wait_for_job(other, waiting.id, "queued")
        server.kill()
        server.start()
        with server.client("a") as client, server.client("b") as other:
            wait_for_message(client, long.id, STARTED, count=2)
            assert other.fine_tuning.jobs.retrieve(waiting.id).status == "queued"
            client.fine_tuning.jobs.cancel(long.id)
            wait_for_job(other, waiting.id, "succeeded")
