"""Result file of a job: metrics by step, with the columns of OpenAI's."""

from __future__ import annotations

import csv
import io
from typing import Any

COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")

EVENT_NAMES = {"train_accuracy": "train_mean_token_accuracy"}
"""Names that columns have in the data of events, where they differ."""


def results_csv(metrics: list[dict[str, Any]]) -> bytes:
    """Return the result file as CSV.

    Args:
        metrics: Data of the job's metrics events. Those of the same step become one row.
    """
    rows: dict[int, dict[str, Any]] = {}
    for data in metrics:
        rows.setdefault(data["step"], {}).update(data)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for _, row in sorted(rows.items()):
        writer.writerow([row.get(EVENT_NAMES.get(column, column), "") for column in COLUMNS])
    return text.getvalue().encode()
