"""Training of a job, from its files to an adapter, with TRL's trainers and LoRA from PEFT."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import torch
from datasets import Dataset
from transformers import TrainerCallback, set_seed

from ftkit.errors import EncodingError
from ftkit.server.database import Database
from ftkit.server.exits import MEMORY_EXIT_CODE
from ftkit.server.folder import Folder
from ftkit.server.lifecycle import add_event, add_model, fail, transition, tuned_name
from ftkit.server.objects import (
    EventObject,
    FileObject,
    JobError,
    JobHyperparameters,
    JobObject,
    JobStatus,
    now,
)
from ftkit.server.out_of_memory import is_out_of_memory, memory_advice
from ftkit.server.recipes import Recipe, resolve_hyperparameters, restore_recipe
from ftkit.server.results import results_csv
from ftkit.server.training.base import BaseModel, job_error, load_base_model, load_reason
from ftkit.server.training.dataset import encode_file
from ftkit.server.training.encoding import Encoder
from ftkit.server.training.ranks import Rank, count_ranks, launch_ranks, process_group
from ftkit.server.training.reporting import JobReporter, publish_adapter
from ftkit.server.training.schedule import SaveSchedule
from ftkit.server.training.trainers import TrainingRun, create_trainer
from ftkit.server.training.wandb import WandbCallback

ENDING: tuple[JobStatus, ...] = ("running", "pausing")
"""Statuses from which a job may succeed, since it may finish before it can pause."""

logger = logging.getLogger(__name__)


def train(store: Database, folder: Folder, job: JobObject, pause: threading.Event) -> None:
    """Train a job from its last checkpoint, and set its final status.

    Args:
        store: Database of the service.
        folder: Folder of the service.
        job: The job. Nothing is done unless it is queued.
        pause: Stops training when it is set; the server then sets the status.
    """
    if not transition(store, job.id, ("queued",), "running", "Fine-tuning job started"):
        return
    recipe = restore_recipe(job.base, job.recipe)
    schedule = SaveSchedule(pause)
    try:
        _train(store, folder, job, recipe, schedule)
    except Exception as error:
        failure = _explain(error, recipe, job.base)
        # If memory sufficed until a state was saved, something else may have taken it since, so the
        # process is restarted like after a crash.
        if failure is None or (failure.code == "out_of_memory" and schedule.saved):
            raise
        fail(store, job.id, failure.code, failure.message, failure.param)


def _explain(error: Exception, recipe: Recipe, base: str) -> JobError | None:
    """Return the error with which a job fails, or None for an unexpected exception."""
    if is_out_of_memory(error):
        message = f"The training needs more memory than is free; {memory_advice(recipe, base)}"
        logger.warning("%s (%s)", message, load_reason(error))
        return JobError("out_of_memory", message, None)
    return job_error(error)


def _train(
    store: Database, folder: Folder, job: JobObject, recipe: Recipe, schedule: SaveSchedule
) -> None:
    base = load_base_model(job.base, recipe)
    run = _plan_run(folder, job, base)
    _show_hyperparameters(store, run)
    if run.ranks > 1:
        add_event(store, job.id, job.tenant, f"Training on {run.ranks} devices", key="devices")
    callbacks = [schedule, JobReporter(store, folder, job, recipe.save_total_limit)]
    if job.integrations:
        callbacks.append(WandbCallback(store, folder, job))
    with launch_ranks(folder.root, job.id, run.job_folder, run.ranks):
        steps, tokens = _train_run(run, base, folder, callbacks)
    if not schedule.paused:
        _succeed(store, folder, job, steps, run.hyperparameters.epochs * tokens)


def train_rank(folder: Folder, job: JobObject, rank: Rank) -> None:
    """Train a job as a process of a rank from 1; the process of rank 0 runs `train`.

    Args:
        folder: Folder of the service.
        job: The job.
        rank: Rank of this process.
    """
    try:
        base = load_base_model(job.base, restore_recipe(job.base, job.recipe))
        run = _plan_run(folder, job, base)
        with process_group(rank):
            _train_run(run, base, folder, [SaveSchedule(threading.Event())])
    except Exception as error:
        if is_out_of_memory(error):
            logger.exception("out of memory")
            os._exit(MEMORY_EXIT_CODE)
        if job_error(error) is None:
            raise
        threading.Event().wait()  # for rank 0, which has the same error, and fails the job


def _plan_run(folder: Folder, job: JobObject, base: BaseModel) -> TrainingRun:
    method = job.method.type
    requested = msgspec.to_builtins(job.hyperparameters)
    hyperparameters = resolve_hyperparameters(base.recipe, requested, method, job.examples)
    return TrainingRun(
        job=job,
        job_folder=folder.job(job.id),
        recipe=base.recipe,
        hyperparameters=hyperparameters,
        ranks=1 if base.vision else count_ranks(base.recipe, method, hyperparameters.batch_size),
    )


def _train_run(
    run: TrainingRun, base: BaseModel, folder: Folder, callbacks: list[TrainerCallback]
) -> tuple[int, int]:
    """Train from the last checkpoint. Return the number of steps, and of tokens in an epoch."""
    set_seed(run.job.seed)
    torch.set_num_threads(run.recipe.threads or torch.get_num_threads())
    encoder = base.encoder(base.max_tokens(run.method))
    datasets = {name: _load_dataset(run, encoder, name) for name in run.job.hashes}
    trainer = create_trainer(run, base, folder, datasets, callbacks)
    trainer.train(resume_from_checkpoint=_last_checkpoint(run.job_folder))
    return trainer.state.global_step, _count_tokens(datasets["training"])


def _show_hyperparameters(store: Database, run: TrainingRun) -> None:
    """Replace the requested hyperparameters of the job with the resolved ones."""
    resolved = msgspec.convert(run.hyperparameters.as_json(run.method), JobHyperparameters)
    store.change(JobObject, run.job.id, lambda job: job.set_hyperparameters(resolved))


def _load_dataset(run: TrainingRun, encoder: Encoder, name: str) -> Dataset:
    """Load the training or validation file of a job, tokenized.

    Raises:
        EncodingError: The base model cannot be trained on an example, or no example fits.
    """
    file = encode_file(run.job_folder / f"{name}.jsonl", encoder, run.job.format)
    if file.refused:
        first = file.refused[0]
        raise EncodingError(f"line {first.line} of the {name} file: {first.reason}")
    if not file.encoded:
        raise EncodingError("no example has anything to learn within the maximum length")
    return Dataset.from_dict(
        {
            column: [getattr(item, column) for item in file.encoded]
            for column in _columns(run.job.format)
        }
    )


def _columns(format: str) -> tuple[str, ...]:
    """Return the columns of a tokenized dataset, as TRL's trainers expect them."""
    if format == "preference":
        return ("prompt_ids", "chosen_ids", "rejected_ids")
    return ("input_ids", "labels", "image_prompt", "image_count", "path", "offset")


