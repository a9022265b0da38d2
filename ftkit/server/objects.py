"""Objects of the API (files, uploads, jobs, models, ...) as they are stored and returned.

Each class has the fields of OpenAI's object of that name, in the same order, and `internal` fields,
which are stored beside it and never returned.
"""

from __future__ import annotations

import secrets
import string
import time
from typing import Any, ClassVar, Literal, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from ftkit.server.errors import MissingObjectError, missing_object

ALPHABET = string.ascii_letters + string.digits

T = TypeVar("T", bound="StoredObject")

Auto = Literal["auto"]
JobStatus = Literal[
    "validating_files",
    "queued",
    "running",
    "pausing",
    "paused",
    "succeeded",
    "failed",
    "cancelled",
]

FINAL: tuple[JobStatus, ...] = ("succeeded", "failed", "cancelled")
"""Statuses of finished jobs."""

UNFINISHED: tuple[JobStatus, ...] = ("validating_files", "queued", "running", "pausing", "paused")
"""Statuses of all other jobs."""


def new_id(prefix: str, length: int = 24) -> str:
    """Return a new id, which cannot be guessed."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(length))


def now() -> int:
    """Return the current Unix time in seconds."""
    return int(time.time())


class StoredObject(Struct, kw_only=True):
    """Base class of the objects.

    Attributes:
        kind: Name of the type in the database.
        title: Name of the type in messages.
        internal: Fields that are not part of the API.
        omitted: Fields that are left out while they are None, since the API has no null for them.
        tenant: Tenant that owns the object.
        parent: Id of the object that this one belongs to, or "".
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    internal: ClassVar[tuple[str, ...]] = ()
    omitted: ClassVar[tuple[str, ...]] = ()
    tenant: str
    parent: str = ""

    def public(self) -> dict[str, Any]:
        """Return the JSON of the object as the API returns it."""
        return self.documents()[0]

    def documents(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the JSON of the public and of the internal fields."""
        public = msgspec.to_builtins(self)
        del public["tenant"], public["parent"]
        for name in self.omitted:
            if public[name] is None:
                del public[name]
        return public, {name: public.pop(name) for name in self.internal}

    @classmethod
    def from_documents(
        cls: type[T], tenant: str, parent: str, public: dict[str, Any], internal: dict[str, Any]
    ) -> T:
        """Return the object with that JSON."""
        return msgspec.convert({**public, **internal, "tenant": tenant, "parent": parent}, cls)

    @classmethod
    def missing(cls, id: str) -> MissingObjectError:
        """Return the error for an id that the tenant has no object of this type for."""
        return missing_object(cls.title, id)


class FileObject(StoredObject, kw_only=True):
    """A file. Its content is stored as a blob, under its SHA-256."""

    kind = "file"
    title = "File object"
    internal = ("sha256",)
    omitted = ("expires_at", "status_details")

    id: str = field(default_factory=lambda: new_id("file-"))
    object: str = "file"
    bytes: int
    created_at: int = field(default_factory=now)
    filename: str
    purpose: str
    status: str = "processed"
    expires_at: int | None = None
    status_details: str | None = None
    sha256: str


class UploadObject(StoredObject, kw_only=True):
    """An upload in parts.

    Attributes:
        file: Public JSON of the file that it became, or None.
        file_seconds: Seconds after which that file expires, or None.
    """

    kind = "upload"
    title = "Upload"
    internal = ("file_seconds",)

    id: str = field(default_factory=lambda: new_id("upload_"))
    object: str = "upload"
    bytes: int
    created_at: int = field(default_factory=now)
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"] = "pending"
    expires_at: int
    file: dict[str, Any] | None = None
    file_seconds: int | None = None


class PartObject(StoredObject, kw_only=True):
    """A part of an upload, which is its parent; `size` is in bytes."""

    kind = "part"
    title = "Part"
    internal = ("size",)

    id: str = field(default_factory=lambda: new_id("part_"))
    object: str = "upload.part"
    created_at: int = field(default_factory=now)
    upload_id: str
    size: int


class JobHyperparameters(Struct, kw_only=True):
    """Hyperparameters of a job; "auto" until the service has chosen a value."""

    n_epochs: int | Auto
    batch_size: int | Auto
    learning_rate_multiplier: float | Auto
    beta: float | Auto | UnsetType = UNSET


class MethodSettings(Struct):
    """Settings of a fine-tuning method."""

    hyperparameters: JobHyperparameters


class JobMethod(Struct):
    """Fine-tuning method of a job, with its settings under its own name."""

    type: str
    supervised: MethodSettings | UnsetType = UNSET
    dpo: MethodSettings | UnsetType = UNSET

    @classmethod
    def of(cls, type: str, hyperparameters: JobHyperparameters) -> JobMethod:
        """Return the method of that name with these hyperparameters."""
        return cls(type, **{type: MethodSettings(hyperparameters)})


class JobError(Struct):
    """Reason why a job failed."""

    code: str
    message: str
    param: str | None


class JobObject(StoredObject, kw_only=True):
    """A fine-tuning job.

    Attributes:
        base: Base model that is trained, see `ModelRef`.
        from_job: Job whose adapter the training starts from, or "".
        from_step: Step of that adapter.
        attempts: Processes that crashed without progress.
        kills: Processes that were killed without progress.
        pauses: Number of times that the job was paused.
        attempt: Number of the last attempt to train the job, see `attempts.py`.
        token_hash: SHA-256 of the token of that attempt, "" once it has ended.
        handle: Handle of its process, "" once it has ended.
        hashes: SHA-256 of the `training` file, and of the `validation` file if there is one.
        names: Names of these files.
        valid: True once the files have been validated.
        requested: Hyperparameters of the request; {} for jobs of earlier versions.
        recipe: `Recipe` of the base model at the creation of the job, as a JSON object.
        format: Format of the training file, "" until it has been validated.
        examples: Number of training examples, 0 until the file has been validated.
        priority: Priority of the job among those of its tenant.
        rank: The priority, or a higher number if the job was running when the service ended.
        wait_reason: Last recorded reason why the job waits, or "".
        explanations: Number of recorded reasons.
        event_bytes: Size of the events that its processes have reported, see `event_limits.py`.
    """

    kind = "job"
    title = "fine-tuning job"
    internal = (
        "base",
        "from_job",
        "from_step",
        "attempts",
        "kills",
        "pauses",
        "attempt",
        "token_hash",
        "handle",
        "files",
        "names",
        "requested",
        "recipe",
        "valid",
        "format",
        "examples",
        "priority",
        "rank",
        "wait_reason",
        "explanations",
        "event_bytes",
    )

    object: str = "fine_tuning.job"
    id: str = field(default_factory=lambda: new_id("ftjob-"))
    model: str
    created_at: int = field(default_factory=now)
    finished_at: int | None = None
    fine_tuned_model: str | None = None
    organization_id: str = "org-local"
    result_files: list[str] = []
    status: JobStatus = "validating_files"
    validation_file: str | None
    training_file: str
    hyperparameters: JobHyperparameters
    trained_tokens: int | None = None
    error: JobError | None = None
    user_provided_suffix: str | None
    seed: int
    estimated_finish: int | None = None
    integrations: list[Any] = []
    metadata: dict[str, str] | None
    method: JobMethod

    base: str
    from_job: str = ""
    from_step: int = 0
    attempts: int = 0
    kills: int = 0
    pauses: int = 0
    attempt: int = 0
    token_hash: str = ""
    handle: str = ""
    hashes: dict[str, str] = field(name="files")
    names: dict[str, str]
    requested: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    valid: bool = False
    format: str = ""
    examples: int = 0
    priority: int = 0
    rank: int = 0
    wait_reason: str = ""
    explanations: int = 0
    event_bytes: int = 0

    @classmethod
    def missing(cls, id: str) -> MissingObjectError:
        """Return the error for an id that the tenant has no job for."""
        return missing_object(cls.title, id, "fine_tune_id", "fine_tune_not_found")

    def note_progress(self) -> None:
        """Forget the processes that ended before the progress that was made."""
        self.attempts = self.kills = 0

    def set_hyperparameters(self, hyperparameters: JobHyperparameters) -> None:
        """Set the hyperparameters, which OpenAI's object has in two places."""
        self.hyperparameters = hyperparameters
        self.method = JobMethod.of(self.method.type, hyperparameters)


class TurnObject(StoredObject, kw_only=True):
    """The last turn of a tenant: the number of its last job that the queue of a status started.

    Attributes:
        waiting_status: Status of the jobs in the queue.
        number: Number of the turn, counted over all tenants.
    """

    kind = "turn"
    title = "turn"
    internal = ("waiting_status", "number")

    id: str
    waiting_status: JobStatus
    number: int

    @classmethod
    def of(cls, status: JobStatus, tenant: str, number: int) -> TurnObject:
        """Return the turn of a tenant with that number."""
        id = f"{status}:{tenant}"
        return cls(tenant=tenant, id=id, waiting_status=status, number=number)


class EventObject(StoredObject, kw_only=True):
    """An event of a job, which is its parent."""

    kind = "event"
    title = "event"

    object: str = "fine_tuning.job.event"
    id: str
    created_at: int = field(default_factory=now)
    level: str = "info"
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]


