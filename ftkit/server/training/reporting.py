"""What training tells the service: steps with their losses, checkpoints, and when it will be done."""

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

TRAIN = {
    "loss": "train_loss",
    "mean_token_accuracy": "train_mean_token_accuracy",
    "rewards/accuracies": "train_mean_token_accuracy",
}
VALID = {
    "eval_loss": "valid_loss",
    "eval_mean_token_accuracy": "valid_mean_token_accuracy",
    "eval_rewards/accuracies": "valid_mean_token_accuracy",
}
"""The protocol's names of the figures that the trainers log. A dpo job's accuracy is how often it prefers the right answer."""


class Reporting(TrainerCallback):  # type: ignore[misc]
    """Reports to the store at every log, keeps each checkpoint's adapter, and stops where a pause is asked for."""

    def __init__(
        self, store: Database, folder: Folder, job: JobObject, pause: threading.Event
    ) -> None:
        self._store, self._folder, self._job, self._pause = store, folder, job, pause
        self._begun = (0, time.monotonic())
        self._last: dict[str, Any] = {}
        self.paused = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._begun = (state.global_step, time.monotonic())
        if state.global_step and not has_checkpoint(self._store, self._job, state.global_step):
            self._make_up(args, state, control)

    def _make_up(self, args: Any, state: Any, control: Any) -> None:
        """Tell of the checkpoint that training goes on from, as the process that made it was killed before it could."""
        for logs in state.log_history:
            if logs["step"] == state.global_step:
                self.on_log(args, state, control, logs)
        self.on_save(args, state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._pause.is_set() and state.global_step < state.max_steps:
            control.should_training_stop = self.paused = True
            control.should_save = not _ends_epoch(
                state
            )  # the end of an epoch is saved anyway, after its validation

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        step, total, logs = state.global_step, state.max_steps, logs or {}
        trained, valid = _figures(logs, TRAIN), _figures(logs, VALID)
        if "loss" in logs:
            self._last = trained
            message = f"Step {step}/{total}: training loss={float(logs['loss']):.2f}"
            self._report(step, total, message, trained, "train")
        if "eval_loss" in logs:
            self._last |= valid | {f"full_{name}": value for name, value in valid.items()}
            message = f"Step {step}/{total}: validation loss={float(logs['eval_loss']):.2f}"
            self._report(step, total, message, valid, "valid")

    def _report(
        self, step: int, total: int, message: str, figures: dict[str, float], kind: str
    ) -> None:
        with self._store.transaction():
            data = {"step": step, "total_steps": total, **figures}
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
                lambda job: setattr(job, "estimated_finish", self._finish(step, total)),
            )

    def _finish(self, step: int, total: int) -> int | None:
        """When the job will be done, in seconds since 1970, as far as the steps so far can tell."""
        first, begun = self._begun
        if step <= first:
            return None
        return int(time.time() + (total - step) * (time.monotonic() - begun) / (step - first))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A checkpoint is on the disk: keep its adapter, and tell of it, unless it was only made for a pause."""
        if not _ends_epoch(state):
            return
        step = state.global_step
        keep_adapter(self._folder, self._job, step)
        for old in add_checkpoint(self._store, self._job, step, self._last):
            shutil.rmtree(self._folder.adapter(self._job.id, old), ignore_errors=True)


def _ends_epoch(state: Any) -> bool:
    return bool(abs(state.epoch - round(state.epoch)) < 1e-6)


def _figures(logs: dict[str, Any], names: dict[str, str]) -> dict[str, float]:
    """The figures under the protocol's names. A loss that has run away is no number, and JSON has none for it."""
    return {
        name: float(logs[key])
        for key, name in names.items()
        if key in logs and math.isfinite(float(logs[key]))
    }


def keep_adapter(folder: Folder, job: JobObject, step: int) -> None:
    """Copy the adapter out of a checkpoint, whole or not at all."""
    found = folder.job(job.id) / "checkpoints" / f"checkpoint-{step}"
    kept = folder.adapter(job.id, step)
    aside = kept.with_name(f"{kept.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    shutil.copyfile(found / "adapter_model.safetensors", aside / "adapter_model.safetensors")
    config = json.loads((found / "adapter_config.json").read_bytes())
    (aside / "adapter_config.json").write_text(
        json.dumps({**config, "base_model_name_or_path": job.base}, indent=2)
    )
    shutil.rmtree(kept, ignore_errors=True)
    aside.rename(kept)
