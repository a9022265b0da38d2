"""Checkpoints of a job: the states that it resumes from, and those that are models."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest

from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.lifecycle import tuned_name
from ftkit.server.objects import CheckpointObject, JobObject, ModelObject
from support.local_server import LocalServer, wait_for_job
from support.processes import worker_processes
from support.server_requests import create_job
from support.training import CITIES, CITY_DATA, city_example, encode_jsonl, method_with, start_job

pytestmark = pytest.mark.training


def test_a_job_keeps_as_many_checkpoints_as_its_recipe_says(tmp_path: Path) -> None:
    from ftkit.server.database_reports import DatabaseReports
    from ftkit.server.reports import JobStart
    from ftkit.server.training.reporting import JobReporter

    folder = Folder(tmp_path)
    store = Database(folder.database)
    job = store.get(JobObject, create_job(store))
    assert job
    store.change(JobObject, job.id, lambda job: setattr(job, "recipe", {"save_total_limit": 1}))
    reporter = JobReporter(DatabaseReports(store, folder, job.id), JobStart(job))
    for step in (3, 6):
        checkpoint = folder.job(job.id) / "checkpoints" / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "adapter_model.safetensors").write_bytes(b"")
        (checkpoint / "adapter_config.json").write_text("{}")
        reporter.on_save(None, SimpleNamespace(global_step=step, epoch=step / 3), None)
    assert [item.step_number for item in store.children(CheckpointObject, job.id)] == [6]
    assert [item.id for item in store.all(ModelObject)] == [tuned_name(job, 6)]
    assert [path.name for path in folder.job(job.id).glob("adapter-*")] == ["adapter-6"]


@pytest.mark.parametrize("steps", [1, 9, 10, 11, 19, 25, 1000])
def test_at_most_a_tenth_of_the_steps_lies_between_two_saves(steps: int) -> None:
    from ftkit.server.training.schedule import SaveSchedule

    schedule, control, saved = SaveSchedule(threading.Event()), SimpleNamespace(), [0]
    for step in range(1, steps):
        state = SimpleNamespace(global_step=step, max_steps=steps, epoch=step / steps)
        schedule.on_step_end(None, state, control)
        if control.should_save:
            saved.append(step)
    gaps = [after - before for before, after in pairwise([*saved, steps])]
    assert max(gaps) <= max(1, steps / 10)


def losses(client: openai.OpenAI, job: str) -> dict[int, float]:
    """Return the training loss of each step that a job has reported."""
    events: list[Any] = client.fine_tuning.jobs.list_events(job, limit=100).data
    return {
        event.data["step"]: event.data["train_loss"]
        for event in events
        if "train_loss" in (event.data or {})
    }


def saved_steps(server: LocalServer, job: str) -> list[int]:
    """Return the steps of the complete states that a job can resume from."""
    states = (server.folder / "jobs" / job / "checkpoints").glob("*/trainer_state.json")
    return sorted(int(path.parent.name.rpartition("-")[2]) for path in states)


def start_long_epoch(client: openai.OpenAI) -> str:
    """Start a job of one epoch with 20 steps, with dropout and gradient accumulation."""
    names = [f"{city} {number}" for number in range(7) for city in CITIES][:80]
    content = encode_jsonl([city_example(name, name[::-1]) for name in names])
    method = method_with(n_epochs=1)
    job = start_job(client, content, CITY_DATA, model="tiny", method=method, seed=4)
    return str(job.id)


@pytest.fixture(scope="module")
def server(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("interrupted") / "data"
    with LocalServer(folder, {"tiny": str(base_model)}) as server:
        yield server


@pytest.fixture(scope="module")
def uninterrupted_losses(server: LocalServer) -> dict[int, float]:
    client = server.client()
    job = start_long_epoch(client)
    wait_for_job(client, job, "succeeded")
    return losses(client, job)


@pytest.mark.parametrize("interruption", ["kill", "kill the server", "pause"])
def test_a_job_that_is_interrupted_in_mid_epoch_loses_a_tenth_at_most_and_goes_on_exactly(
    interruption: str, server: LocalServer, uninterrupted_losses: dict[int, float]
) -> None:
    client = server.client()
    job = start_long_epoch(client)
    while max(losses(client, job), default=0) < 7:
        time.sleep(0.02)
    reached = max(losses(client, job))
    if interruption == "pause":
        client.fine_tuning.jobs.pause(job)
        wait_for_job(client, job, "paused")
    elif interruption == "kill":
        os.kill(worker_processes(server.folder, "train", job)[0], signal.SIGKILL)
    else:
        server.kill()
    assert reached - 2 <= max(saved_steps(server, job)) < 20
    if interruption == "pause":
        client.fine_tuning.jobs.resume(job)
    elif interruption == "kill the server":
        client = server.start().client()
    wait_for_job(client, job, "succeeded")
    assert losses(client, job) == uninterrupted_losses
    assert len(uninterrupted_losses) == 20