class CheckpointObject(StoredObject, kw_only=True):
    """A checkpoint of a job, which is its parent."""

    kind = "checkpoint"
    title = "checkpoint"

    object: str = "fine_tuning.job.checkpoint"
    id: str
    created_at: int = field(default_factory=now)
    fine_tuning_job_id: str
    fine_tuned_model_checkpoint: str
    step_number: int
    metrics: dict[str, Any]


class ModelObject(StoredObject, kw_only=True):
    """A fine-tuned model: a base model and the adapter that a job had made by a step."""

    kind = "model"
    title = "fine-tuned model"
    internal = ("base", "job", "step")

    id: str
    object: str = "model"
    created: int = field(default_factory=now)
    owned_by: str = "org-local"
    shutdown_date: int | None = None
    base: str
    job: str
    step: int

    @classmethod
    def missing(cls, id: str) -> MissingObjectError:
        """Return the error for an id that the tenant has no fine-tuned model for."""
        return missing_object(cls.title, id, "model", "model_not_found")


def base_model(name: str) -> dict[str, Any]:
    """Return the JSON of a base model, which is not stored."""
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "ftkit",
        "shutdown_date": None,
    }


def deletion(id: str, kind: str) -> dict[str, Any]:
    """Return the JSON of the response to a deletion."""
    return {"id": id, "object": kind, "deleted": True}
