"""Progress of a training job: metrics, checkpoints and estimated finish, written to the store."""

from __future__ import annotations

import json
import math
import shutil
import time
from typing import Any

from transformers import TrainerCallback

from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.lifecycle import add_checkpoint, add_event, has_checkpoint
from ftkit.server.objects import JobObject
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
        store: Database of the service.
        folder: Folder of the service.
        job: The job.
        save_total_limit: Number of checkpoints to keep as models.
    """

    def __init__(
        self, store: Database, folder: Folder, job: JobObject, save_total_limit: int
    ) -> None:
        self._store, self._folder, self._job = store, folder, job
        self._save_total_limit = save_total_limit
        self._start = (0, time.monotonic())
        self._metrics: dict[str, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the first step and its time, and report a checkpoint that is not reported yet."""
        self._start = (state.global_step, time.monotonic())
        if (
            state.global_step
            and is_end_of_epoch(state)
            and not has_checkpoint(self._store, self._job, state.global_step)
        ):
            self._report_resumed_checkpoint(args, state, control)

    def _report_resumed_checkpoint(self, args: Any, state: Any, control: Any) -> None:
        """Report the checkpoint that training resumes from.

        The process that saved it was killed before it could report it.
        """
        for logs in state.log_history:
            if logs["step"] == state.global_step:
                self.on_log(args, state, control, logs)
        self._publish(state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Report the metrics of a step or of a validation."""
        step, total, logs = state.global_step, state.max_steps, logs or {}
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
        """Note the progress, and publish the checkpoint as a model at the end of an epoch."""
        self._store.change(JobObject, self._job.id, JobObject.note_progress)
        if is_end_of_epoch(state):
            self._publish(state.global_step)

    def _publish(self, step: int) -> None:
        """Publish a checkpoint as a model."""
        publish_adapter(self._folder, self._job, step)
        expired = add_checkpoint(
            self._store, self._job, step, self._metrics, self._save_total_limit
        )
        for old_step in expired:
            shutil.rmtree(self._folder.adapter(self._job.id, old_step), ignore_errors=True)


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
