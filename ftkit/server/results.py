"""Result file of a job: metrics by step, with the columns of OpenAI's.

Files of DPO jobs have more columns, for which OpenAI's names are not known.
"""

from __future__ import annotations

import csv
import io
from typing import Any

COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")

PREFERENCE_METRICS = (
    "rewards_chosen",
    "rewards_rejected",
    "rewards_margins",
    "rewards_accuracies",
    "logps_chosen",
    "logps_rejected",
)
"""Metrics of DPO jobs, for training and validation: the names of TRL's `DPOTrainer`."""

PREFERENCE_COLUMNS = tuple(
    f"{split}_{name}" for split in ("train", "valid") for name in PREFERENCE_METRICS
)
"""Columns of these metrics, named as in the data of events."""

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
    used = set().union(*rows.values())
    columns = (*COLUMNS, *(column for column in PREFERENCE_COLUMNS if column in used))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for _, row in sorted(rows.items()):
        writer.writerow([row.get(EVENT_NAMES.get(column, column), "") for column in columns])
    return text.getvalue().encode()
