"""Lifecycle of fine-tuning jobs. Each transition is one database transaction.

validating_files -> queued -> running -> succeeded | failed | cancelled
^         |
|         v
paused <- pausing
"""

from __future__ import annotations

import hashlib
import os
import random
from operator import attrgetter
from typing import Any, Literal

import msgspec

from ftkit.server.bodies import JobBody
from ftkit.server.database import Database
from ftkit.server.errors import ConflictError, InvalidRequestError, MissingObjectError
from ftkit.server.integrations import check_wandb
from ftkit.server.job_limits import DEFAULT_LIMITS, TenantLimits, check_job_count, check_pauses
from ftkit.server.models import ModelRef, ModelRegistry
from ftkit.server.objects import (
    UNFINISHED,
    CheckpointObject,
    EventObject,
    FileObject,
    JobError,
    JobHyperparameters,
    JobMethod,
    JobObject,
    JobStatus,
    ModelObject,
    new_id,
    now,
)
from ftkit.server.scheduling import MAX_POSITION, explain_position, read_priority
from ftkit.server.waiting import count_before

Action = Literal["cancel", "pause", "resume"]

ACTIONS: dict[Action, tuple[tuple[JobStatus, ...], str]] = {
    "cancel": (UNFINISHED, "cancelled"),
    "pause": (("validating_files", "queued", "running"), "paused"),
    "resume": (("paused",), "resumed"),
}
"""Statuses in which each action is allowed, and its past participle."""


def create_job(
    database: Database,
    models: ModelRegistry,
    body: JobBody,
    tenant: str,
    limits: TenantLimits = DEFAULT_LIMITS,
) -> JobObject:
    """Create a job.

    Raises:
        InvalidRequestError: The job cannot be trained, or its priority is invalid.
        LimitReachedError: The tenant has too many jobs.
    """
    _check_supported(body)
    # In one transaction, so that the files and the model are not deleted before the job exists.
    with database.transaction():
        model = _find_base(models, body.model, tenant)
        files = {"training": _training_file(database, body.training_file, tenant, "training_file")}
        if body.validation_file:
            files["validation"] = _training_file(
                database, body.validation_file, tenant, "validation_file"
            )
        check_job_count(database, tenant, limits)
        job = _new_job(body, model, files, tenant)
        job.recipe = models.recipe(model.base)
        database.add(job)
        add_event(database, job.id, tenant, f"Created fine-tuning job: {job.id}")
        if model.base != body.model:
            add_event(database, job.id, tenant, f"{body.model} stands for {model.base} here")
        message = f"Validating training file: {body.training_file}"
        add_event(database, job.id, tenant, message)
    return job


def _check_supported(body: JobBody) -> None:
    if body.type == "reinforcement":
        raise InvalidRequestError(
            "This service does not support the method 'reinforcement' yet.",
            "method",
            "unsupported_method",
        )
    if body.integrations:
        check_wandb(os.environ)
    if body.type != "dpo" and body.job_hyperparameters.beta:
        raise InvalidRequestError(
            "'beta' is a hyperparameter of the method 'dpo'.", "beta", "unknown_parameter"
        )


def _find_base(models: ModelRegistry, name: str, tenant: str) -> ModelRef:
    try:
        return models.find(name, tenant)
    except MissingObjectError as error:
        # OpenAI answers 400 here, and 404 where a model is asked for a completion.
        raise InvalidRequestError(str(error), error.param, error.code) from error


def _training_file(database: Database, id: str, tenant: str, param: str) -> FileObject:
    file = database.get(FileObject, id, tenant)
    if file is None:
        raise InvalidRequestError(f"file {id} does not exist", param, "file_not_found")
    if file.purpose != "fine-tune":
        raise InvalidRequestError(
            f"file {id} has the purpose '{file.purpose}', not 'fine-tune'",
            param,
            "invalid_file_purpose",
        )
    return file


