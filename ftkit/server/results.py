"""The result file of a job: its losses and accuracies by step, with the columns that OpenAI's has."""

from __future__ import annotations

import csv
import io
from typing import Any

COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")
NAMES = {"train_accuracy": "train_mean_token_accuracy"}
"""Columns whose figures have another name in events."""


def results_csv(metrics: list[dict[str, Any]]) -> bytes:
    """The result file of the figures that were reported, as CSV; figures of one step stand in one row."""
    rows: dict[int, dict[str, Any]] = {}
    for each in metrics:
        rows.setdefault(each["step"], {}).update(each)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for _, row in sorted(rows.items()):
        writer.writerow([row.get(NAMES.get(column, column), "") for column in COLUMNS])
    return text.getvalue().encode()
