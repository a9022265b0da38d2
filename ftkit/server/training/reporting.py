"""Progress of a training job: metrics, checkpoints and estimated finish, written to the store."""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from typing import Any

from transformers import TrainerCallback

from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.lifecycle import add_checkpoint, add_event, has_checkpoint
from ftkit.server.objects import JobObject

TRAIN_METRICS = {
    "loss": "train_loss",
    "mean_token_accuracy": "train_mean_token_accuracy",
    "rewards/accuracies": "train_mean_token_accuracy",
}
VALID_METRICS = {
    "eval_loss": "valid_loss",
    "eval_mean_token_accuracy": "valid_mean_token_accuracy",
    "eval_rewards/accuracies": "valid_mean_token_accuracy",
}
"""OpenAI's names of the metrics that TRL's trainers log.

The accuracy of a DPO job is the share of examples for which it prefers the preferred output.
"""


class JobReporter(TrainerCallback):  # type: ignore[misc]
    """Trainer callback that reports metrics and checkpoints, and stops training for a pause.

    Args:
        store: Database of the service.
        folder: Folder of the service.
        job: The job.
        pause: Set when the job is to be paused.

    Attributes:
        paused: True if training was stopped for a pause.
    """

    def __init__(
        self, store: Database, folder: Folder, job: JobObject, pause: threading.Event
    ) -> None:
        self._store, self._folder, self._job, self._pause = store, folder, job, pause
        self._start = (0, time.monotonic())
        self._metrics: dict[str, Any] = {}
        self.paused = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the first step and its time, and report a checkpoint that is not reported yet."""
        self._start = (state.global_step, time.monotonic())
        if state.global_step and not has_checkpoint(self._store, self._job, state.global_step):
            self._report_resumed_checkpoint(args, state, control)

    def _report_resumed_checkpoint(self, args: Any, state: Any, control: Any) -> None:
        """Report the checkpoint that training resumes from.

        The process that saved it was killed before it could report it.
        """
        for logs in state.log_history:
            if logs["step"] == state.global_step:
                self.on_log(args, state, control, logs)
        self.on_save(args, state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop training if a pause was requested, except after the last step."""
        if self._pause.is_set() and state.global_step < state.max_steps:
            control.should_training_stop = self.paused = True
            # The end of an epoch is saved anyway, after its validation.
            control.should_save = not _is_end_of_epoch(state)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Report the metrics of a step or of a validation."""
        step, total, logs = state.global_step, state.max_steps, logs or {}
        train, valid = select_metrics(logs, TRAIN_METRICS), select_metrics(logs, VALID_METRICS)
        if "loss" in logs:
            self._metrics = train
            message = f"Step {step}/{total}: training loss={float(logs['loss']):.2f}"
            self._report(step, total, message, train, "train")
        if "eval_loss" in logs:
            self._metrics |= valid | {f"full_{name}": value for name, value in valid.items()}
            message = f"Step {step}/{total}: validation loss={float(logs['eval_loss']):.2f}"
            self._report(step, total, message, valid, "valid")

    def _report(
        self, step: int, total: int, message: str, metrics: dict[str, float], kind: str
    ) -> None:
        with self._store.transaction():
            data = {"step": step, "total_steps": total, **metrics}
            add_event(
                self._store,
                self._job.id,
                self._job.tenant,
                message,
                data=data,
                key=f"{kind} {step}",
            )
            self._store.change(
                JobObject,
                self._job.id,
                lambda job: setattr(job, "estimated_finish", self._estimate_finish(step, total)),
            )

    def _estimate_finish(self, step: int, total: int) -> int | None:
        """Return the Unix time at which training will end, or None before the first step."""
        first_step, start = self._start
        if step <= first_step:
            return None
        seconds_per_step = (time.monotonic() - start) / (step - first_step)
        return int(time.time() + (total - step) * seconds_per_step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Publish a checkpoint as a model, unless it was saved in mid-epoch for a pause."""
        if not _is_end_of_epoch(state):
            return
        step = state.global_step
        publish_adapter(self._folder, self._job, step)
        for expired in add_checkpoint(self._store, self._job, step, self._metrics):
            shutil.rmtree(self._folder.adapter(self._job.id, expired), ignore_errors=True)


def _is_end_of_epoch(state: Any) -> bool:
    return bool(abs(state.epoch - round(state.epoch)) < 1e-6)


def select_metrics(logs: dict[str, Any], names: dict[str, str]) -> dict[str, float]:
    """Return the logged metrics by OpenAI's names, without those that JSON cannot express."""
    return {
        name: float(logs[key])
        for key, name in names.items()
        if key in logs and math.isfinite(float(logs[key]))
    }


def publish_adapter(folder: Folder, job: JobObject, step: int) -> None:
    """Copy the adapter of a checkpoint to its place in the service's folder, atomically."""
    checkpoint = folder.job(job.id) / "checkpoints" / f"checkpoint-{step}"
    adapter = folder.adapter(job.id, step)
    temporary = adapter.with_name(f"{adapter.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    weights = "adapter_model.safetensors"
    shutil.copyfile(checkpoint / weights, temporary / weights)
    config = json.loads((checkpoint / "adapter_config.json").read_bytes())
    (temporary / "adapter_config.json").write_text(
        json.dumps({**config, "base_model_name_or_path": job.base}, indent=2)
    )
    shutil.rmtree(adapter, ignore_errors=True)
    temporary.rename(adapter)