def _new_job(
    body: JobBody, model: ModelRef, files: dict[str, FileObject], tenant: str
) -> JobObject:
    hyperparameters = msgspec.convert(
        msgspec.to_builtins(body.job_hyperparameters), JobHyperparameters
    )
    if body.type == "dpo":
        hyperparameters.beta = hyperparameters.beta or "auto"
    priority = read_priority(body.metadata)
    seed = random.SystemRandom().randrange(2**31) if body.seed is None else body.seed
    return JobObject(
        tenant=tenant,
        model=body.model,
        validation_file=body.validation_file,
        training_file=body.training_file,
        hyperparameters=hyperparameters,
        user_provided_suffix=body.suffix,
        seed=seed,
        integrations=msgspec.to_builtins(body.integrations or []),
        metadata=body.metadata,
        method=JobMethod.of(body.type, hyperparameters),
        base=model.base,
        from_job=model.job,
        from_step=model.step,
        hashes={name: file.sha256 for name, file in files.items()},
        names={name: file.filename for name, file in files.items()},
        requested=msgspec.to_builtins(hyperparameters),
        priority=priority,
        rank=priority,
    )


def add_event(
    database: Database,
    job: str,
    tenant: str,
    message: str,
    level: str = "info",
    data: dict[str, Any] | None = None,
    key: str = "",
) -> bool:
    """Add an event to a job. Return False if it has one with that key already.

    Args:
        database: Database of the service.
        job: Id of the job.
        tenant: Tenant that owns the job.
        message: Message of the event.
        level: "info", "warn" or "error".
        data: Metrics, for an event of the type "metrics".
        key: Identity of the event among those of the job: adding it again has no effect. Empty
            for an event that is always added.
    """
    event = EventObject(
        id=event_id(job, key),
        tenant=tenant,
        parent=job,
        level=level,
        message=message,
        type="metrics" if data else "message",
        data=data or {},
    )
    return database.add(event)


def event_id(job: str, key: str) -> str:
    """Return the id of the event of a job with that key, or a new one without a key."""
    return f"ftevent-{_digest(job, key) if key else new_id('')}"


def _digest(job: str, key: str | int) -> str:
    return hashlib.sha256(f"{job} {key}".encode()).hexdigest()[:24]


def apply_action(database: Database, id: str, tenant: str, action: Action) -> JobObject:
    """Cancel, pause or resume a job.

    Raises:
        MissingObjectError: The tenant has no such job.
        InvalidRequestError: The status of the job does not allow the action.
        LimitReachedError: The job was paused too often.
    """
    allowed, participle = ACTIONS[action]

    def edit(job: JobObject) -> None:
        if job.status not in allowed:
            raise InvalidRequestError(
                f"A job that is {job.status} cannot be {participle}.", "id", "invalid_job_state"
            )
        if action == "pause":
            check_pauses(job)
            job.pauses += 1
            job.rank = job.priority
        job.status = _status_after(action, job)
        if action == "cancel":
            job.finished_at, job.estimated_finish = now(), None

    with database.transaction():
        database.require(JobObject, id, tenant)
        job = database.change(JobObject, id, edit)
        assert job
        add_event(database, id, tenant, f"The job is {job.status}")
        add_position(database, job)
    return job


def _status_after(action: Action, job: JobObject) -> JobStatus:
    if action == "cancel":
        return "cancelled"
    if action == "pause":
        # Only a running job has a training step to finish before it is paused.
        return "pausing" if job.status == "running" else "paused"
    return "queued" if job.valid else "validating_files"


def transition(
    database: Database,
    id: str,
    before: tuple[JobStatus, ...],
    after: JobStatus,
    message: str,
    **changes: Any,
) -> bool:
    """Change the status of a job, and add an event.

    Args:
        database: Database of the service.
        id: Id of the job.
        before: Statuses in which the job may be.
        after: New status.
        message: Message of the event.
        **changes: New values of other fields.

    Returns:
        False if the job was in no status of `before`, and was left as it is.
    """
    changed = False

    def edit(job: JobObject) -> bool:
        nonlocal changed
        changed = job.status in before
        if changed:
            job.status = after
            for name, value in changes.items():
                setattr(job, name, value)
        return changed

    with database.transaction():
        job = database.change(JobObject, id, edit)
        if job and changed:
            level = "error" if after == "failed" else "info"
            add_event(database, id, job.tenant, message, level)
            add_position(database, job)
    return changed


def add_position(database: Database, job: JobObject) -> None:
    """Add an event with the number of jobs before a queued job, if the tenant has such jobs."""
    if job.status != "queued":
        return
    before = count_before(database, job, MAX_POSITION)
    if before:
        add_event(database, job.id, job.tenant, f"The job waits: {explain_position(before)}")


