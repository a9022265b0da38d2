"""The objects of the protocol, as OpenAI's API shows them."""

from __future__ import annotations

import secrets
import string
import time
from typing import Any

ALPHABET = string.ascii_letters + string.digits


def new_id(prefix: str, length: int = 24) -> str:
    """An id that nobody can guess."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(length))


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


def file_object(id: str, name: str, size: int, purpose: str) -> dict[str, Any]:
    return {
        "id": id,
        "object": "file",
        "bytes": size,
        "created_at": now(),
        "filename": name,
        "purpose": purpose,
        "status": "processed",
        "expires_at": None,
        "status_details": None,
    }


def upload_object(id: str, name: str, size: int, purpose: str, life: int) -> dict[str, Any]:
    return {
        "id": id,
        "object": "upload",
        "bytes": size,
        "created_at": now(),
        "filename": name,
        "purpose": purpose,
        "status": "pending",
        "expires_at": now() + life,
        "file": None,
    }


def part_object(id: str, upload: str) -> dict[str, Any]:
    return {"id": id, "object": "upload.part", "created_at": now(), "upload_id": upload}


def job_object(id: str, body: Any, seed: int) -> dict[str, Any]:
    """A job as it begins, made of a `JobBody`."""
    wanted = body.wanted
    hyperparameters = {
        "n_epochs": wanted.n_epochs,
        "batch_size": wanted.batch_size,
        "learning_rate_multiplier": wanted.learning_rate_multiplier,
    }
    if body.type == "dpo":
        hyperparameters["beta"] = wanted.beta or "auto"
    return {
        "object": "fine_tuning.job",
        "id": id,
        "model": body.model,
        "created_at": now(),
        "finished_at": None,
        "fine_tuned_model": None,
        "organization_id": "org-local",
        "result_files": [],
        "status": "validating_files",
        "validation_file": body.validation_file,
        "training_file": body.training_file,
        "hyperparameters": hyperparameters,
        "trained_tokens": None,
        "error": None,
        "user_provided_suffix": body.suffix,
        "seed": seed,
        "estimated_finish": None,
        "integrations": [],
        "metadata": body.metadata,
        "method": {"type": body.type, body.type: {"hyperparameters": hyperparameters}},
    }


def event_object(
    id: str, message: str, level: str = "info", data: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "object": "fine_tuning.job.event",
        "id": id,
        "created_at": now(),
        "level": level,
        "message": message,
        "type": "metrics" if data else "message",
        "data": data or {},
    }


def checkpoint_object(
    id: str, job: str, model: str, step: int, metrics: dict[str, Any]
) -> dict[str, Any]:
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": id,
        "created_at": now(),
        "fine_tuning_job_id": job,
        "fine_tuned_model_checkpoint": model,
        "step_number": step,
        "metrics": metrics,
    }


def model_object(id: str, owner: str, created: int | None = None) -> dict[str, Any]:
    return {
        "id": id,
        "object": "model",
        "created": now() if created is None else created,
        "owned_by": owner,
        "shutdown_date": None,
    }


def deleted_object(id: str, kind: str) -> dict[str, Any]:
    return {"id": id, "object": kind, "deleted": True}
