"""Training through pauses, kills and deletions."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest

from support.local_server import LocalServer, event_messages, wait_for_job
from support.training import CITY_DATA, ask_model, method_with, start_job

pytestmark = pytest.mark.training


def running(client: openai.OpenAI, job: str, step: int) -> None:
    """Wait until the job has made that many steps."""
    deadline = time.monotonic() + 90
    while not any(text.startswith(f"Step {step}/") for text in event_messages(client, job)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes(local_server: LocalServer, job: str) -> list[int]:
    """The processes of a job."""
    found = subprocess.run(
        ["pgrep", "-f", f"ftkit.server.work train {local_server.folder} {job}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(pid) for pid in found.stdout.split()]


def test_cancel_ends_training_within_5_seconds_and_frees_its_memory(
    client: openai.OpenAI, local_server: LocalServer
) -> None:
    job = start_job(client, method=method_with(n_epochs=50))
    running(client, job.id, 3)
    (pid,) = processes(local_server, job.id)
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "cancelled"


def steps(client: openai.OpenAI, job: str) -> list[str]:
    return [
        text.partition(":")[0] for text in event_messages(client, job) if text.startswith("Step")
    ]


def test_a_paused_job_goes_on_where_it_was_and_learns_as_much(
    client: openai.OpenAI, local_server: LocalServer
) -> None:
    job = start_job(client, seed=3)
    running(client, job.id, 9)
    assert client.fine_tuning.jobs.pause(job.id).status == "pausing"  # type: ignore[comparison-overlap]
    wait_for_job(client, job.id, "paused", seconds=20)
    assert not processes(local_server, job.id)
    before = len(steps(client, job.id))
    time.sleep(0.5)
    assert len(steps(client, job.id)) == before
    client.fine_tuning.jobs.resume(job.id)
    done = wait_for_job(client, job.id, "succeeded")
    assert steps(client, job.id) == [f"Step {n}/80" for n in range(1, 81)]
    assert ask_model(client, done.fine_tuned_model, "Minsk") == "ksniM"


def test_a_training_process_that_is_killed_is_started_again_from_its_last_checkpoint(
    client: openai.OpenAI, local_server: LocalServer
) -> None:
    job = start_job(client, seed=3)
    running(client, job.id, 21)
    os.kill(processes(local_server, job.id)[0], signal.SIGKILL)
    done = wait_for_job(client, job.id, "succeeded")
    told = event_messages(client, job.id)
    assert any("started again" in text for text in told)
    assert steps(client, job.id) == [f"Step {n}/80" for n in range(1, 81)]
    assert ask_model(client, done.fine_tuned_model, "Minsk") == "ksniM"


def test_a_checkpoint_that_was_saved_but_not_told_of_is_told_of_when_training_goes_on(
    tmp_path: Path,
) -> None:
    service = LocalServer(tmp_path / "data").start()
    try:
        client = service.client()
        job = start_job(
            client, CITY_DATA, CITY_DATA, method=method_with(n_epochs=50, batch_size=12), seed=3
        )
        running(client, job.id, 3)
        client.fine_tuning.jobs.pause(job.id)
        wait_for_job(client, job.id, "paused")
        told = next(iter(client.fine_tuning.jobs.checkpoints.list(job.id)))
        assert told.metrics.full_valid_loss
        service.stop()
        with contextlib.closing(sqlite3.connect(service.folder / "service.db")) as store, store:
            store.execute(
                "DELETE FROM things WHERE id IN (?, ?)", (told.id, told.fine_tuned_model_checkpoint)
            )
        shutil.rmtree(service.folder / "jobs" / job.id / f"adapter-{told.step_number}")
        client = service.start().client()
        client.fine_tuning.jobs.resume(job.id)
        wait_for_job(client, job.id, "running")
        client.fine_tuning.jobs.pause(job.id)
        wait_for_job(client, job.id, "paused")
        (again,) = (
            each
            for each in client.fine_tuning.jobs.checkpoints.list(job.id)
            if each.step_number == told.step_number
        )
        assert again.to_dict() | {"created_at": 0} == told.to_dict() | {"created_at": 0}
        assert isinstance(ask_model(client, again.fine_tuned_model_checkpoint, "Lima"), str)
    finally:
        service.stop()


@pytest.mark.parametrize("moment", [0.0, 0.3, 3.0, 7.0])
def test_a_server_that_is_killed_goes_on_with_its_jobs(moment: float, tmp_path: Path) -> None:
    service = LocalServer(tmp_path / "data").start()
    try:
        job = start_job(service.client(), method=method_with(n_epochs=20), seed=3)
        time.sleep(moment)
        service.kill()
        deadline = time.monotonic() + 10
        while processes(service, job.id):
            assert time.monotonic() < deadline, "the training process must end with its server"
            time.sleep(0.1)
        service.start()
        client = service.client()
        done = wait_for_job(client, job.id, "succeeded")
        assert steps(client, job.id) == [f"Step {n}/40" for n in range(1, 41)]
        assert [each.step_number for each in client.fine_tuning.jobs.checkpoints.list(job.id)] == [
            40,
            38,
            36,
        ]
        assert ask_model(client, done.fine_tuned_model, "Lima") is not None
    finally:
        service.stop()


def test_what_lies_where_the_service_was_started_is_nobody_s_model_or_module(
    base_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(base_model, tmp_path / "own" / "tiny")
    for module in ("json", "random", "torch", "ftkit"):
        (tmp_path / f"{module}.py").write_text(
            "raise SystemExit('imported from the present folder')"
        )
    command = [
        sys.executable,
        "-P",
        "-m",
        "ftkit",
        "serve",
        "--port",
        "0",
        "--data-dir",
        "data",
        "--model",
        "near=own/tiny",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as service:
        try:
            assert service.stderr
            client = openai.OpenAI(
                api_key="none",
                base_url=service.stderr.readline().split()[1],
                max_retries=0,
                timeout=60,
            )
            assert isinstance(ask_model(client, "near", "Oslo"), str)
            with pytest.raises(
                openai.APIStatusError, match="the base model own/tiny cannot be loaded"
            ):
                ask_model(client, "own/tiny", "Oslo")
            done = wait_for_job(
                client,
                start_job(client, model="near", method=method_with(n_epochs=1)).id,
                "succeeded",
            )
            assert isinstance(ask_model(client, done.fine_tuned_model, "Oslo"), str)
        finally:
            service.terminate()


def test_a_file_that_is_deleted_while_it_is_trained_on_does_not_matter(
    client: openai.OpenAI,
) -> None:
    job = start_job(client, method=method_with(n_epochs=2))
    wait_for_job(client, job.id, "queued", "running")
    client.files.delete(job.training_file)
    assert wait_for_job(client, job.id, "succeeded").fine_tuned_model


def test_a_model_that_is_deleted_answers_no_more(client: openai.OpenAI) -> None:
    model = wait_for_job(
        client, start_job(client, method=method_with(n_epochs=1)).id, "succeeded"
    ).fine_tuned_model
    assert client.models.delete(model).deleted
    with pytest.raises(openai.NotFoundError):
        ask_model(client, model, "x")


def test_many_readers_see_no_error_while_a_job_trains(
    client: openai.OpenAI, local_server: LocalServer
) -> None:
    import concurrent.futures

    job = start_job(client, method=method_with(n_epochs=10))

    def read(_: int) -> int:
        mine = local_server.client()
        for _ in range(40):
            mine.fine_tuning.jobs.retrieve(job.id)
            mine.fine_tuning.jobs.list_events(job.id)
        return 1

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(read, range(16))) == 16
    wait_for_job(client, job.id, "succeeded")
