"""Real training by processes that report over HTTP, with the results of local training."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest

from ftkit._local import RUN_MODULE
from support.detached_runner import kill_all, worker_ids
from support.local_server import LocalServer, wait_for_job
from support.report_proxy import ReportProxy
from support.training import CITY_DATA, ask_model, method_with, start_job

pytestmark = [
    pytest.mark.training,
    pytest.mark.skipif(os.name != "posix", reason="needs a shell and signals"),
]

METHOD = method_with(n_epochs=8)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[LocalServer]:
    """A service whose training processes outlive it."""

    def port() -> int:
        number = urlsplit(server.url).port
        assert number
        return number

    folder = tmp_path / "service"
    folder.mkdir()
    with ReportProxy(port) as proxy:
        command = [*RUN_MODULE, "ftkit.server.worker", "train-remote", str(folder / "data")]
        runner = {"folder": str(folder / "runner"), "url": proxy.url, "command": command}
        server = LocalServer(folder / "data", runner=runner)
        with server:
            yield server
        kill_all(folder / "runner")


def losses(client: openai.OpenAI, job: str) -> dict[str, float]:
    """Return each loss that a job has reported, by the message's start and the metric."""
    events = client.fine_tuning.jobs.list_events(job, limit=100).data
    return {
        f"{name} {event.data['step']}": value  # type: ignore[index]
        for event in events
        for name, value in (event.data or {}).items()  # type: ignore[attr-defined]
        if name.endswith("loss")
    }


def wait_for_loss(client: openai.OpenAI, job: str, step: int) -> None:
    deadline = time.monotonic() + 300
    while f"train_loss {step}" not in losses(client, job):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def expected(client: openai.OpenAI) -> dict[str, float]:
    """Losses of a job that was trained by the service itself."""
    job = start_job(client, CITY_DATA, CITY_DATA, method=METHOD, seed=5)
    wait_for_job(client, job.id, "succeeded")
    return losses(client, job.id)


@pytest.mark.parametrize("interruption", ["none", "kill", "pause", "restart of the service"])
def test_a_remote_job_trains_as_a_local_one(
    interruption: str, remote: LocalServer, expected: dict[str, float]
) -> None:
    client = remote.client()
    job = start_job(client, CITY_DATA, CITY_DATA, method=METHOD, seed=5)
    if interruption == "pause":
        # A beat asks what to do every few seconds, and the smoke model trains in less.
        wait_for_job(client, job.id, "running")
    elif interruption != "none":
        wait_for_loss(client, job.id, 5)
    if interruption == "kill":
        for pid in worker_ids(remote.folder.parent / "runner", f"{job.id}-1"):
            os.kill(pid, signal.SIGKILL)
    elif interruption == "pause":
        client.fine_tuning.jobs.pause(job.id)
        wait_for_job(client, job.id, "paused")
        client.fine_tuning.jobs.resume(job.id)
    elif interruption == "restart of the service":
        remote.kill()
        client = remote.start().client()
    done = wait_for_job(client, job.id, "succeeded")
    assert losses(client, job.id) == expected
    assert len(expected) == 24
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert [checkpoint.step_number for checkpoint in checkpoints] == [16, 14, 12]
    assert isinstance(ask_model(client, done.fine_tuned_model, "Lima"), str)
