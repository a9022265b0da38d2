"""Resources of the API as values: jobs, events, checkpoints, files, models.

Providers do not keep to the documented types. A field of another type counts as missing. Times are
in UTC, and a time that is no date counts as missing. `raw` is the JSON object exactly as the
provider sent it.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

from msgspec import Struct

FINAL = ("succeeded", "failed", "cancelled", "canceled")
"""Statuses of jobs that have ended. A job in any other status, known or not, is still active."""

STATUSES = ("validating_files", "queued", "pending", "running", "pausing", "paused", *FINAL)
"""Statuses of jobs at the known providers."""

ENDED_BATCHES = ("completed", "failed", "expired", "cancelled")
"""Statuses of batches that have ended."""

MAX_NUMBER = 2**63
"""Numbers from here on count as missing: they are no sizes, times, steps or losses."""

END_OF_TIME = 253_402_300_800
"""First second after the year 9999, the last one that `datetime` supports."""


class Job(Struct, frozen=True):
    """Fine-tuning job. Missing fields are empty, 0 or None.

    Attributes:
        id: Id of the job.
        status: Status, one of `STATUSES` at the known providers.
        model: Base model.
        created_at: Time of creation.
        finished_at: Time at which the job ended.
        fine_tuned_model: Name of the resulting model, or "".
        training_file: Id of the training file.
        validation_file: Id of the validation file, or "".
        trained_tokens: Number of billed tokens.
        estimated_finish: Time at which the provider expects the job to end.
        error: Error message, or "".
        error_code: Error code, or "".
        result_files: Ids of the result files.
        metadata: Metadata that the job was created with.
        raw: JSON object of the API.
    """

    id: str
    status: str
    model: str
    created_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    fine_tuned_model: str
    training_file: str
    validation_file: str
    trained_tokens: int | None
    estimated_finish: datetime.datetime | None
    error: str
    error_code: str
    result_files: tuple[str, ...]
    metadata: dict[str, str]
    raw: dict[str, Any]

    @property
    def is_over(self) -> bool:
        """True if the job has ended."""
        return self.status in FINAL

    @property
    def method(self) -> str:
        """Training method: "supervised", "dpo", "reinforcement" or the provider's own name."""
        method = self.raw.get("method")
        return _text(_object(method).get("type"), "supervised")

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Hyperparameters from all places where providers put them; a value overrides "auto"."""
        method = _object(self.raw.get("method"))
        method_settings = _object(method.get(self.method))
        hyperparameters: dict[str, Any] = {}
        for settings in (self.raw, method, method_settings):
            for name, value in _object(settings.get("hyperparameters")).items():
                if value is not None and (value != "auto" or name not in hyperparameters):
                    hyperparameters[name] = value
        return hyperparameters

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Job:
        """Return the job of a JSON object of the API."""
        error = raw.get("error")
        error = {"message": error} if isinstance(error, str) else _object(error)
        return cls(
            id=_string(raw.get("id")),
            status=_text(raw.get("status"), "unknown"),
            model=_string(raw.get("model")),
            created_at=_time(raw.get("created_at")),
            finished_at=_time(raw.get("finished_at")),
            fine_tuned_model=_string(raw.get("fine_tuned_model")),
            training_file=_string(raw.get("training_file")),
            validation_file=_string(raw.get("validation_file")),
            trained_tokens=_integer(raw.get("trained_tokens")),
            estimated_finish=_time(raw.get("estimated_finish")),
            error=_text(error.get("message")),
            error_code=_text(error.get("code")),
            result_files=_ids(raw.get("result_files")),
            metadata={
                _text(key): _json_text(value) for key, value in _object(raw.get("metadata")).items()
            },
            raw=raw,
        )


class Event(Struct, frozen=True):
    """Event of a job. Missing fields are empty or None.

    Attributes:
        id: Id of the event.
        created_at: Time of the event.
        level: "info", "warn" or "error".
        message: Text for the user.
        type: "message" or "metrics".
        data: Step and losses, if the type is "metrics".
        raw: JSON object of the API.
    """

    id: str
    created_at: datetime.datetime | None
    level: str
    message: str
    type: str
    data: dict[str, Any]
    raw: dict[str, Any]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Event:
        """Return the event of a JSON object of the API."""
        return cls(
            id=_string(raw.get("id")),
            created_at=_time(raw.get("created_at")),
            level=_text(raw.get("level"), "info"),
            message=_text(raw.get("message")),
            type=_text(raw.get("type"), "message"),
            data=_object(raw.get("data")),
            raw=raw,
        )


class Checkpoint(Struct, frozen=True):
    """Checkpoint of a job, usable as a model.

    Attributes:
        id: Id of the checkpoint.
        model: Name of the checkpoint as a model.
        step: Training step.
        metrics: Losses and accuracies by name.
        raw: JSON object of the API.
    """

    id: str
    model: str
    step: int
    metrics: dict[str, float]
    raw: dict[str, Any]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Checkpoint:
        """Return the checkpoint of a JSON object of the API."""
        metrics = {
            name: value
            for name, value in _object(raw.get("metrics")).items()
            if isinstance(value, float) or (isinstance(value, int) and abs(value) < MAX_NUMBER)
        }
        return cls(
            id=_string(raw.get("id")),
            model=_string(raw.get("fine_tuned_model_checkpoint")),
            step=_integer(raw.get("step_number")) or 0,
            metrics=metrics,
            raw=raw,
        )


class RemoteFile(Struct, frozen=True):
    """File at the provider.

    Attributes:
        id: Id of the file.
        name: Name of the file.
        size: Bytes.
        purpose: "fine-tune", "fine-tune-results" or another purpose.
        status: "processed", "error" or another status; "" at providers that report none.
        created_at: Time of creation, or None.
        raw: JSON object of the API.
    """

    id: str
    name: str
    size: int
    purpose: str
    status: str
    created_at: datetime.datetime | None
    raw: dict[str, Any]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> RemoteFile:
        """Return the file of a JSON object of the API."""
        return cls(
            id=_string(raw.get("id")),
            name=_text(raw.get("filename")),
            size=_integer(raw.get("bytes")) or 0,
            purpose=_text(raw.get("purpose")),
            status=_text(raw.get("status")),
            created_at=_time(raw.get("created_at")),
            raw=raw,
        )


class Batch(Struct, frozen=True):
    """Batch of requests that the provider sends itself.

    Attributes:
        id: Id of the batch.
        status: "completed", "failed", "expired", "cancelled", or a status on the way there.
        input_file: Id of the file with the requests.
        output_file: Id of the file with the responses, or "".
        error_file: Id of the file with the requests that failed, or "".
        completed: Number of requests that are done.
        total: Number of requests.
        error: Messages of the errors of the whole batch, or "".
        metadata: Metadata that the batch was created with.
        raw: JSON object of the API.
    """

    id: str
    status: str
    input_file: str
    output_file: str
    error_file: str
    completed: int
    total: int
    error: str
    metadata: dict[str, str]
    raw: dict[str, Any]

    @property
    def is_over(self) -> bool:
        """True if the batch has ended."""
        return self.status in ENDED_BATCHES

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Batch:
        """Return the batch of a JSON object of the API."""
        counts, data = _object(raw.get("request_counts")), _object(raw.get("errors")).get("data")
        errors = data if isinstance(data, list) else ()
        messages = [_text(_object(error).get("message")) for error in errors]
        return cls(
            id=_string(raw.get("id")),
            status=_text(raw.get("status"), "unknown"),
            input_file=_string(raw.get("input_file_id")),
            output_file=_string(raw.get("output_file_id")),
            error_file=_string(raw.get("error_file_id")),
            completed=_integer(counts.get("completed")) or 0,
            total=_integer(counts.get("total")) or 0,
            error="; ".join(filter(None, messages)),
            metadata={
                _text(key): _json_text(value) for key, value in _object(raw.get("metadata")).items()
            },
            raw=raw,
        )


class RemoteModel(Struct, frozen=True):
    """Model at the provider.

    Attributes:
        id: Name of the model.
        owner: Organization that owns the model.
        created_at: Time of creation, or None.
        shutdown_date: Date as `YYYY-MM-DD`, or "" if none is announced.
        raw: JSON object of the API.
    """

    id: str
    owner: str
    created_at: datetime.datetime | None
    shutdown_date: str
    raw: dict[str, Any]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> RemoteModel:
        """Return the model of a JSON object of the API."""
        return cls(
            id=_string(raw.get("id")),
            owner=_text(raw.get("owned_by")),
            created_at=_time(raw.get("created")),
            shutdown_date=_text(raw.get("shutdown_date")),
            raw=raw,
        )


def is_fine_tuned(model: str) -> bool:
    """Return True if a name is that of a fine-tuned model at one of the known providers."""
    return model.startswith("ft:") or ".ft-" in model


def unix_time(time: datetime.datetime | None) -> float:
    """Return the Unix time in seconds, or 0 for a missing time."""
    return time.timestamp() if time else 0


def _time(value: Any) -> datetime.datetime | None:
    """Return the time of a Unix time in seconds, or None if it is no date after 1970."""
    seconds = _integer(value)
    if seconds is None or not 0 < seconds < END_OF_TIME:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _integer(value: Any) -> int | None:
    """Return an integer, which some providers send as a float or a string, or None."""
    if isinstance(value, bool):
        return None
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < MAX_NUMBER else None


def _ids(value: Any) -> tuple[str, ...]:
    """Return the ids in a list of ids or of objects with an id."""
    items = value if isinstance(value, list) else ()
    return tuple(
        id for item in items if (id := _string(item.get("id") if isinstance(item, dict) else item))
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: Any, default: str = "") -> str:
    """Return a string or a number as text, or the default if it is empty or of another type."""
    if not value or isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return default
    return str(value)


def _text(value: Any, default: str = "") -> str:
    """Return `_string` with question marks for lone surrogates, for texts that are only shown.

    Ids and names of models stay as they are: a replacement could be the id of something else.
    """
    return _string(value, default).encode("utf-8", "replace").decode()


def _json_text(value: Any) -> str:
    return _text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
