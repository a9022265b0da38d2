"""Rows of the list of jobs: values and texts of each job."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from msgspec import Struct

from ftkit._text import format_duration, format_minute
from ftkit.report.job_page import epoch_text, finish_text, status_tone
from ftkit.report.loss_chart import draw_losses
from ftkit.server.database import Database
from ftkit.server.job_progress import JobProgress, read_progress
from ftkit.server.lifecycle import ACTIONS
from ftkit.server.objects import FINAL, JobObject
from ftkit.server.scheduling import MAX_POSITION, explain_position
from ftkit.server.waiting import count_before

TEXT_LENGTH = 300
"""Maximum number of characters of a name or a message."""

CACHED_JOBS = 2_000
"""Maximum number of finished jobs whose progress is kept in memory."""


class JobAction(Struct, frozen=True):
    """Button that changes a job.

    Attributes:
        name: Name of the action, such as "cancel".
        title: Text of the button.
        path: Path of the API.
        question: Question to answer before, or "".
    """

    name: str
    title: str
    path: str
    question: str


class JobRow(Struct, frozen=True, kw_only=True):
    """Row of the list.

    Attributes:
        id: Id of the job.
        name: Suffix of the job, or the name of its training file.
        file: Name of the training file, unless it is the name of the row.
        status: Status, as a text.
        tone: Tone of the status.
        note: Reason why the job waits or failed, or "".
        model: Base model, as the client named it.
        method: Fine-tuning method.
        step: Last training step.
        total: Number of training steps, 0 if it is unknown.
        epoch: Epoch of the last step and number of epochs, or "".
        train: Last training loss, or None.
        valid: Last validation loss, or None.
        chart: Lines of the losses, or None.
        created: Time of creation.
        finish: When the job ended, or will end, or "".
        duration: How long it took, or will take, or "".
        actions: What can be done with it.
    """

    id: str
    name: str
    file: str
    status: str
    tone: str
    note: str
    model: str
    method: str
    step: int
    total: int
    epoch: str
    train: float | None
    valid: float | None
    chart: dict[str, Any] | None
    created: str
    finish: str
    duration: str
    actions: list[JobAction]

    @property
    def share(self) -> float:
        """Share of the training steps that are done."""
        return min(self.step / self.total, 1.0) if self.total else 0.0


class JobRows:
    """Makes rows. It keeps the progress of finished jobs, which does not change any more.

    Args:
        database: Database of the service.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._finished = lru_cache(CACHED_JOBS)(self._read)

    def _read(self, id: str) -> JobProgress:
        job = self._database.get(JobObject, id)
        return read_progress(self._database, job) if job else JobProgress()

    def row(self, job: JobObject, now: int) -> JobRow:
        """Return the row of a job at a Unix time."""
        is_finished = job.status in FINAL
        progress = self._finished(job.id) if is_finished else read_progress(self._database, job)
        file = job.names.get("training", job.training_file)
        name = _job_name(job)
        finish, duration = _times(job, now)
        return JobRow(
            id=job.id,
            name=name[:TEXT_LENGTH],
            file=file[:TEXT_LENGTH] if file != name else "",
            status=job.status.replace("_", " "),
            tone=status_tone(job.status),
            note=self._note(job)[:TEXT_LENGTH],
            model=job.model[:TEXT_LENGTH],
            method=job.method.type,
            step=progress.step,
            total=progress.total,
            epoch=_epoch(job, progress),
            train=progress.train[-1][1] if progress.train else None,
            valid=progress.valid[-1][1] if progress.valid else None,
            chart=draw_losses(progress.train, progress.valid),
            created=_minute(job.created_at),
            finish=finish,
            duration=duration,
            actions=list(job_actions(job)),
        )

    def _note(self, job: JobObject) -> str:
        """Return why a job failed or waits, or ""."""
        if job.error:
            return job.error.message
        if job.status != "queued":
            return ""
        if job.wait_reason:
            return f"waits: {job.wait_reason}"
        before = count_before(self._database, job, MAX_POSITION)
        return f"waits: {explain_position(before)}" if before else ""


def _epoch(job: JobObject, progress: JobProgress) -> str:
    """Return the epoch of the last step, or ""."""
    total = job.hyperparameters.n_epochs
    if not progress.total or not isinstance(total, int):
        return ""
    return epoch_text(progress.step, progress.total, total)


def _times(job: JobObject, now: int) -> tuple[str, str]:
    """Return when a job ended or will end, and how long it took or will take."""
    if job.finished_at is not None:
        duration = format_duration(job.finished_at - job.created_at)
        return _minute(job.finished_at), f"after {duration}"
    if job.estimated_finish is not None and job.status in ("running", "pausing"):
        left = format_duration(job.estimated_finish - now)
        return finish_text(_utc(job.estimated_finish), _utc(now)), f"in {left}"
    return "", ""


def job_actions(job: JobObject) -> Iterator[JobAction]:
    """Yield the actions that the status of a job allows."""
    for action, (statuses, _) in reversed(ACTIONS.items()):
        if job.status in statuses:
            name = _job_name(job)[:TEXT_LENGTH]
            question = (
                f"Cancel {name} ({job.id})? It cannot be resumed. Models of its checkpoints stay."
            )
            yield JobAction(
                action,
                action.capitalize(),
                f"/v1/fine_tuning/jobs/{job.id}/{action}",
                question if action == "cancel" else "",
            )


def _job_name(job: JobObject) -> str:
    """Return the suffix of a job, or the name of its training file."""
    return job.user_provided_suffix or job.names.get("training", job.training_file)


def _minute(time: int) -> str:
    return format_minute(_utc(time))


def _utc(time: int) -> datetime:
    return datetime.fromtimestamp(time, UTC)
