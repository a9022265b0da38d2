"""Table of the requests of the client: method, path, response body, call and expected value."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from ftkit.client.client import Client
from support.mock_transport import EVENT, FILE, JOB, list_body

POINT = {
    "id": "c-1",
    "object": "fine_tuning.job.checkpoint",
    "step_number": 5,
    "fine_tuned_model_checkpoint": "ft:m:ckpt-step-5",
    "metrics": {"train_loss": 0.5},
}
MODEL = {
    "id": "ft:m",
    "object": "model",
    "created": 1,
    "owned_by": "me",
    "shutdown_date": "2027-01-14",
}
UPLOAD = {
    "id": "upload_1",
    "object": "upload",
    "status": "pending",
    "bytes": 3,
    "filename": "a.jsonl",
    "purpose": "fine-tune",
}


Ask = Callable[[Client], Any]

REQUESTS: dict[str, tuple[str, str, dict[str, Any], Ask, Any]] = {
    "create": (
        "POST",
        "/fine_tuning/jobs",
        JOB,
        lambda it: it.create({"model": "m", "training_file": "file-1", "seed": 1}).id,
        "ftjob-1",
    ),
    "list": (
        "GET",
        "/fine_tuning/jobs",
        list_body(JOB),
        lambda it: [job.id for job in it.jobs()],
        ["ftjob-1"],
    ),
    "retrieve": (
        "GET",
        "/fine_tuning/jobs/ftjob-1",
        JOB,
        lambda it: it.job("ftjob-1").status,
        "running",
    ),
    "cancel": (
        "POST",
        "/fine_tuning/jobs/ftjob-1/cancel",
        JOB,
        lambda it: it.act("ftjob-1", "cancel").id,
        "ftjob-1",
    ),
    "pause": (
        "POST",
        "/fine_tuning/jobs/ftjob-1/pause",
        JOB,
        lambda it: it.act("ftjob-1", "pause").id,
        "ftjob-1",
    ),
    "resume": (
        "POST",
        "/fine_tuning/jobs/ftjob-1/resume",
        JOB,
        lambda it: it.act("ftjob-1", "resume").id,
        "ftjob-1",
    ),
    "events": (
        "GET",
        "/fine_tuning/jobs/ftjob-1/events",
        list_body(EVENT),
        lambda it: [event.message for event in it.events("ftjob-1")],
        ["Step 1"],
    ),
    "checkpoints": (
        "GET",
        "/fine_tuning/jobs/ftjob-1/checkpoints",
        list_body(POINT),
        lambda it: [checkpoint.step for checkpoint in it.checkpoints("ftjob-1")],
        [5],
    ),
    "file list": (
        "GET",
        "/files",
        list_body(FILE),
        lambda it: [file.id for file in it.files("fine-tune")],
        ["file-1"],
    ),
    "file": ("GET", "/files/file-1", FILE, lambda it: it.file("file-1").name, "a.jsonl"),
    "file upload": (
        "POST",
        "/files",
        FILE,
        lambda it: it.upload("a.jsonl", io.BytesIO(b"{}\n")).id,
        "file-1",
    ),
    "file content": (
        "GET",
        "/files/file-1/content",
        {"step": 1},
        lambda it: json.loads(it.content("file-1")),
        {"step": 1},
    ),
    "file deletion": (
        "DELETE",
        "/files/file-1",
        {"id": "file-1", "deleted": True},
        lambda it: it.delete_file("file-1"),
        None,
    ),
    "upload": ("POST", "/uploads", UPLOAD, lambda it: it.create_upload("a.jsonl", 3), "upload_1"),
    "part": (
        "POST",
        "/uploads/upload_1/parts",
        {"id": "part_1", "upload_id": "upload_1"},
        lambda it: it.upload_part("upload_1", b"abc"),
        "part_1",
    ),
    "completion": (
        "POST",
        "/uploads/upload_1/complete",
        {**UPLOAD, "file": FILE},
        lambda it: it.complete_upload("upload_1", ["part_1"]).id,
        "file-1",
    ),
    "model list": (
        "GET",
        "/models",
        list_body(MODEL),
        lambda it: [model.shutdown_date for model in it.models()],
        ["2027-01-14"],
    ),
    "model": ("GET", "/models/ft:m", MODEL, lambda it: it.model("ft:m").owner, "me"),
    "shutdown date": (
        "GET",
        "/models/ft:m",
        MODEL,
        lambda it: it.shutdown_date("ft:m"),
        "2027-01-14",
    ),
    "model deletion": (
        "DELETE",
        "/models/ft:m",
        {"id": "ft:m", "deleted": True},
        lambda it: it.delete_model("ft:m"),
        None,
    ),
}
