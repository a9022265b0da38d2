"""Training metrics of a job by step, from its result file, or its events and checkpoints."""

from __future__ import annotations

import base64
import binascii
import contextlib
import csv
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, TypeGuard

from msgspec import Struct

from ftkit._text import printable
from ftkit.client.client import Client
from ftkit.client.resources import Checkpoint, Event, Job
from ftkit.errors import FtkitError, NotFoundError

TRAIN, VALID = ("train_loss",), ("full_valid_loss", "valid_loss")
"""Names of the columns of the losses, the most accurate first; they differ between providers."""

MARGINS = ("valid_rewards_margins", "train_rewards_margins")
"""Names of the columns of the reward margins of a DPO job, the most accurate first."""

OVERFITTING_RATIO = 1.1
"""Ratio of a validation loss to the lowest one from which the model counts as overfitted."""


MAX_BYTES = 16 << 20
"""Maximum size of a result file."""

MAX_VALUES = 1_000_000
"""Maximum number of values in a result file: 200,000 steps with OpenAI's five columns."""

MAX_EVENTS = 200_000
"""Maximum number of events that are read, newest first."""

MAX_VALUE = 1e307
"""Values from here on are not plotted: their differences may be infinite."""


class MetricSeries(Protocol):
    """Metrics by step, such as `Metrics`."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns, among them "step"."""
        ...

    def series(self, names: Iterable[str]) -> list[tuple[int, float]]:
        """Return steps and plottable values of the first of the columns that has any."""
        ...


class Metrics(Struct, frozen=True):
    """Metrics of the training steps of a job.

    Attributes:
        columns: Names of the columns, among them "step".
        rows: Values by column for each step; None where a step has no value.
    """

    columns: tuple[str, ...]
    rows: tuple[dict[str, float | None], ...]

    def series(self, names: Iterable[str]) -> list[tuple[int, float]]:
        """Return steps and plottable values of the first of the columns that has any."""
        for name in names:
            points = [
                (int(row["step"] or 0), value)
                for row in self.rows
                if is_plottable(value := row.get(name))
            ]
            if points:
                return points
        return []


class Verdict(Struct, frozen=True):
    """Assessment of a training by its losses.

    Attributes:
        best_step: Step with the lowest validation loss, or None without validation losses.
        best_loss: Validation loss of that step.
        overfits_from: First later step whose validation loss is higher by `OVERFITTING_RATIO`
            while the training loss falls, or None.
    """

    best_step: int | None
    best_loss: float | None
    overfits_from: int | None


def is_plottable(value: Any) -> TypeGuard[float]:
    """Return True for a number below `MAX_VALUE`. Losses of a diverging training are not."""
    return isinstance(value, (int, float)) and -MAX_VALUE < value < MAX_VALUE


def total_steps(event: Mapping[str, Any]) -> int:
    """Return the number of steps of the training that the data of an event has, or 0."""
    total = event.get("total_steps")
    return int(total) if is_plottable(total) else 0


def read_results(content: bytes) -> Metrics:
    """Return the metrics in a result file, which is CSV or, at some providers, CSV in base64.

    Raises:
        FtkitError: The file is not CSV, too large, or has no column "step".
    """
    if len(content) > MAX_BYTES:
        raise FtkitError(
            f"the result file has {len(content):,} bytes, and at most {MAX_BYTES:,} are read"
        )
    text = decode_results(content).decode("utf-8-sig", "replace").replace("\0", "")
    try:
        columns, rows = _parse_rows(text.splitlines())
    except csv.Error as error:
        raise FtkitError(f"the result file is not CSV: {error}") from error
    return Metrics(
        columns,
        tuple(
            {**row, "step": int(step) if float(step).is_integer() else step}
            for row in rows
            if is_plottable(step := row["step"])
        ),
    )


