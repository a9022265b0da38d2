"""What the training was like: the result file and the checkpoints of a job, by step."""

from __future__ import annotations

import base64
import binascii
import contextlib
import csv
import math
from collections.abc import Iterable
from typing import Any, TypeGuard

from msgspec import Struct

from ftkit.client.client import Client
from ftkit.client.resources import Checkpoint, Job
from ftkit.errors import FtkitError, NotFoundError

TRAIN, VALID = ("train_loss",), ("full_valid_loss", "valid_loss")
"""The columns of the losses, the better first. Services do not name them alike, so columns are read by name."""

WORSE = 1.1
"""How far above its best the validation loss is when training and validation are said to part."""


class Metrics(Struct, frozen=True):
    """The measured steps of a job: for each its number and the values by column, None where a step has none."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, float | None], ...]

    def series(self, names: Iterable[str]) -> list[tuple[int, float]]:
        """Steps and values of the first of the columns that has any; what is no finite number is left out."""
        for name in names:
            found = [
                (int(row["step"] or 0), value)
                for row in self.rows
                if is_finite(value := row.get(name))
            ]
            if found:
                return found
        return []


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether that is a number that can be compared and drawn: the losses of training that diverges are none."""
    return isinstance(value, (int, float)) and math.isfinite(value)


class Verdict(Struct, frozen=True):
    """The best step by validation loss, and the step from which validation gets worse while training gets better."""

    best_step: int | None
    best_loss: float | None
    parts_at: int | None


def read_results(content: bytes) -> Metrics:
    """The metrics in a result file: CSV, or CSV in base64 as some services send it. Raises `FtkitError`."""
    reader = csv.DictReader(
        decoded(content).decode("utf-8-sig", "replace").replace("\0", "").splitlines()
    )
    columns = tuple(name.strip() for name in reader.fieldnames or ())
    if "step" not in columns:
        raise FtkitError(
            f"the result file has no column 'step' but {', '.join(columns)[:100] or 'nothing'}"
        )
    reader.fieldnames = list(columns)
    try:
        rows = [{name: _number(row.get(name)) for name in columns} for row in reader]
    except csv.Error as error:
        raise FtkitError(f"the result file is no CSV: {error}") from error
    return Metrics(
        columns,
        tuple({**row, "step": _whole(step)} for row in rows if is_finite(step := row["step"])),
    )


def decoded(content: bytes) -> bytes:
    """The CSV in a result file, which some services send in base64."""
    if b"," not in content.partition(b"\n")[0]:
        with contextlib.suppress(binascii.Error, ValueError):
            found = base64.b64decode(b"".join(content.split()), validate=True)
            return found if b"," in found.partition(b"\n")[0] else content
    return content


def _whole(number: float) -> float:
    """The number as an integer, where it is one."""
    return int(number) if float(number).is_integer() else number


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text and text.strip() else None
    except ValueError:
        return None


def from_checkpoints(checkpoints: Iterable[Checkpoint]) -> Metrics:
    """The metrics of checkpoints, for a job that has no result file yet."""
    ordered = sorted(checkpoints, key=lambda checkpoint: checkpoint.step)
    names = dict.fromkeys(
        name for checkpoint in ordered for name in checkpoint.metrics if name != "step"
    )
    columns = ("step", *names)
    return Metrics(
        columns,
        tuple({**dict.fromkeys(names), **each.metrics, "step": each.step} for each in ordered),
    )


def job_metrics(client: Client, job: Job) -> Metrics:
    """The metrics of a job: of its result file if there is one, else of its checkpoints."""
    for id in job.result_files:
        try:
            return read_results(client.content(id))
        except NotFoundError:
            continue
    return from_checkpoints(client.checkpoints(job.id))


def judge(metrics: Metrics) -> Verdict:
    """Which step was best by validation loss, and where training and validation part."""
    valid = metrics.series(VALID)
    if not valid:
        return Verdict(None, None, None)
    step, loss = min(valid, key=lambda point: (point[1], point[0]))
    later = [point for point in valid if point[0] > step]
    train = dict(metrics.series(TRAIN))
    falls = bool(train) and train[max(train)] < train.get(step, max(train.values()))
    parts = (
        next((at for at, value in later if value > WORSE * loss), None) if falls and later else None
    )
    return Verdict(step, loss, parts)
