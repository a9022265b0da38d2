"""Training through pauses, kills and deletions."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from support.local_server import LocalServer, event_messages, wait_for_job
from support.processes import wait_for_end, wait_for_worker, worker_processes
from support.training import (
    CITY_DATA,
    ask_model,
    method_with,
    start_job,
    steps,
    wait_for_step,
)

pytestmark = pytest.mark.training


EPOCHS = 20
"""Number of epochs, of two steps each, in which the smoke model memorizes CITY_DATA."""


def test_cancel_ends_training_within_5_seconds_and_frees_its_memory(
    client: openai.OpenAI, local_server: LocalServer
) -> None:
    job = start_job(client, method=method_with(n_epochs=50))
    wait_for_step(client, job.id, 3)
    (pid,) = worker_processes(local_server.folder, "train", job.id)
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "cancelled"


def test_a_paused_job_resumes_where_it_was_and_learns_as_much(
    client: openai.OpenAI, local_server: LocalServer
) -> None:
    job = start_job(client, method=method_with(n_epochs=EPOCHS), seed=3)
    wait_for_step(client, job.id, 5)
    assert client.fine_tuning.jobs.pause(job.id).status == "pausing"
    wait_for_job(client, job.id, "paused")
    assert not worker_processes(local_server.folder, "train", job.id)
    before = len(steps(client, job.id))
    time.sleep(0.5)
    assert len(steps(client, job.id)) == before
    client.fine_tuning.jobs.resume(job.id)
    finished = wait_for_job(client, job.id, "succeeded")
    assert steps(client, job.id) == [f"Step {n}/40" for n in range(1, 41)]
    assert ask_model(client, finished.fine_tuned_model, "Minsk") == "ksniM"


def test_a_training_process_that_is_killed_is_started_again_from_its_last_checkpoint(
    client: openai.OpenAI, local_server: LocalServer
) -> None:
    job = start_job(client, method=method_with(n_epochs=EPOCHS), seed=3)
    wait_for_step(client, job.id, 11)
    os.kill(worker_processes(local_server.folder, "train", job.id)[0], signal.SIGKILL)
    finished = wait_for_job(client, job.id, "succeeded")
    assert any("is restarted" in text for text in event_messages(client, job.id))
    assert steps(client, job.id) == [f"Step {n}/40" for n in range(1, 41)]
    assert ask_model(client, finished.fine_tuned_model, "Minsk") == "ksniM"


def test_a_checkpoint_that_was_saved_but_not_reported_is_reported_when_training_resumes(
    client: openai.OpenAI, local_server: LocalServer
) -> None:
    job = start_job(
        client, CITY_DATA, CITY_DATA, method=method_with(n_epochs=50, batch_size=12), seed=3
    )
    wait_for_step(client, job.id, 3)
    client.fine_tuning.jobs.pause(job.id)
    wait_for_job(client, job.id, "paused")
    lost = next(iter(client.fine_tuning.jobs.checkpoints.list(job.id)))
    assert lost.metrics.full_valid_loss
    with contextlib.closing(sqlite3.connect(local_server.folder / "service.db")) as store, store:
        store.execute(
            "DELETE FROM things WHERE id IN (?, ?)", (lost.id, lost.fine_tuned_model_checkpoint)
        )
    shutil.rmtree(local_server.folder / "jobs" / job.id / f"adapter-{lost.step_number}")
    assert lost.id not in str(list(client.fine_tuning.jobs.checkpoints.list(job.id)))
    client.fine_tuning.jobs.resume(job.id)
    wait_for_job(client, job.id, "running")
    client.fine_tuning.jobs.pause(job.id)
    wait_for_job(client, job.id, "paused")
    (checkpoint,) = (
        checkpoint
        for checkpoint in client.fine_tuning.jobs.checkpoints.list(job.id)
        if checkpoint.step_number == lost.step_number
    )
    assert checkpoint.to_dict() | {"created_at": 0} == lost.to_dict() | {"created_at": 0}
    assert isinstance(ask_model(client, checkpoint.fine_tuned_model_checkpoint, "Lima"), str)


@pytest.fixture(scope="module")
def killed_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[LocalServer, dict[str, str]]]:
    """A server that was killed and started again, and a job for each moment of the kill."""
    with LocalServer(tmp_path_factory.mktemp("killed") / "data", max_jobs=2) as server:
        client = server.client()

        def start(epochs: int) -> str:
            job = start_job(client, method=method_with(n_epochs=epochs), seed=3)
            return str(job.id)

        jobs = {"training": start(30)}
        wait_for_step(client, jobs["training"], 5)
        jobs["starting to train"] = start(5)
        wait_for_worker(server.folder, "train", jobs["starting to train"])
        jobs["validating"] = start(5)
        time.sleep(0.3)
        jobs["created"] = start(5)
        server.kill()
        for job in jobs.values():  # the training processes must end with their server
            wait_for_end(server.folder, "train", 10, job)
        yield server.start(), jobs


@pytest.mark.parametrize("moment", ["created", "validating", "starting to train", "training"])
def test_a_server_that_is_killed_goes_on_with_its_jobs(
    moment: str, killed_server: tuple[LocalServer, dict[str, str]]
) -> None:
    server, jobs = killed_server
    client = server.client()
    job = wait_for_job(client, jobs[moment], "succeeded")
    total = job.hyperparameters.n_epochs * 2
    assert steps(client, job.id) == [f"Step {n}/{total}" for n in range(1, total + 1)]
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id)
    assert [checkpoint.step_number for checkpoint in checkpoints] == [total, total - 2, total - 4]
    assert ask_model(client, job.fine_tuned_model, "Lima") is not None


def test_files_in_the_working_directory_are_not_taken_for_models_or_modules(
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
        "--map",
        "near=own/tiny",
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}  # does not look for own/tiny on the hub
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr
            client = openai.OpenAI(
                api_key="none",
                base_url=server.stderr.readline().split()[1],
                max_retries=0,
                timeout=60,
            )
            assert isinstance(ask_model(client, "near", "Oslo"), str)
            with pytest.raises(
                openai.APIStatusError, match="the base model own/tiny cannot be loaded"
            ):
                ask_model(client, "own/tiny", "Oslo")
            job = start_job(client, model="near", method=method_with(n_epochs=1))
            finished = wait_for_job(client, job.id, "succeeded")
            assert isinstance(ask_model(client, finished.fine_tuned_model, "Oslo"), str)
        finally:
            server.terminate()


def test_a_training_file_can_be_deleted_while_the_job_runs(
    client: openai.OpenAI, folder_job: Any
) -> None:
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(folder_job.training_file)
    assert folder_job.fine_tuned_model


def test_a_deleted_model_is_not_found(client: openai.OpenAI, seeded_jobs: list[Any]) -> None:
    model = seeded_jobs[-1].fine_tuned_model
    assert client.models.delete(model).deleted
    with pytest.raises(openai.NotFoundError):
        ask_model(client, model, "x")


def test_many_readers_see_no_error_while_a_job_trains(
    client: openai.OpenAI, local_server: LocalServer
) -> None:
    job = start_job(client, method=method_with(n_epochs=10))

    def read(_: int) -> int:
        own_client = local_server.client()
        for _ in range(40):
            own_client.fine_tuning.jobs.retrieve(job.id)
            own_client.fine_tuning.jobs.list_events(job.id)
        return 1

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(read, range(16))) == 16
    wait_for_job(client, job.id, "succeeded")
