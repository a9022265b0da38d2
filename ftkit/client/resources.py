"""What services hold, as values: jobs, events, checkpoints, files, models. `raw` is what the service sent, and loses nothing.

Services do not keep to the documented types. A field that is of another type than it should be counts as one that was not sent.
"""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct

FINAL = ("succeeded", "failed", "cancelled", "canceled")
"""The statuses that a job stays in. Services have others beyond those documented; a job in any other goes on."""

STATUSES = ("validating_files", "queued", "pending", "running", "pausing", "paused", *FINAL)
"""The statuses of jobs at the services that ftkit knows."""


class Job(Struct, frozen=True):
    """A fine-tuning job. Times are seconds since 1970; fields that the service did not send are empty."""

    id: str
    status: str
    model: str
    created_at: int
    finished_at: int | None
    fine_tuned_model: str
    training_file: str
    validation_file: str
    trained_tokens: int | None
    estimated_finish: int | None
    error: str
    error_code: str
    result_files: tuple[str, ...]
    metadata: dict[str, str]
    raw: dict[str, Any]

    @property
    def is_over(self) -> bool:
        """Whether the job will not change any more."""
        return self.status in FINAL

    @property
    def method(self) -> str:
        """How it is trained: `supervised`, `dpo`, `reinforcement`, or what the service calls it."""
        method = self.raw.get("method")
        return str(method.get("type") or "supervised") if isinstance(method, dict) else "supervised"

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The hyperparameters, wherever the service puts them; a value goes before `auto`."""
        method = self.raw.get("method")
        method = method if isinstance(method, dict) else {}
        own = method.get(str(method.get("type")))
        found: dict[str, Any] = {}
        for place in (self.raw, method, own if isinstance(own, dict) else {}):
            given = place.get("hyperparameters")
            for name, value in given.items() if isinstance(given, dict) else ():
                if value is not None and (value != "auto" or name not in found):
                    found[name] = value
        return found

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Job:
        """The job that the service sent; its error counts only where it has a code or a message."""
        given = raw.get("error")
        error = {"message": given} if isinstance(given, str) else _object(given)
        return cls(
            id=str(raw.get("id") or ""),
            status=str(raw.get("status") or "unknown"),
            model=str(raw.get("model") or ""),
            created_at=_whole(raw.get("created_at")) or 0,
            finished_at=_whole(raw.get("finished_at")),
            fine_tuned_model=str(raw.get("fine_tuned_model") or ""),
            training_file=str(raw.get("training_file") or ""),
            validation_file=str(raw.get("validation_file") or ""),
            trained_tokens=_whole(raw.get("trained_tokens")),
            estimated_finish=_whole(raw.get("estimated_finish")),
            error=str(error.get("message") or ""),
            error_code=str(error.get("code") or ""),
            result_files=_ids(raw.get("result_files")),
            metadata={key: _text(value) for key, value in _object(raw.get("metadata")).items()},
            raw=raw,
        )


class Event(Struct, frozen=True):
    """Something that happened to a job; `data` holds the step and the losses of an event of type `metrics`."""

    id: str
    created_at: int
    level: str
    message: str
    type: str
    data: dict[str, Any]
    raw: dict[str, Any]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Event:
        """The event that the service sent."""
        return cls(
            id=str(raw.get("id") or ""),
            created_at=_whole(raw.get("created_at")) or 0,
            level=str(raw.get("level") or "info"),
            message=str(raw.get("message") or ""),
            type=str(raw.get("type") or "message"),
            data=_object(raw.get("data")),
            raw=raw,
        )


class Checkpoint(Struct, frozen=True):
    """A state of the model during training, usable as a model; `metrics` are its losses and accuracies by name."""

    id: str
    model: str
    step: int
    metrics: dict[str, float]
    raw: dict[str, Any]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Checkpoint:
        """The checkpoint that the service sent."""
        metrics = {
            name: value
            for name, value in _object(raw.get("metrics")).items()
            if isinstance(value, (int, float))
        }
        return cls(
            id=str(raw.get("id") or ""),
            model=str(raw.get("fine_tuned_model_checkpoint") or ""),
            step=_whole(raw.get("step_number")) or 0,
            metrics=metrics,
            raw=raw,
        )


class RemoteFile(Struct, frozen=True):
    """A file at the service. `status` is empty where the service reports none."""

    id: str
    name: str
    size: int
    purpose: str
    status: str
    created_at: int
    raw: dict[str, Any]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> RemoteFile:
        """The file that the service sent."""
        return cls(
            id=str(raw.get("id") or ""),
            name=str(raw.get("filename") or ""),
            size=_whole(raw.get("bytes")) or 0,
            purpose=str(raw.get("purpose") or ""),
            status=str(raw.get("status") or ""),
            created_at=_whole(raw.get("created_at")) or 0,
            raw=raw,
        )


class RemoteModel(Struct, frozen=True):
    """A model at the service; `shutdown_date` is empty where the service gives none."""

    id: str
    owner: str
    created_at: int
    shutdown_date: str
    raw: dict[str, Any]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> RemoteModel:
        """The model that the service sent."""
        return cls(
            id=str(raw.get("id") or ""),
            owner=str(raw.get("owned_by") or ""),
            created_at=_whole(raw.get("created")) or 0,
            shutdown_date=str(raw.get("shutdown_date") or ""),
            raw=raw,
        )


def _whole(value: Any) -> int | None:
    """A whole number, which some services send as a float or as text; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _ids(value: Any) -> tuple[str, ...]:
    """The ids in a list of them, or of objects that have one."""
    items = value if isinstance(value, list) else ()
    return tuple(
        id
        for item in items
        if isinstance(id := item.get("id") if isinstance(item, dict) else item, str) and id
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
