"""Progress of a training job: metrics, checkpoints and estimated finish."""

from __future__ import annotations

import math
import time
from typing import Any

from transformers import TrainerCallback

from ftkit.server.reports import MAX_TIME, JobEvent, JobStart, Reports
from ftkit.server.results import PREFERENCE_METRICS
from ftkit.server.training.schedule import is_end_of_epoch

METRICS = (
    ("loss", "loss"),
    ("mean_token_accuracy", "mean_token_accuracy"),
    ("rewards/accuracies", "mean_token_accuracy"),
    *((name.replace("_", "/"), name) for name in PREFERENCE_METRICS),
)
"""Metrics that TRL's trainers log, and their names in events without `train_` and `valid_`.

The first ones have OpenAI's names. The accuracy of a DPO job is the share of examples for which it
prefers the preferred output.
"""

FULL_METRICS = ("valid_loss", "valid_mean_token_accuracy")
"""Metrics that OpenAI's checkpoints have a second time, with the prefix `full_`."""


class JobReporter(TrainerCallback):  # type: ignore[misc]
    """Trainer callback that reports metrics and checkpoints.

    Args:
        reports: Where to report.
        start: The job.
    """

    def __init__(self, reports: Reports, start: JobStart) -> None:
        self._reports, self._job_start = reports, start
        self._start = (0, time.monotonic())
        self._metrics: dict[str, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the first step and its time, and report what is not reported yet.

        The process that saved the state was killed, or lost the service, before it could report it.
        """
        first = state.global_step
        self._start = (first, time.monotonic())
        is_published = first in self._job_start.published_steps or not is_end_of_epoch(state)
        if not first:
            return
        for logs in state.log_history:
            is_needed = logs["step"] == first and not is_published
            if logs["step"] > self._job_start.reported_step or is_needed:
                self._report_logs(logs["step"], state.max_steps, logs)
        if not is_published:
            self._reports.publish(first, self._metrics)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Report the metrics of a step or of a validation."""
        self._report_logs(state.global_step, state.max_steps, logs or {})

    def _report_logs(self, step: int, total: int, logs: dict[str, Any]) -> None:
        if "loss" in logs:
            train = self._metrics = select_metrics(logs, "", "train")
            message = f"Step {step}/{total}: training loss={float(logs['loss']):.2f}"
            self._report(step, total, message, train, "train")
        if "eval_loss" in logs:
            valid = select_metrics(logs, "eval_", "valid")
            full = {f"full_{name}": valid[name] for name in FULL_METRICS if name in valid}
            self._metrics |= valid | full
            message = f"Step {step}/{total}: validation loss={float(logs['eval_loss']):.2f}"
            self._report(step, total, message, valid, "valid")

    def _report(
        self, step: int, total: int, message: str, metrics: dict[str, float], kind: str
    ) -> None:
        event = JobEvent(
            key=f"{kind} {step}",
            message=message,
            data={"step": step, "total_steps": total, **metrics},
            estimated_finish=self._estimate_finish(step, total),
        )
        self._reports.add_event(event)

    def _estimate_finish(self, step: int, total: int) -> int | None:
        """Return the Unix time at which training will end, or None before the first step."""
        first_step, start = self._start
        if step <= first_step:
            return None
        seconds_per_step = (time.monotonic() - start) / (step - first_step)
        return int(min(time.time() + (total - step) * seconds_per_step, MAX_TIME))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the progress, and publish the checkpoint as a model at the end of an epoch."""
        self._reports.commit(state.global_step)
        if is_end_of_epoch(state):
            self._reports.publish(state.global_step, self._metrics)


def select_metrics(logs: dict[str, Any], logged_prefix: str, prefix: str) -> dict[str, float]:
    """Return the logged metrics by their names in events, without those that JSON cannot express.

    Args:
        logs: Metrics by TRL's names.
        logged_prefix: Prefix of TRL's names: "" for training, "eval_" for validation.
        prefix: Prefix of the names in events: "train" or "valid".
    """
    return {
        f"{prefix}_{name}": float(logs[key])
        for logged_name, name in METRICS
        if (key := f"{logged_prefix}{logged_name}") in logs and math.isfinite(float(logs[key]))
    }
