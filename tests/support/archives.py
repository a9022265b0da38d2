"""A fake account with finished jobs, and archives of it."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

from ftkit.archive.manifest import Manifest, read_manifest
from ftkit.archive.sync import Selection, SyncResult, sync
from ftkit.archive.verify import verify
from support.connections import connect_to
from support.examples import chat_lines
from support.fake_provider import FakeProvider, base64_content
from support.models import MINI

NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC)
FIRST_CREATED = 1_760_000_000
"""When the first job was created: 2025-10-09."""

RESULTS = b"step,train_loss,valid_loss\n" + b"".join(
    b"%d,%.3f,%.3f\n" % (step, 3 / step, 3.3 / step) for step in range(1, 31)
)


def save_archive(
    url: str, folder: Path, selection: Selection | None = None, **more: Any
) -> SyncResult:
    return sync(connect_to(url), folder, selection, now=NOW, sleep=lambda seconds: None, **more)


def add_job(fake_provider: FakeProvider, number: int = 0, **more: Any) -> dict[str, Any]:
    """A job that succeeded, with all that belongs to one."""
    training = fake_provider.add_file("train.jsonl", b"\n".join(chat_lines(12)) + b"\n%d" % number)
    job = fake_provider.add_job({"model": MINI, "training_file": training["id"]})
    results = fake_provider.add_file(
        "results.csv", base64_content(RESULTS) if number % 2 else RESULTS, "fine-tune-results"
    )
    job |= {
        "status": "succeeded",
        "fine_tuned_model": f"ft:{MINI}:me::{number}",
        "trained_tokens": 1_000_000,
        "created_at": FIRST_CREATED + 86400 * number,
        "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8},
        "result_files": [results["id"]],
        "finished_at": FIRST_CREATED + 86400 * number + 600,
        "metadata": {"team": "é|<b>"},
        **more,
    }
    fake_provider.events[job["id"]][0]["created_at"] = FIRST_CREATED
    for step in range(1, 4):
        fake_provider.add_event(
            job["id"], f"Step {step}", created_at=FIRST_CREATED + step, data={"step": step}
        )
    fake_provider.checkpoints[job["id"]] = [
        {
            "id": f"ftckpt-{number}-{step}",
            "object": "fine_tuning.job.checkpoint",
            "created_at": FIRST_CREATED + step,
            "step_number": step,
            "fine_tuned_model_checkpoint": f"ft:x:ckpt-step-{step}",
            "metrics": {"step": step, "train_loss": 1 / step},
        }
        for step in (3, 2, 1)
    ]
    if job["fine_tuned_model"]:
        fake_provider.models[job["fine_tuned_model"]] = {
            "id": job["fine_tuned_model"],
            "object": "model",
            "created": 1,
            "owned_by": "me",
            "shutdown_date": "2027-01-14",
        }
    return job


def stored_content(fake_provider: FakeProvider, id: str) -> bytes:
    return fake_provider.contents[id]


def manifest_without_date(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    manifest.date = ""
    return manifest


def assert_hashes(folder: Path) -> None:
    """Every file of the folder is in the manifest, with its hash and size."""
    named = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    there = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    } - {"manifest.json", ".lock"}
    assert set(named) == there
    for path, entry in named.items():
        data = (folder / path).read_bytes()
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    assert verify(folder).ok
