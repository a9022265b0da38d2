"""Stored job of the service with all that its page shows."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence

import msgspec

from ftkit.client.resources import Checkpoint, Event, Job
from ftkit.dashboard.job_metrics import JobMetrics
from ftkit.report.job_page import OWN_MACHINE, DataFile, JobDetails
from ftkit.server.context import Service
from ftkit.server.database import PageQuery
from ftkit.server.lifecycle import event_id
from ftkit.server.objects import CheckpointObject, EventObject, FileObject, JobObject
from ftkit.server.recipes import resolve_hyperparameters, restore_recipe

CHECKPOINTS = 100
"""Maximum number of checkpoints on the page, the newest ones."""


def training_of(job: JobObject, metrics: JobMetrics) -> JobDetails:
    """Return a job with its metrics, without what else its page shows."""
    return JobDetails(
        job=Job.read(job.public()),
        now=datetime.datetime.now(datetime.UTC),
        metrics=metrics,
        total_steps=metrics.total_steps,
    )


def newest_messages(
    service: Service, job: JobObject, metrics: JobMetrics, before: str, limit: int
) -> tuple[list[Event], bool]:
    """Return events without metrics, newest first, and True if older ones follow.

    Args:
        service: The service.
        job: The job.
        metrics: Its metrics.
        before: Id of the event before those that are returned, or "" for the newest.
        limit: Maximum number of events.
    """
    ids = metrics.messages
    end = ids.index(before) if before in ids else len(ids)
    start = max(end - limit, 0)
    events = (service.database.encoded(EventObject, id, job.tenant) for id in ids[start:end])
    return [Event.read(json.loads(row)) for row in events if row][::-1], start > 0


def details_of(
    service: Service, job: JobObject, metrics: JobMetrics, events: Sequence[Event]
) -> JobDetails:
    """Return all that the page of a job shows, with some of its events."""
    details = training_of(job, metrics)
    query = PageQuery(parent=job.id, limit=CHECKPOINTS)
    checkpoints, _ = service.database.page(CheckpointObject, job.tenant, query)
    started = metrics.started_at
    return msgspec.structs.replace(
        details,
        checkpoints=[Checkpoint.read(json.loads(row)) for row in checkpoints],
        events=events,
        files=list(_files(service, job)),
        started_at=datetime.datetime.fromtimestamp(started, datetime.UTC) if started else None,
        requested=job.requested,
        settings=list(_settings(job)),
        examples=job.examples,
        format=job.format,
        cuts=list(_cuts(service, job)),
        cost="none",
        cost_note=OWN_MACHINE,
        wait_reason=job.wait_reason,
    )


def _files(service: Service, job: JobObject) -> Iterator[DataFile]:
    ids = {"training": job.training_file, "validation": job.validation_file}
    for kind, id in ids.items():
        if not id:
            continue
        file = service.database.get(FileObject, id, job.tenant)
        if file:
            yield DataFile(kind, id, file.filename, file.bytes, f"/files/{id}")
        else:
            yield DataFile(kind, id, job.names.get(kind, ""), note="deleted")


def _cuts(service: Service, job: JobObject) -> Iterator[str]:
    """Yield the messages about what truncation removes from the files."""
    for kind in job.hashes:
        id = event_id(job.id, f"cut {kind}")
        event = service.database.get(EventObject, id, job.tenant)
        if event:
            yield event.message


def _settings(job: JobObject) -> Iterator[tuple[str, str]]:
    """Yield the values of the recipe that the job is trained with."""
    recipe = restore_recipe(job.base, job.recipe)
    requested = msgspec.to_builtins(job.hyperparameters)
    resolved = resolve_hyperparameters(recipe, requested, job.method.type, job.examples or 1)
    targets = recipe.targets
    yield "base model", job.base
    if job.from_job:
        yield "starts from", f"step {job.from_step} of {job.from_job}"
    yield "peak learning rate", f"{resolved.learning_rate:g}"
    yield "LoRA rank", str(recipe.rank)
    yield "LoRA alpha", str(recipe.alpha)
    yield "LoRA dropout", f"{recipe.dropout:g}"
    yield "LoRA targets", targets if isinstance(targets, str) else ", ".join(targets)
    yield "quantization", recipe.quantization
    yield "tokens per sequence", str(recipe.tokens)
    yield "sequences per forward pass", str(recipe.micro_batch)
    yield "packing", "yes" if recipe.packing else "no"
    yield "gradient checkpointing", "yes" if recipe.gradient_checkpointing else "no"
    yield "attention", recipe.attention
    yield "priority", str(job.priority)
