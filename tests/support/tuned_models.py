"""Fine-tuned models that were never trained: their rows in the database, and empty folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.lifecycle import add_checkpoint, add_model, tuned_name
from ftkit.server.objects import JobHyperparameters, JobMethod, JobObject
from support.models import SMOKE


def new_job(tenant: str, **more: Any) -> JobObject:
    """A job on the smoke model that has succeeded."""
    hyperparameters = JobHyperparameters(n_epochs=1, batch_size=1, learning_rate_multiplier=1.0)
    values = {
        "model": SMOKE,
        "base": SMOKE,
        "status": "succeeded",
        "training_file": "file-1",
        "validation_file": None,
        "user_provided_suffix": "a:b",
        "seed": 1,
        "metadata": None,
        "names": {},
        "hashes": {},
        **more,
    }
    method = JobMethod.of("supervised", hyperparameters)
    return JobObject(tenant=tenant, hyperparameters=hyperparameters, method=method, **values)


def add_tuned_model(folder: Path, tenant: str, **more: Any) -> tuple[str, str]:
    """Add a job that has succeeded. Return its model, of step 4, and its checkpoint of step 2."""
    store, data = Database(folder / "service.db"), Folder(folder)
    job = new_job(tenant, **more)
    job.fine_tuned_model = tuned_name(job)
    for step in (2, 4):
        data.adapter(job.id, step).mkdir(parents=True)
    with store.transaction():
        store.add(job)
        add_checkpoint(store, job, 2, {}, 3)
        add_model(store, job, job.fine_tuned_model, 4)
    store.close()
    return job.fine_tuned_model, tuned_name(job, 2)
