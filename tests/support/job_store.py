"""Jobs in the database of a local server as training leaves them, without the training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ftkit.server import lifecycle
from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.lifecycle import tuned_name
from ftkit.server.objects import (
    EventObject,
    FileObject,
    JobHyperparameters,
    JobMethod,
    JobObject,
    new_id,
)
from support.models import SMOKE

CREATED = 1_780_000_000
"""Unix time at which the jobs are created."""


class JobStore:
    """The database and the folder of a server, which may run, to put jobs into.

    Use it in a `with` block, which closes the database.
    """

    def __init__(self, root: Path, tenant: str = "local") -> None:
        self.folder = Folder(root)
        self.database = Database(self.folder.database)
        self.tenant = tenant

    def __enter__(self) -> JobStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def add_file(self, content: bytes, name: str = "marv.jsonl") -> FileObject:
        """Add a file for training."""
        blob = self.folder.keep_bytes(content)
        file = FileObject(
            tenant=self.tenant,
            bytes=blob.size,
            filename=name,
            purpose="fine-tune",
            sha256=blob.sha256,
        )
        self.database.add(file)
        return file

    def add_job(self, *, status: Any = "succeeded", method: str = "supervised", **more: Any) -> str:
        """Add a job with a training file, and return its id."""
        file = self.add_file(b"{}\n")
        requested = JobHyperparameters(
            n_epochs="auto", batch_size="auto", learning_rate_multiplier=2.0
        )
        resolved = JobHyperparameters(n_epochs=4, batch_size=2, learning_rate_multiplier=2.0)
        if method == "dpo":
            requested.beta, resolved.beta = "auto", 0.1
        fields: dict[str, Any] = {
            "created_at": CREATED,
            "model": SMOKE,
            "base": SMOKE,
            "training_file": file.id,
            "validation_file": None,
            "user_provided_suffix": "marv",
            "seed": 7,
            "metadata": None,
            "hyperparameters": resolved,
            "method": JobMethod.of(method, resolved),
            "requested": {
                name: getattr(requested, name)
                for name in ("n_epochs", "batch_size", "learning_rate_multiplier")
            },
            "hashes": {"training": file.sha256},
            "names": {"training": file.filename},
            "valid": True,
            "format": "chat" if method == "supervised" else "preference",
            "examples": 20,
            "finished_at": CREATED + 180
            if status in ("succeeded", "failed", "cancelled")
            else None,
        }
        job = JobObject(tenant=self.tenant, status=status, **{**fields, **more})
        self.database.add(job)
        return job.id

    def add_steps(self, id: str, first: int, last: int, total: int, **names: float) -> None:
        """Add the metrics of steps, with a validation at every tenth step.

        Args:
            id: Id of the job.
            first: First step.
            last: Last step.
            total: Number of steps of the training.
            **names: Offsets of more metrics, by their names without "train_" and "valid_".
        """
        with self.database.transaction():
            for step in range(first, last + 1):
                loss = 0.4 + 2.1 * math.exp(-4 * step / total) + 0.08 * math.sin(1.7 * step)
                more = {f"train_{name}": offset + loss for name, offset in names.items()}
                self.add_metrics(id, step, total, train_loss=loss, **more)
                if step % 10 == 0:
                    more = {f"valid_{name}": offset + loss for name, offset in names.items()}
                    self.add_metrics(id, step, total, valid_loss=loss + 0.15, **more)

    def add_metrics(self, id: str, step: int, total: int, **metrics: float) -> None:
        """Add an event with metrics."""
        name, value = next(iter(metrics.items()))
        kind = "training" if name.startswith("train") else "validation"
        self.database.add(
            EventObject(
                id=new_id("ftevent-"),
                tenant=self.tenant,
                parent=id,
                created_at=CREATED + step,
                message=f"Step {step}/{total}: {kind} loss={value:.2f}",
                type="metrics",
                data={"step": step, "total_steps": total, **metrics},
            )
        )

    def add_message(self, id: str, message: str, level: str = "info", key: str = "") -> None:
        """Add an event with a message."""
        lifecycle.add_event(self.database, id, self.tenant, message, level, key=key)

    def add_model(self, id: str, step: int, is_last: bool = True, **metrics: float) -> str:
        """Add an adapter with its checkpoint, and the model of the job if it is the last one."""
        job = self.database.get(JobObject, id)
        assert job
        adapter = self.folder.adapter(id, step)
        adapter.mkdir(parents=True)
        config = {"base_model_name_or_path": job.base, "r": 8}
        (adapter / "adapter_config.json").write_text(json.dumps(config))
        (adapter / "adapter_model.safetensors").write_bytes(b"weights of " + str(step).encode())
        lifecycle.add_checkpoint(self.database, job, step, metrics, 100)
        if not is_last:
            return tuned_name(job, step)
        name = tuned_name(job)
        lifecycle.add_model(self.database, job, name, step)
        self.database.change(JobObject, id, lambda job: setattr(job, "fine_tuned_model", name))
        return name

    def write_log(self, id: str, text: str) -> Path:
        """Write the log of a job."""
        path = self.folder.log(id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path
