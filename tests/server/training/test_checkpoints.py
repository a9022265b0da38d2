"""Checkpoints of a job: the states that it resumes from, and those that are models."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.lifecycle import tuned_name
from ftkit.server.objects import CheckpointObject, JobObject, ModelObject
from support.models import SMOKE
from support.server_requests import create_job

pytestmark = pytest.mark.training


def test_a_job_keeps_as_many_checkpoints_as_its_recipe_says(tmp_path: Path) -> None:
    from ftkit.server.training.reporting import JobReporter

    folder = Folder(tmp_path)
    store = Database(folder.database)
    job = store.get(JobObject, create_job(store))
    assert job
    reporter = JobReporter(store, folder, job, threading.Event(), save_total_limit=1)
    for step in (3, 6):
        checkpoint = folder.job(job.id) / "checkpoints" / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "adapter_model.safetensors").write_bytes(b"")
        (checkpoint / "adapter_config.json").write_text("{}")
        reporter.on_save(None, SimpleNamespace(global_step=step, epoch=step / 3), None)
    assert [item.step_number for item in store.children(CheckpointObject, job.id)] == [6]
    assert [item.id for item in store.all(ModelObject)] == [tuned_name(job, 6)]
    assert [path.name for path in folder.job(job.id).glob("adapter-*")] == ["adapter-6"]


def test_a_recipe_keeps_at_least_one_checkpoint() -> None:
    from ftkit.server.training.recipes import Recipe, find_recipe

    fields = msgspec.to_builtins(find_recipe(SMOKE))
    assert fields["save_total_limit"] == 3
    with pytest.raises(msgspec.ValidationError, match="save_total_limit"):
        msgspec.convert({**fields, "save_total_limit": 0}, Recipe)
