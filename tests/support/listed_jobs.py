"""Jobs with events in the database of a service, without training."""

from __future__ import annotations

import json
import math
from typing import Any

from ftkit.server.database import Database
from ftkit.server.objects import (
    FINAL,
    EventObject,
    JobHyperparameters,
    JobMethod,
    JobObject,
    new_id,
    now,
)
from support.models import SMOKE

EPOCHS = 3


def store_job(database: Database, **changes: Any) -> JobObject:
    """Store a job of the local tenant, which succeeded."""
    hyperparameters = JobHyperparameters(
        n_epochs=EPOCHS, batch_size=4, learning_rate_multiplier=1.0
    )
    fields: dict[str, Any] = {
        "tenant": "local",
        "model": SMOKE,
        "status": "succeeded",
        "training_file": new_id("file-"),
        "validation_file": None,
        "hyperparameters": hyperparameters,
        "user_provided_suffix": None,
        "seed": 1,
        "metadata": {},
        "method": JobMethod.of("supervised", hyperparameters),
        "base": SMOKE,
        "hashes": {"training": "0" * 64},
        "names": {"training": "data.jsonl"},
        **changes,
    }
    if fields["status"] in FINAL:
        fields.setdefault("finished_at", fields.get("created_at", now()) + 90)
    job = JobObject(**fields)
    with database.transaction():
        database.add(job)
    return job


def store_losses(
    database: Database, job: JobObject, steps: int, total: int, scale: float = 2.0
) -> None:
    """Store an event for each step of a job, and a validation at each tenth if it has a file for it."""
    with database.transaction():
        for step in range(1, steps + 1):
            loss = scale * math.exp(-3 * step / total) + 0.1
            _store(database, job, step, total, "train_loss", loss)
            if job.validation_file and step % 10 == 0:
                _store(database, job, step, total, "valid_loss", loss + 0.2)


def copy_events(database: Database, source: JobObject, *jobs: JobObject) -> None:
    """Copy the events of a job to others, in turns, as of jobs that run at the same time."""
    statement = """
INSERT INTO things (kind, id, tenant, parent, shown, kept)
SELECT events.kind, events.id || jobs.id, events.tenant, jobs.id, events.shown, events.kept
FROM things AS events JOIN things AS jobs
WHERE events.parent = ? AND jobs.kind = 'job' AND jobs.id IN (SELECT value FROM json_each(?))
ORDER BY events.seq, jobs.seq"""
    with database.transaction() as connection:
        connection.execute(statement, (source.id, json.dumps([job.id for job in jobs])))


def _store(
    database: Database, job: JobObject, step: int, total: int, name: str, loss: float
) -> None:
    event = EventObject(
        id=new_id("ftevent-"),
        tenant=job.tenant,
        parent=job.id,
        message=f"Step {step}/{total}: {name}={loss:.2f}",
        type="metrics",
        data={"step": step, "total_steps": total, name: loss},
    )
    database.add(event)
