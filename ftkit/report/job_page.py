"""Page of a job: what the dashboard and `ftkit jobs open` show of it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from ftkit._text import format_duration, format_minute, format_size, format_time, plural
from ftkit.client.resources import Checkpoint, Event, Job
from ftkit.jobs.metrics import MARGINS, TRAIN, VALID, MetricSeries, Verdict, assess
from ftkit.pages.page import CHART_STYLE, CHARTS, LISTS, render_page
from ftkit.report.charts import Run, charts_of
from ftkit.report.metrics import verdict_lines

SCRIPTS = (*CHARTS, "job.js")
"""Scripts of the page."""

STYLES = (CHART_STYLE,)
"""Style sheets of the page, besides that of all pages."""

TEXT_LENGTH = 2_000
"""Maximum number of characters of a text that a provider, a file or a user has chosen."""

MAX_EVENTS = 1_000
"""Maximum number of events on a page that has all of them."""

TONES = {"succeeded": "good", "failed": "error", "paused": "warning", "cancelled": "warning"}
"""Tones of statuses; "info" for all others."""

SENTENCES = {
    "validating_files": "The files are being validated.",
    "queued": "The job waits for a free training process.",
    "running": "The model is being trained.",
    "pausing": "The job saves its state, and is paused then.",
    "paused": "The job is paused. Resumed, it continues from the state that it has saved.",
    "succeeded": "The model is ready.",
    "failed": "The job failed.",
    "cancelled": "The job was cancelled.",
    "canceled": "The job was cancelled.",
}
"""What the statuses mean."""

OWN_MACHINE = "trained on your own machines"
"""Note on the cost of a job of the local service."""

LABELS = {
    "n_epochs": "epochs",
    "batch_size": "batch size",
    "learning_rate_multiplier": "learning rate multiplier",
    "beta": "DPO beta",
}
"""Names of hyperparameters."""


class DataFile(Struct, frozen=True):
    """Training or validation file of a job.

    Attributes:
        kind: "training" or "validation".
        id: Id of the file.
        name: Name of the file, or "".
        size: Size in bytes, or None if it is unknown.
        link: Address of its page, or "".
        note: More about it, such as that it is deleted.
    """

    kind: str
    id: str
    name: str = ""
    size: int | None = None
    link: str = ""
    note: str = ""


class JobDetails(Struct, frozen=True, kw_only=True):
    """All that the page of a job shows.

    Attributes:
        job: The job.
        now: Current time.
        metrics: Its metrics by step.
        total_steps: Number of steps of the whole training, or 0 if it is unknown.
        checkpoints: Its checkpoints.
        events: Some of its events, newest first.
        files: Its files.
        started_at: Time at which the training began, or None.
        requested: Hyperparameters of the request, where they are known.
        settings: Further settings of the training, as names and values.
        examples: Number of training examples, or 0 if it is unknown.
        format: Format of the training file, or "".
        cuts: Messages about what truncation removes.
        cost: Cost of the training as text, or "".
        cost_note: What the cost is based on.
        wait_reason: Why the job waits, or "".
    """

    job: Job
    now: datetime.datetime
    metrics: MetricSeries
    total_steps: int = 0
    checkpoints: Sequence[Checkpoint] = ()
    events: Sequence[Event] = ()
    files: Sequence[DataFile] = ()
    started_at: datetime.datetime | None = None
    requested: Mapping[str, Any] = {}
    settings: Sequence[tuple[str, str]] = ()
    examples: int = 0
    format: str = ""
    cuts: Sequence[str] = ()
    cost: str = ""
    cost_note: str = ""
    wait_reason: str = ""

    @property
    def epochs(self) -> int | None:
        """Number of epochs, or None before it is chosen."""
        value = self.job.hyperparameters.get("n_epochs")
        return value if isinstance(value, int) and value > 0 else None

    @property
    def steps_per_epoch(self) -> float | None:
        """Number of steps of an epoch, or None if it is unknown."""
        return self.total_steps / self.epochs if self.epochs and self.total_steps else None

    @property
    def last_step(self) -> int:
        """Last step with a training loss, or 0."""
        losses = self.metrics.series(TRAIN)
        return losses[-1][0] if losses else 0


def page_values(details: JobDetails) -> dict[str, Any]:
    """Return the values of the page's template."""
    job, verdict = details.job, assess(details.metrics)
    has_metrics = bool(details.metrics.series(TRAIN) or details.metrics.series(VALID))
    return {
        "job": job,
        "title": (job.fine_tuned_model or job.id)[:TEXT_LENGTH],
        "facts": list(_facts(details)),
        "tone": status_tone(job.status),
        "status_name": job.status.replace("_", " ")[:TEXT_LENGTH],
        "sentence": SENTENCES.get(job.status, ""),
        "reason": details.wait_reason if job.status == "queued" else "",
        "error": job.error[:TEXT_LENGTH],
        "error_code": job.error_code[:TEXT_LENGTH],
        "progress": _progress(details),
        "tiles": list(_tiles(details, verdict)),
        "verdict": verdict_lines(verdict) if has_metrics else [],
        "overfits": verdict.overfits_from is not None,
        "checkpoints": _checkpoint_rows(details, verdict),
        "hyperparameters": list(_hyperparameter_rows(details)),
        "settings": details.settings,
        "data": list(_data_rows(details)),
        "cuts": details.cuts,
        "metadata": {name: text[:TEXT_LENGTH] for name, text in job.metadata.items()},
        "events": [_event_row(event) for event in details.events],
    }