def fail(database: Database, id: str, code: str, message: str, param: str | None = None) -> bool:
    """Fail a job. Return False if it had finished already."""
    return transition(
        database,
        id,
        UNFINISHED,
        "failed",
        f"The job failed: {message}",
        error=JobError(code, message, param),
        finished_at=now(),
        estimated_finish=None,
    )


def tuned_name(job: JobObject, step: int | None = None) -> str:
    """Return the name of the model that a job makes, or of its checkpoint at a step."""
    model, suffix = job.model, job.user_provided_suffix or ""
    root = model.split(":")[1] if model.startswith("ft:") else model
    name = f"ft:{root}:{suffix}:{job.id.removeprefix('ftjob-')[:8]}"
    return name if step is None else f"{name}:ckpt-step-{step}"


def has_checkpoint(database: Database, job: JobObject, step: int) -> bool:
    """Return True if the checkpoint of that step was added."""
    return database.get(CheckpointObject, _checkpoint_id(job, step)) is not None


def _checkpoint_id(job: JobObject, step: int) -> str:
    return f"ftckpt_{_digest(job.id, step)}"


def add_checkpoint(
    database: Database, job: JobObject, step: int, metrics: dict[str, Any], limit: int
) -> list[int]:
    """Add a checkpoint, whose adapter is on the disk, and its model.

    Args:
        database: Database of the service.
        job: The job.
        step: Training step of the checkpoint.
        metrics: Metrics of that step.
        limit: Number of checkpoints of the job to keep.

    Returns:
        The steps of old checkpoints that were removed, and whose adapters can be deleted.
    """
    name = tuned_name(job, step)
    checkpoint = CheckpointObject(
        id=_checkpoint_id(job, step),
        tenant=job.tenant,
        parent=job.id,
        fine_tuning_job_id=job.id,
        fine_tuned_model_checkpoint=name,
        step_number=step,
        metrics={**metrics, "step": step},
    )
    with database.transaction():
        database.add(checkpoint)
        add_model(database, job, name, step)
        return _remove_old_checkpoints(database, job.id, limit)


def _remove_old_checkpoints(database: Database, job: str, limit: int) -> list[int]:
    """Remove all but the last checkpoints of a job and those that jobs train on."""
    checkpoints = sorted(database.children(CheckpointObject, job), key=attrgetter("step_number"))
    old = [
        checkpoint
        for checkpoint in checkpoints[:-limit]
        if not find_user(database, job, checkpoint.step_number)
    ]
    for checkpoint in old:
        database.remove(CheckpointObject, checkpoint.id)
        database.remove(ModelObject, checkpoint.fine_tuned_model_checkpoint)
    return [checkpoint.step_number for checkpoint in old]


def add_model(database: Database, job: JobObject, name: str, step: int) -> None:
    """Add a fine-tuned model, whose adapter is on the disk."""
    model = ModelObject(id=name, tenant=job.tenant, base=job.base, job=job.id, step=step)
    database.add(model)


def delete_model(database: Database, name: str, tenant: str) -> list[ModelObject]:
    """Remove a fine-tuned model, but not its adapter. Return all models that were removed.

    The model of a job goes with its checkpoints and their models.

    Raises:
        MissingObjectError: The tenant has no such fine-tuned model.
        ConflictError: A job trains on one of them.
    """
    with database.transaction():
        model = database.require(ModelObject, name, tenant)
        job = database.get(JobObject, model.job)
        is_whole_job = job is not None and job.fine_tuned_model == name
        checkpoints = database.children(CheckpointObject, model.job) if is_whole_job else []
        names = [name, *(checkpoint.fine_tuned_model_checkpoint for checkpoint in checkpoints)]
        models = list(filter(None, (database.get(ModelObject, name) for name in names)))
        for model in models:
            user = find_user(database, model.job, model.step)
            if user:
                message = f"The job {user} is training on {model.id}."
                raise ConflictError(message, "model", "model_in_use")
            database.remove(ModelObject, model.id)
        for checkpoint in checkpoints:
            database.remove(CheckpointObject, checkpoint.id)
    return models


def find_user(database: Database, job: str, step: int) -> str | None:
    """Return the id of an unfinished job that starts from that adapter, or None."""
    users = database.matching(JobObject, *UNFINISHED, from_job=job, from_step=step)
    return users[0].id if users else None
