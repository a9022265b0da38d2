"""The life of a job: how it begins, what may be done to it, and what happens to it, each step one transaction.

validating_files -> queued -> running -> succeeded | failed | cancelled, with pausing and paused on the way
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

from ftkit.server.bases import Bases
from ftkit.server.bodies import JobBody
from ftkit.server.errors import Refusal, busy, invalid, not_there
from ftkit.server.objects import (
    checkpoint_object,
    event_object,
    job_object,
    model_object,
    new_id,
    now,
)
from ftkit.server.store import Store, Thing

FINAL = ("succeeded", "failed", "cancelled")
WAITING = ("validating_files", "queued", "running", "pausing", "paused")

QUEUE = 1_000
"""Jobs of a tenant that may wait or run at once."""

CHECKPOINTS = 3
"""The last checkpoints that are kept, as at OpenAI."""


def create(store: Store, bases: Bases, body: JobBody, tenant: str) -> Thing:
    """Begin a job; raises `Refusal` for what cannot be trained."""
    if body.type == "reinforcement":
        raise invalid(
            "The method 'reinforcement' is not available on this service yet.",
            "method",
            "unsupported_method",
        )
    if body.integrations:
        raise invalid(
            "Integrations are not available on this service.",
            "integrations",
            "unsupported_parameter",
        )
    if body.type != "dpo" and body.wanted.beta:
        raise invalid(
            "'beta' is a hyperparameter of the method 'dpo'.", "beta", "unknown_parameter"
        )
    id = new_id("ftjob-")
    seed = random.SystemRandom().randrange(2**31) if body.seed is None else body.seed
    # One transaction, so that none of what the job is going to need is deleted before the job is known to need it.
    with store.transaction():
        served = bases.find(body.model, tenant)
        files = {"training": _file(store, body.training_file, tenant, "training_file")}
        if body.validation_file:
            files["validation"] = _file(store, body.validation_file, tenant, "validation_file")
        if store.count("job", tenant, WAITING) >= QUEUE:
            raise busy(
                f"This account has {QUEUE:,} jobs that are not over; wait for some, or cancel them."
            )
        kept = {
            "base": served.base,
            "from_job": served.job,
            "from_step": served.step,
            "attempts": 0,
            "files": {name: file.kept["sha256"] for name, file in files.items()},
            "names": {name: file.shown["filename"] for name, file in files.items()},
        }
        store.add("job", id, tenant, job_object(id, body, seed), kept)
        add_event(store, id, tenant, f"Created fine-tuning job: {id}")
        if served.base != body.model:
            add_event(store, id, tenant, f"{body.model} stands for {served.base} here")
        add_event(store, id, tenant, f"Validating training file: {body.training_file}")
    made = store.get("job", id)
    assert made
    return made


def _file(store: Store, id: str, tenant: str, param: str) -> Thing:
    found = store.get("file", id, tenant)
    if found is None:
        raise invalid(f"file {id} does not exist", param, "file_not_found")
    if found.shown["purpose"] != "fine-tune":
        raise invalid(
            f"file {id} has the purpose '{found.shown['purpose']}' and not 'fine-tune'",
            param,
            "invalid_file_purpose",
        )
    return found


def add_event(
    store: Store,
    job: str,
    tenant: str,
    message: str,
    level: str = "info",
    data: dict[str, Any] | None = None,
    key: str = "",
) -> None:
    """Add an event to a job. One with a `key` is added once, however often that is tried."""
    id = "ftevent-" + (
        hashlib.sha256(f"{job} {key}".encode()).hexdigest()[:24] if key else new_id("")
    )
    store.add("event", id, tenant, event_object(id, message, level, data), parent=job)


def act(store: Store, id: str, tenant: str, action: str) -> Thing:
    """Cancel, pause or resume a job; raises `Refusal` where its state does not allow it."""
    allowed, after = {
        "cancel": (WAITING, "cancelled"),
        "pause": (("validating_files", "queued", "running"), "pausing"),
        "resume": (("paused",), "queued"),
    }[action]

    def edit(job: Thing) -> None:
        status = job.shown["status"]
        if status not in allowed:
            raise invalid(
                f"A job that is {status} cannot be {_past(action)}.", "id", "invalid_job_state"
            )
        # A job that has not begun has nothing to finish before it pauses, nor has one to check its files again.
        begun = status in ("running", "pausing")
        job.shown["status"] = "paused" if action == "pause" and not begun else after
        if action == "cancel":
            job.shown |= {"finished_at": now(), "estimated_finish": None}
        if action == "resume" and not job.kept.get("valid"):
            job.shown["status"] = "validating_files"

    with store.transaction():
        if store.get("job", id, tenant) is None:
            raise not_there("fine-tuning job", id, "fine_tune_id", "fine_tune_not_found")
        changed = store.change("job", id, edit)
        assert changed
        add_event(store, id, tenant, f"The job is {changed.shown['status']}")
    return changed


def _past(action: str) -> str:
    return {"cancel": "cancelled", "pause": "paused", "resume": "resumed"}[action]


def move(
    store: Store,
    id: str,
    before: tuple[str, ...],
    after: str,
    message: str,
    level: str = "info",
    **shown: Any,
) -> bool:
    """Bring a job from one of some states into another, with an event; returns False if it is in none of them any more."""
    moved = False

    def edit(job: Thing) -> bool:
        nonlocal moved
        moved = job.shown["status"] in before
        if moved:
            job.shown |= {"status": after, **shown}
        return moved

    with store.transaction():
        job = store.change("job", id, edit)
        if job and moved:
            add_event(store, id, job.tenant, message, level)
    return moved


def fail(store: Store, id: str, code: str, message: str, param: str | None = None) -> bool:
    """End a job that cannot go on."""
    error = {"code": code, "message": message, "param": param}
    ends = {"error": error, "finished_at": now(), "estimated_finish": None}
    return move(store, id, WAITING, "failed", f"The job failed: {message}", "error", **ends)


def tuned_name(job: Thing, step: int | None = None) -> str:
    """The name of the model that a job makes, or of its checkpoint at a step."""
    model, suffix = job.shown["model"], job.shown["user_provided_suffix"] or ""
    root = model.split(":")[1] if model.startswith("ft:") else model
    name = f"ft:{root}:{suffix}:{job.id.removeprefix('ftjob-')[:8]}"
    return name if step is None else f"{name}:ckpt-step-{step}"


def has_checkpoint(store: Store, job: Thing, step: int) -> bool:
    """Whether the checkpoint of that step was added."""
    return store.get("checkpoint", _checkpoint_id(job, step)) is not None


def _checkpoint_id(job: Thing, step: int) -> str:
    return "ftckpt_" + hashlib.sha256(f"{job.id} {step}".encode()).hexdigest()[:24]


def add_checkpoint(store: Store, job: Thing, step: int, metrics: dict[str, Any]) -> list[int]:
    """Add a checkpoint, whose adapter is on the disk, as a model; returns the steps of those that are kept no longer."""
    name, id = tuned_name(job, step), _checkpoint_id(job, step)
    with store.transaction():
        shown = checkpoint_object(id, job.id, name, step, {"step": step, **metrics})
        store.add("checkpoint", id, job.tenant, shown, parent=job.id)
        add_model(store, job, name, step)
        all = sorted(
            store.children("checkpoint", job.id), key=lambda each: each.shown["step_number"]
        )
        old = [
            each
            for each in all[:-CHECKPOINTS]
            if not _trained_on(store, job.id, each.shown["step_number"])
        ]
        for each in old:
            store.remove("checkpoint", each.id)
            store.remove("model", each.shown["fine_tuned_model_checkpoint"])
        store.change("job", job.id, lambda found: found.kept.update(attempts=0))
    return [each.shown["step_number"] for each in old]


def add_model(store: Store, job: Thing, name: str, step: int) -> None:
    """Add a tuned model, whose adapter is on the disk."""
    kept = {"base": job.kept["base"], "job": job.id, "step": step}
    store.add("model", name, job.tenant, model_object(name, "org-local"), kept)


def delete_model(store: Store, name: str, tenant: str) -> Thing:
    """Forget a tuned model; raises `Refusal` for a base model, or one that is not there."""
    with store.transaction():
        found = store.get("model", name, tenant)
        if found is None:
            raise not_there("fine-tuned model", name, "model", "model_not_found")
        user = _trained_on(store, found.kept["job"], found.kept["step"])
        if user:
            raise Refusal(
                409, f"The job {user} is training on {name}.", param="model", code="model_in_use"
            )
        store.remove("model", name)
    return found


def _trained_on(store: Store, job: str, step: int) -> str | None:
    """The job, not over yet, that goes on from the adapter which a job had made by that step."""
    users = (user for status in WAITING for user in store.with_status("job", status))
    return next(
        (
            user.id
            for user in users
            if (user.kept["from_job"], user.kept["from_step"]) == (job, step)
        ),
        None,
    )
