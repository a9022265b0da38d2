"""A database of the local service that an earlier version has written is read and changed."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ftkit.server.database import Database, PageQuery
from ftkit.server.lifecycle import tuned_name
from ftkit.server.objects import (
    CheckpointObject,
    EventObject,
    FileObject,
    JobObject,
    ModelObject,
    PartObject,
    StoredObject,
    UploadObject,
)

SCHEMA = """
CREATE TABLE things (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, tenant TEXT NOT NULL, parent TEXT NOT NULL,
    shown TEXT NOT NULL, kept TEXT NOT NULL, status TEXT GENERATED ALWAYS AS (json_extract(shown, '$.status')) VIRTUAL,
    UNIQUE (kind, id)
);
CREATE INDEX things_in_order ON things (kind, tenant, parent, seq);
CREATE INDEX things_by_status ON things (kind, status);
"""

FILE: dict[str, Any] = {
    "id": "file-a",
    "object": "file",
    "bytes": 3,
    "created_at": 1795281507,
    "filename": "\u00fcn\u00ef\U0001f4a9.jsonl",
    "purpose": "fine-tune",
    "status": "processed",
    "expires_at": None,
    "status_details": None,
}
CHOSEN = {"n_epochs": 3, "batch_size": 2, "learning_rate_multiplier": 2.0, "beta": 0.5}
AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
JOB: dict[str, Any] = {
    "object": "fine_tuning.job",
    "id": "ftjob-YMjiykAsmlQF",
    "model": "gpt-3.5-turbo",
    "created_at": 1795281507,
    "finished_at": 1795281600,
    "fine_tuned_model": "ft:gpt-3.5-turbo:mine:YMjiykAs",
    "organization_id": "org-local",
    "result_files": ["file-x"],
    "status": "succeeded",
    "validation_file": "file-b",
    "training_file": "file-a",
    "hyperparameters": CHOSEN,
    "trained_tokens": 5,
    "error": None,
    "user_provided_suffix": "mine",
    "seed": 7,
    "estimated_finish": None,
    "integrations": [],
    "metadata": {"a.b": "\u00e9"},
    "method": {"type": "dpo", "dpo": {"hyperparameters": CHOSEN}},
}
NEW_JOB = JOB | {
    "id": "ftjob-ZisWASgQTFs5",
    "finished_at": None,
    "fine_tuned_model": None,
    "result_files": [],
    "status": "validating_files",
    "validation_file": None,
    "hyperparameters": AUTO,
    "trained_tokens": None,
    "user_provided_suffix": None,
    "metadata": None,
    "method": {"type": "supervised", "supervised": {"hyperparameters": AUTO}},
}
FAILED_JOB = NEW_JOB | {
    "id": "ftjob-mPGSLXggKulz",
    "status": "failed",
    "error": {"code": "invalid_training_file", "message": "bad", "param": "training_file"},
}
KEPT = {
    "base": "ftkit/smoke",
    "from_job": "",
    "from_step": 0,
    "attempts": 0,
    "files": {"training": "ca3d"},
    "names": {"training": "a.jsonl"},
}
UPLOAD: dict[str, Any] = {
    "id": "upload_a",
    "object": "upload",
    "bytes": 2,
    "created_at": 1795281507,
    "filename": "a.jsonl",
    "purpose": "fine-tune",
    "status": "completed",
    "expires_at": 1795285107,
    "file": FILE,
}
EVENT = {
    "object": "fine_tuning.job.event",
    "id": "ftevent-a",
    "created_at": 1795281507,
    "level": "info",
    "message": "Step 1/2: training loss=1.00",
    "type": "metrics",
    "data": {"step": 1, "total_steps": 2, "train_loss": 1.0},
}
CHECKPOINT = {
    "object": "fine_tuning.job.checkpoint",
    "id": "ftckpt_a",
    "created_at": 1795281507,
    "fine_tuning_job_id": JOB["id"],
    "fine_tuned_model_checkpoint": "ft:gpt-3.5-turbo:mine:YMjiykAs:ckpt-step-2",
    "step_number": 2,
    "metrics": {"step": 2, "train_loss": 1.0},
}
MODEL = {
    "id": "ft:gpt-3.5-turbo:mine:YMjiykAs",
    "object": "model",
    "created": 1795281507,
    "owned_by": "org-local",
    "shutdown_date": None,
}
PART = {
    "id": "part_a",
    "object": "upload.part",
    "created_at": 1795281507,
    "upload_id": "upload_b",
}
VALIDATED = {"valid": True, "format": "preference", "examples": 12}

ROWS: list[tuple[type[StoredObject], str, dict[str, Any], dict[str, Any]]] = [
    (FileObject, "", FILE, {"sha256": "ca3d"}),
    (UploadObject, "", UPLOAD, {}),
    (UploadObject, "", UPLOAD | {"id": "upload_b", "status": "pending", "file": None}, {}),
    (PartObject, "upload_b", PART, {"size": 1}),
    (JobObject, "", JOB, KEPT | VALIDATED),
    (JobObject, "", NEW_JOB, KEPT),
    (JobObject, "", FAILED_JOB, KEPT),
    (EventObject, JOB["id"], EVENT, {}),
    (CheckpointObject, JOB["id"], CHECKPOINT, {}),
    (ModelObject, "", MODEL, {"base": "ftkit/smoke", "job": JOB["id"], "step": 2}),
]
"""Type, parent and documents of every kind of object, as version 0.1.0 wrote them."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "service.db"
    connection = sqlite3.connect(path)
    connection.executescript(SCHEMA)
    connection.executemany(
        "INSERT INTO things (kind, id, tenant, parent, shown, kept) VALUES (?, ?, 't', ?, ?, ?)",
        [
            (type.kind, shown["id"], parent, json.dumps(shown), json.dumps(stored))
            for type, parent, shown, stored in ROWS
        ],
    )
    connection.commit()
    connection.close()
    return path