def status_tone(status: str) -> str:
    """Return the tone of a status: the name of its colour in the style sheet."""
    return TONES.get(status, "info")


def epoch_text(step: int, total: int, epochs: int) -> str:
    """Return the epoch of a step, such as "epoch 1.5 of 3", or "" if the total is unknown."""
    return f"epoch {step * epochs / total:.3g} of {epochs}" if total else ""


def finish_text(finish: datetime.datetime, now: datetime.datetime) -> str:
    """Return the estimated end of a job, in UTC, without the day if it is today."""
    day, time = format_minute(finish).split()
    return f"about {time}" if format_minute(now).startswith(day) else f"about {day} {time}"


def render_job_page(details: JobDetails, facts: Sequence[str] = ()) -> str:
    """Return a self-contained page of a job, which does not change.

    Args:
        details: The job.
        facts: Facts for the end of the page, such as where the job was read.
    """
    run = Run(details.job.id, details.metrics, details.steps_per_epoch)
    return render_page(
        "job_file.html",
        scripts=(LISTS, *SCRIPTS),
        styles=STYLES,
        charts=charts_of([run]),
        live=None,
        sources=facts,
        **page_values(details),
    )


def _facts(details: JobDetails) -> Iterator[str]:
    job = details.job
    yield job.id if job.fine_tuned_model else ""
    yield f"base model {job.model}"
    yield job.method
    yield f"created {format_minute(job.created_at)} UTC" if job.created_at else ""


