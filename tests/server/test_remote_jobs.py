"""Jobs whose training processes report over HTTP: fencing, outages, restarts, pauses."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from ftkit.server.exits import LOST_EXIT_CODE, STALE_EXIT_CODE
from ftkit.server.objects import CheckpointObject, FileObject, ModelObject
from support.detached_runner import exit_code, worker_ids
from support.remote_jobs import STEPS, RemoteJobs

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a shell and signals")


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[RemoteJobs]:
    """A service with one job, whose training takes about a second."""
    with RemoteJobs(tmp_path, step_seconds=0.1) as jobs:
        yield jobs


@pytest.fixture
def held_jobs(tmp_path: Path) -> Iterator[RemoteJobs]:
    """A service with one job, which trains only 4 of its 12 steps until it is released."""
    with RemoteJobs(tmp_path, last_step=4) as jobs:
        yield jobs


def test_a_job_is_trained_by_a_process_that_reports_over_http(jobs: RemoteJobs) -> None:
    job = jobs.wait_for("succeeded")
    jobs.check_ended_once()
    assert (job.attempt, job.trained_tokens) == (1, 100)
    checkpoints = jobs.database.children(CheckpointObject, jobs.id)
    assert [checkpoint.step_number for checkpoint in checkpoints] == [6, 12]
    models = {model.id: model.step for model in jobs.database.all(ModelObject)}
    assert models[job.fine_tuned_model or ""] == STEPS
    adapter = jobs.folder.adapter(jobs.id, STEPS)
    assert (adapter / "adapter_model.safetensors").read_bytes() == b"weights"
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert exit_code(jobs.runner, jobs.name(1)) == 0
    result = jobs.database.get(FileObject, job.result_files[0])
    assert result
    rows = jobs.folder.blob(result.sha256).read_text().splitlines()
    assert len(rows) == STEPS + 1
    deadline = time.monotonic() + 5
    while jobs.job().token_hash or (jobs.folder.job(jobs.id) / "attempts").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_whose_node_was_taken_for_dead_is_refused_and_ends(
    held_jobs: RemoteJobs,
) -> None:
    jobs = held_jobs
    jobs.wait_for_step(4)
    stale = jobs.lose_node()
    assert exit_code(jobs.runner, stale) == STALE_EXIT_CODE
    jobs.release()
    job = jobs.wait_for("succeeded")
    assert job.attempt == 2
    jobs.check_ended_once()
    restarts = [text for text in jobs.messages() if "its node is dead" in text]
    assert len(restarts) == 1
    assert min(jobs.trained_steps(2)) > 3  # it resumed from the state of the first attempt


def test_a_stale_process_that_was_frozen_changes_nothing_when_it_goes_on(
    held_jobs: RemoteJobs,
) -> None:
    jobs = held_jobs
    jobs.wait_for_step(4)
    (pid,) = worker_ids(jobs.runner, jobs.name(1))
    os.kill(pid, signal.SIGSTOP)
    stale = jobs.lose_node()
    jobs.release()
    jobs.wait_for("succeeded")
    before = [(event.id, event.data) for event in jobs.events()]
    os.kill(pid, signal.SIGCONT)
    assert exit_code(jobs.runner, stale) == STALE_EXIT_CODE
    assert [(event.id, event.data) for event in jobs.events()] == before
    jobs.check_ended_once()


def test_a_process_that_loses_the_service_saves_its_state_and_ends(tmp_path: Path) -> None:
    with RemoteJobs(tmp_path, last_step=4, lost=0.6) as jobs:
        jobs.wait_for_step(4)
        jobs.proxy.is_cut.set()
        assert exit_code(jobs.runner, jobs.name(1)) == LOST_EXIT_CODE
        saved = max(jobs.trained_steps(1))
        assert saved < STEPS
        jobs.proxy.is_cut.clear()
        jobs.release()
        jobs.wait_for("succeeded")
        jobs.check_ended_once()
        assert any("could not reach the service" in text for text in jobs.messages())
        trained = [
            step
            for number in range(1, jobs.job().attempt + 1)
            for step in jobs.trained_steps(number)
        ]
        assert sorted(trained) == list(range(1, STEPS + 1))  # no step twice


def test_a_short_outage_of_the_network_interrupts_nothing(tmp_path: Path) -> None:
    with RemoteJobs(tmp_path, step_seconds=0.1, lost=20) as jobs:
        jobs.wait_for_step(2)
        jobs.proxy.is_cut.set()
        time.sleep(1.5)
        jobs.proxy.is_cut.clear()
        assert jobs.wait_for("succeeded").attempt == 1
        jobs.check_ended_once()


def test_lost_answers_double_nothing(jobs: RemoteJobs) -> None:
    for step in range(1, STEPS):
        jobs.wait_for_step(step)
        jobs.proxy.lose = 1
    jobs.wait_for("succeeded")
    jobs.check_ended_once()
    assert jobs.proxy.lost_answers >= 3


def test_a_process_goes_on_while_the_service_is_restarted(jobs: RemoteJobs) -> None:
    jobs.wait_for_step(3)
    jobs.restart_service(pause=0.3)
    assert jobs.wait_for("succeeded").attempt == 1
    jobs.check_ended_once()
    assert not any("restarted" in text for text in jobs.messages())


def test_a_process_that_ends_while_the_service_is_down_is_replaced(
    held_jobs: RemoteJobs,
) -> None:
    jobs = held_jobs
    jobs.wait_for_step(4)
    jobs.server.kill()
    jobs.kill_worker()
    exit_code(jobs.runner, jobs.name(1))
    jobs.release()
    jobs.server.start()
    assert jobs.wait_for("succeeded").attempt == 2
    jobs.check_ended_once()
    assert "The service was restarted; the job continues" in jobs.messages()


def test_a_job_is_paused_and_resumed(held_jobs: RemoteJobs) -> None:
    jobs = held_jobs
    jobs.wait_for_step(4)
    with jobs.client() as client:
        client.fine_tuning.jobs.pause(jobs.id)
        jobs.wait_for("paused")
        assert exit_code(jobs.runner, jobs.name(1)) == 0
        reached = max(jobs.steps())
        jobs.release()
        client.fine_tuning.jobs.resume(jobs.id)
    jobs.wait_for("succeeded")
    jobs.check_ended_once()
    assert min(jobs.trained_steps(2)) == reached + 1


def test_a_job_is_cancelled(held_jobs: RemoteJobs) -> None:
    jobs = held_jobs
    jobs.wait_for_step(2)
    with jobs.client() as client:
        client.fine_tuning.jobs.cancel(jobs.id)
    exit_code(jobs.runner, jobs.name(1), seconds=5)
    time.sleep(0.3)
    assert jobs.job().status == "cancelled"
    assert not (jobs.folder.job(jobs.id) / "attempts").exists()


def test_a_job_that_is_paused_before_its_process_begins_is_not_trained(tmp_path: Path) -> None:
    jobs = RemoteJobs(tmp_path)
    jobs.runner.mkdir()
    (jobs.runner / "waits").touch()
    with jobs, jobs.client() as client:
        deadline = time.monotonic() + 10
        waiting = jobs.runner / f"{jobs.name(1)}.waiting"
        while not waiting.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        client.fine_tuning.jobs.pause(jobs.id)
        while waiting.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (jobs.runner / "waits").unlink()
        client.fine_tuning.jobs.resume(jobs.id)
        assert jobs.wait_for("succeeded").kills == 0
        jobs.check_ended_once()


def test_a_cluster_that_cannot_be_reached_delays_jobs_and_no_more(tmp_path: Path) -> None:
    jobs = RemoteJobs(tmp_path)
    jobs.runner.mkdir()
    (jobs.runner / "unavailable").touch()
    with jobs:
        deadline = time.monotonic() + 20
        while "The job waits: the cluster cannot be reached" not in jobs.messages(jobs.id):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert jobs.job().status == "queued"
        (jobs.runner / "unavailable").unlink()
        assert jobs.wait_for("succeeded").attempts == 0
        jobs.check_ended_once()
        log = jobs.server.log()
    assert log.count("the cluster cannot be reached; trying again every 5 seconds") == 1
    assert log.count("The runner can be reached again, after") == 1


def test_a_job_that_the_cluster_refuses_fails_with_its_reason(tmp_path: Path) -> None:
    jobs = RemoteJobs(tmp_path)
    jobs.runner.mkdir()
    (jobs.runner / "refuses").touch()
    with jobs:
        error = jobs.wait_for("failed").error
        assert error
        assert error.message == "the cluster has no node with 8 GPUs"


def test_a_folder_that_is_not_shared_fails_the_job_with_the_reason(tmp_path: Path) -> None:
    with RemoteJobs(tmp_path, worker_root=tmp_path / "elsewhere") as jobs:
        error = jobs.wait_for("failed").error
        assert error
        assert "do not share one data folder" in error.message
        assert f"{jobs.id}/attempts/3/checkpoints/checkpoint-3" in error.message


def test_processes_of_several_jobs_die_and_each_job_ends_once(tmp_path: Path) -> None:
    with RemoteJobs(tmp_path, step_seconds=0.1, count=3) as jobs:
        for id in jobs.jobs:
            jobs.wait_for("running", id=id)
        jobs.kill_worker(jobs.jobs[0])
        jobs.lose_node(jobs.jobs[1])
        for id in jobs.jobs:
            jobs.wait_for("succeeded", id=id)
            jobs.check_ended_once(id)


def test_the_client_sees_the_events_of_a_remote_job(jobs: RemoteJobs) -> None:
    jobs.wait_for("succeeded")
    with jobs.client() as client:
        events: list[openai.types.fine_tuning.FineTuningJobEvent] = (
            client.fine_tuning.jobs.list_events(jobs.id, limit=100).data
        )
        job = client.fine_tuning.jobs.retrieve(jobs.id).to_dict()
    assert len([event for event in events if event.type == "metrics"]) == STEPS
    assert not {"token_hash", "handle", "attempt"} & job.keys()