@pytest.mark.parametrize(("type", "parent", "shown", "stored"), ROWS)
def test_every_object_is_read_and_written_as_it_was(
    type: type[StoredObject],
    parent: str,
    shown: dict[str, Any],
    stored: dict[str, Any],
    path: Path,
) -> None:
    database = Database(path)
    value = database.get(type, shown["id"], "t")
    assert value
    assert (value.tenant, value.parent) == ("t", parent)
    database.change(type, shown["id"], lambda value: None)
    rewritten = database.encoded(type, shown["id"], "t")
    without_null = {
        name: value
        for name, value in shown.items()
        if value is not None or name not in type.omitted
    }
    assert rewritten == json.dumps(without_null).encode()
    public, internal = value.documents()
    assert public == without_null
    assert internal.items() >= stored.items()
    assert database.get(type, shown["id"], "another") is None
    database.close()


def test_the_fields_of_a_job_are_typed(path: Path) -> None:
    database = Database(path)
    job = database.require(JobObject, JOB["id"], "t")
    assert job.hyperparameters.beta == 0.5
    assert (job.hashes, job.valid, job.examples) == ({"training": "ca3d"}, True, 12)
    assert tuned_name(job) == job.fine_tuned_model == MODEL["id"]
    new = database.require(JobObject, NEW_JOB["id"], "t")
    assert (new.valid, new.format, new.hyperparameters.n_epochs) == (False, "", "auto")
    failed = database.require(JobObject, FAILED_JOB["id"], "t")
    assert failed.error
    assert failed.error.code == "invalid_training_file"
    database.close()


def test_jobs_are_selected_by_status_and_metadata(path: Path) -> None:
    database = Database(path)
    assert [job.id for job in database.matching(JobObject, "failed")] == [FAILED_JOB["id"]]
    query = PageQuery(equal={'$.metadata."a.b"': "\u00e9"})
    (row,), has_more = database.page(JobObject, "t", query)
    assert (json.loads(row), has_more) == (JOB, False)
    assert database.exists(FileObject, sha256="ca3d")
    assert database.exists(ModelObject, job=JOB["id"], step=2)
    assert not database.exists(ModelObject, job=JOB["id"], step=3)
    database.close()