def _progress(details: JobDetails) -> dict[str, Any] | None:
    """Return the progress of an unfinished training, or None."""
    if details.job.is_over or not details.total_steps or not details.last_step:
        return None
    step, total = details.last_step, max(details.total_steps, details.last_step)
    return {"step": step, "total": total, "percent": 100 * step // total}


def _tiles(details: JobDetails, verdict: Verdict) -> Iterator[tuple[str, str, str]]:
    """Yield the most important figures, each as a name, a value and a note."""
    job, step, total = details.job, details.last_step, details.total_steps
    if step:
        done = f"{step:,} of {total:,}" if total > step else f"{step:,}"
        epoch = epoch_text(step, details.total_steps, details.epochs) if details.epochs else ""
        yield "steps", done, epoch
    training, validation = details.metrics.series(TRAIN), details.metrics.series(VALID)
    if training:
        yield "training loss", f"{training[-1][1]:.4g}", f"{training[0][1]:.4g} at the start"
    if validation and verdict.best_loss is not None:
        lowest = f"lowest {verdict.best_loss:.4g} at step {verdict.best_step:,}"
        yield "validation loss", f"{validation[-1][1]:.4g}", lowest
    margins = details.metrics.series(MARGINS)
    if margins:
        yield "reward margin", f"{margins[-1][1]:.4g}", f"{margins[0][1]:.4g} at the start"
    yield from _time_tiles(details)
    if job.trained_tokens:
        yield "trained tokens", f"{job.trained_tokens:,}", ""
    if details.cost:
        yield "cost", details.cost, details.cost_note


def _time_tiles(details: JobDetails) -> Iterator[tuple[str, str, str]]:
    job, start = details.job, details.started_at or details.job.created_at
    end = job.finished_at if job.is_over else details.now
    if start and end and (details.started_at or job.is_over):
        name = "training time" if details.started_at else "duration"
        note = f"finished {format_minute(job.finished_at)} UTC" if job.is_over else ""
        yield name, format_duration((end - start).total_seconds()), note
    if job.estimated_finish and job.status in ("running", "pausing"):
        left = (job.estimated_finish - details.now).total_seconds()
        when = f"{finish_text(job.estimated_finish, details.now)} UTC"
        yield "time left", format_duration(left) if left > 0 else "almost done", when


def _checkpoint_rows(details: JobDetails, verdict: Verdict) -> list[dict[str, Any]]:
    """Return the checkpoints, newest first."""
    per_epoch, last = details.steps_per_epoch, details.job.fine_tuned_model
    newest_first = sorted(details.checkpoints, key=lambda item: -item.step)
    return [
        {
            "step": checkpoint.step,
            "epoch": f"{checkpoint.step / per_epoch:.3g}" if per_epoch else "",
            "train": _number(checkpoint.metrics, TRAIN),
            "valid": _number(checkpoint.metrics, VALID),
            "model": checkpoint.model[:TEXT_LENGTH],
            "is_best": checkpoint.step == verdict.best_step,
            "is_last": bool(last) and checkpoint is newest_first[0],
        }
        for checkpoint in newest_first
    ]


def _number(metrics: Mapping[str, float], names: Sequence[str]) -> str:
    return next((f"{metrics[name]:.4g}" for name in names if name in metrics), "")


def _hyperparameter_rows(details: JobDetails) -> Iterator[tuple[str, str, str]]:
    """Yield the hyperparameters: the name, what was requested, and what is used."""
    for name, value in details.job.hyperparameters.items():
        requested = details.requested.get(name)
        used = "chosen when training starts" if value == "auto" else _text(value)
        label = LABELS.get(name, name.replace("_", " "))[:TEXT_LENGTH]
        yield label, _text(requested) if requested is not None else "", used
    for name, label in (("user_provided_suffix", "suffix"), ("seed", "seed")):
        value = details.job.raw.get(name)
        if value not in (None, ""):
            yield label, _text(value) if label == "suffix" else "", _text(value)


def _text(value: Any) -> str:
    return (f"{value:g}" if isinstance(value, float) else str(value))[:TEXT_LENGTH]


def _data_rows(details: JobDetails) -> Iterator[dict[str, str]]:
    for file in details.files:
        facts = [format_size(file.size)] if file.size is not None else []
        if file.kind == "training" and details.examples:
            facts = [plural(details.examples, "example"), f"{details.format} format", *facts]
        yield {
            "kind": file.kind,
            "name": (file.name or file.id)[:TEXT_LENGTH],
            "id": file.id[:TEXT_LENGTH],
            "link": file.link,
            "details": ", ".join([*facts, *filter(None, [file.note])]),
        }


def _event_row(event: Event) -> dict[str, str]:
    level = event.level if event.level in ("warn", "error") else ""
    return {
        "time": format_time(event.created_at),
        "level": {"warn": "warning"}.get(level, level),
        "message": event.message[:TEXT_LENGTH],
    }