def _parse_rows(lines: list[str]) -> tuple[tuple[str, ...], list[dict[str, float | None]]]:
    """Return the columns and the rows of the lines of a result file."""
    reader = csv.DictReader(lines)
    columns = tuple(name.strip() for name in reader.fieldnames or ())
    if "step" not in columns:
        names = printable(", ".join(columns)[:100]) or "none"
        raise FtkitError(f"the result file has no column 'step' (columns: {names})")
    if len(columns) * len(lines) > MAX_VALUES:
        raise FtkitError(
            f"the result file has {len(columns):,} columns and {len(lines):,} lines, and at most"
            f" {MAX_VALUES:,} values are read"
        )
    reader.fieldnames = list(columns)
    return columns, [{name: _parse_number(row.get(name)) for name in columns} for row in reader]


def decode_results(content: bytes) -> bytes:
    """Return the CSV of a result file, which some providers encode in base64."""
    if b"," not in content.partition(b"\n")[0]:
        with contextlib.suppress(binascii.Error, ValueError):
            decoded = base64.b64decode(b"".join(content.split()), validate=True)
            return decoded if b"," in decoded.partition(b"\n")[0] else content
    return content


def _parse_number(text: str | None) -> float | None:
    try:
        return float(text) if text and text.strip() else None
    except ValueError:
        return None


def from_checkpoints(checkpoints: Iterable[Checkpoint], events: Iterable[Event] = ()) -> Metrics:
    """Return the metrics of a job without a result file.

    Args:
        checkpoints: Its checkpoints. Their metrics are averages over more data, so they take
            precedence over those of an event at the same step.
        events: Its events, which have the metrics of every step; those of other types are skipped.

    Raises:
        FtkitError: There are more than `MAX_VALUES` values.
    """
    values: dict[int, dict[str, float]] = {}
    for event in events:
        step = event.data.get("step")
        losses = {
            name: value
            for name, value in event.data.items()
            if name not in ("step", "total_steps")
            and is_plottable(value)
            and not isinstance(value, bool)
        }
        if is_plottable(step) and losses:
            values.setdefault(int(step), {}).update(losses)
    for checkpoint in checkpoints:
        values.setdefault(checkpoint.step, {}).update(checkpoint.metrics)
    names = dict.fromkeys(name for metrics in values.values() for name in metrics)
    names.pop("step", None)
    if (len(names) + 1) * len(values) > MAX_VALUES:
        raise FtkitError(
            f"the job has {len(names):,} metrics of {len(values):,} steps, and at most"
            f" {MAX_VALUES:,} values are read"
        )
    rows = (
        {"step": step, **{name: metrics.get(name) for name in names}}
        for step, metrics in sorted(values.items())
    )
    return Metrics(("step", *names), tuple(rows))


def job_metrics(client: Client, job: Job) -> Metrics:
    """Return the metrics of a job.

    They come from its result file. A job that has none yet has events and checkpoints.

    Raises:
        FtkitError: There are too many metrics, or the result file cannot be read.
        UsageError: There is no result file, and the provider has neither events nor checkpoints.
    """
    for id in job.result_files:
        try:
            return read_results(client.content(id))
        except NotFoundError:
            continue
    lacks = client.api.lacks
    has_events = "events" not in lacks
    if not has_events:
        client.require("checkpoints")
    return from_checkpoints(
        client.checkpoints(job.id) if "checkpoints" not in lacks else (),
        islice(client.events(job.id), MAX_EVENTS) if has_events else (),
    )


def assess(metrics: MetricSeries) -> Verdict:
    """Return the best step by validation loss, and the step from which the model overfits."""
    validation = metrics.series(VALID)
    if not validation:
        return Verdict(None, None, None)
    best_step, best_loss = min(validation, key=lambda point: (point[1], point[0]))
    training = dict(metrics.series(TRAIN))
    training_loss_falls = bool(training) and training[max(training)] < training.get(
        best_step, max(training.values())
    )
    overfitted = (
        step
        for step, loss in validation
        if step > best_step and loss > OVERFITTING_RATIO * best_loss
    )
    return Verdict(best_step, best_loss, next(overfitted, None) if training_loss_falls else None)