def _count_tokens(dataset: Dataset) -> int:
    """Return the number of tokens that go through the model in an epoch."""
    if "input_ids" in dataset.column_names:
        return sum(map(len, dataset["input_ids"]))
    # The prompt is evaluated with the chosen and with the rejected completion.
    columns = ("prompt_ids", "prompt_ids", "chosen_ids", "rejected_ids")
    return sum(sum(map(len, dataset[column])) for column in columns)


def _last_checkpoint(job_folder: Path) -> str | None:
    """Return the path of the last complete checkpoint, or None."""
    checkpoints = [
        path for path in (job_folder / "checkpoints").glob("checkpoint-*") if _is_complete(path)
    ]
    last = max(checkpoints, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return str(last) if last else None


def _is_complete(checkpoint: Path) -> bool:
    """Return True if the trainer saved its state, which is the last file that it writes."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _succeed(store: Database, folder: Folder, job: JobObject, steps: int, tokens: int) -> None:
    """Store the results and the model, and end the job, in one transaction."""
    if not folder.adapter(job.id, steps).exists():
        publish_adapter(folder, job, steps)
    metrics = [
        event.data for event in store.children(EventObject, job.id) if event.type == "metrics"
    ]
    name = tuned_name(job)
    with store.transaction():
        current = store.get(JobObject, job.id)
        if current is None or current.status not in ENDING:
            return
        stored = folder.keep_bytes(results_csv(metrics))
        file = FileObject(
            tenant=job.tenant,
            bytes=stored.size,
            filename="step_metrics.csv",
            purpose="fine-tune-results",
            sha256=stored.sha256,
        )
        result: dict[str, Any] = {
            "fine_tuned_model": name,
            "result_files": [file.id],
            "trained_tokens": tokens,
            "finished_at": now(),
            "estimated_finish": None,
        }
        store.add(file)
        add_model(store, job, name, steps)
        add_event(store, job.id, job.tenant, f"New fine-tuned model created: {name}")
        transition(
            store, job.id, ENDING, "succeeded", "The job has successfully completed", **result
        )
