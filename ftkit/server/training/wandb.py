"""Metrics of a job at Weights & Biases."""

from __future__ import annotations

import logging
import os
import queue
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from transformers import TrainerCallback

from ftkit.server.folder import WANDB_RUNS, Folder
from ftkit.server.objects import JobObject
from ftkit.server.reports import JobEvent, Reports
from ftkit.server.training.reporting import select_metrics

START_SECONDS = 20.0
"""Maximum seconds to start a run."""

FINISH_SECONDS = 20.0
"""Maximum seconds to upload the rest of the metrics at the end of a run."""

FLUSH_SECONDS = 1.0
"""Seconds until metrics are written to the disk, and so survive a kill of the process."""

PRIVATE_SETTINGS = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "email": "",
    "host": "",
    "program": "",
    "save_code": False,
    "username": "",
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_viewer": True,
    "x_save_requirements": False,
}
"""Settings with which nothing about the machine, its user, code and packages is logged."""

FAILURE = (
    "The metrics are not, or not completely, logged to Weights & Biases;"
    " the reason is in the log of the job"
)
"""Message of the event. The reason may name hosts and accounts of the service's operator."""

logger = logging.getLogger(__name__)


class WandbCallback(TrainerCallback):  # type: ignore[misc]
    """Trainer callback that logs the metrics of a job's events to Weights & Biases.

    Args:
        reports: Where to report failures.
        folder: Folder of the service.
        job: The job, which has an integration.
    """

    def __init__(self, reports: Reports, folder: Folder, job: JobObject) -> None:
        self._reports, self._folder, self._job = reports, folder, job
        self._run: WandbRun | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the run of the job, or resume it.

        The metrics until the checkpoint that training resumes from are logged again, since the
        process that logged them may have been killed before they were written. wandb ignores steps
        that the run has.
        """
        self._run = WandbRun(self._folder.job(self._job.id), self._job, self._warn)
        self._run.start()
        for logs in state.log_history:
            self._log(logs["step"], state.max_steps, logs)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Log the metrics of a step or of a validation."""
        self._log(state.global_step, state.max_steps, logs or {})

    def _log(self, step: int, total: int, logs: dict[str, Any]) -> None:
        metrics = select_metrics(logs, "", "train") | select_metrics(logs, "eval_", "valid")
        if self._run and metrics:
            self._run.log({"step": step, "total_steps": total, **metrics})

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Finish the run."""
        if self._run:
            self._run.finish()

    def _warn(self) -> None:
        """Add an event, unless an earlier process of the job did."""
        self._reports.add_event(JobEvent(key="wandb", message=FAILURE, level="warn"))


class WandbRun(threading.Thread):
    """Thread that logs metrics, so that training does not wait for Weights & Biases.

    Args:
        folder: Folder of the job, in which wandb keeps its files.
        job: The job, whose id is that of the run: a restarted job resumes its run.
        on_failure: Called if metrics cannot be logged, in this thread or in that of `finish`.
    """

    def __init__(self, folder: Path, job: JobObject, on_failure: Callable[[], None]) -> None:
        super().__init__(name="wandb", daemon=True)
        self._folder, self._job, self._on_failure = folder, job, on_failure
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def log(self, metrics: dict[str, Any]) -> None:
        """Log metrics, with the number of their step as `step`."""
        self._queue.put(metrics)

    def finish(self) -> None:
        """Finish the run within a limited time."""
        self._queue.put(None)
        self.join(START_SECONDS + FINISH_SECONDS)
        if self.is_alive():
            self._on_failure()

    def run(self) -> None:
        """Log metrics until the run is finished."""
        try:
            self._log_all()
        except Exception as error:  # no failure of wandb is one of the job
            logger.warning("Weights & Biases: %s", error)
            self._on_failure()

    def _log_all(self) -> None:
        # For the process that wandb starts: it would log elsewhere, and report its own errors.
        os.environ["WANDB_CACHE_DIR"] = str(self._folder / WANDB_RUNS / "cache")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        settings = wandb.Settings(
            **PRIVATE_SETTINGS,
            silent=True,
            init_timeout=START_SECONDS,
            finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
            x_transaction_log_flush_interval=FLUSH_SECONDS,
        )
        (integration,) = self._job.integrations
        run = wandb.init(
            **{"name": self._job.id, **integration["wandb"]},
            id=self._job.id,
            resume="allow",
            dir=self._folder,
            config=_describe(self._job),
            settings=settings,
        )
        while (metrics := self._queue.get()) is not None:
            run.log(metrics, step=metrics["step"])
        run.finish()
        if not run.offline:
            shutil.rmtree(self._folder / WANDB_RUNS, ignore_errors=True)


def _describe(job: JobObject) -> dict[str, Any]:
    """Return the configuration of the run: the job as its owner sees it."""
    return {
        "job": job.id,
        "model": job.model,
        "method": job.method.type,
        "seed": job.seed,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        **msgspec.to_builtins(job.hyperparameters),
    }
