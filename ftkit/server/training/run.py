"""Training of a job, from its files to an adapter, with TRL's trainers and LoRA from PEFT."""

from __future__ import annotations

import logging
import os
import threading

import msgspec
import torch
from datasets import Dataset
from transformers import TrainerCallback, set_seed

from ftkit.errors import EncodingError
from ftkit.server.attempts import last_checkpoint
from ftkit.server.exits import MEMORY_EXIT_CODE
from ftkit.server.folder import Folder
from ftkit.server.objects import JobError, JobHyperparameters
from ftkit.server.out_of_memory import is_out_of_memory, memory_advice
from ftkit.server.recipes import Recipe, resolve_hyperparameters, restore_recipe
from ftkit.server.reports import JobEvent, JobStart, Reports
from ftkit.server.training.base import BaseModel, job_error, load_base_model, load_reason
from ftkit.server.training.dataset import encode_file
from ftkit.server.training.encoding import Encoder
from ftkit.server.training.ranks import Rank, count_ranks, launch_ranks, process_group
from ftkit.server.training.reporting import JobReporter
from ftkit.server.training.schedule import SaveSchedule
from ftkit.server.training.trainers import TrainingRun, create_trainer
from ftkit.server.training.wandb import WandbCallback

logger = logging.getLogger(__name__)


def train(reports: Reports, folder: Folder, pause: threading.Event) -> None:
    """Train a job from its last checkpoint, and end it.

    Args:
        reports: Where to report. Nothing is done unless the job is queued.
        folder: Data folder of the service.
        pause: Stops training when it is set; the server then sets the status.
    """
    start = reports.begin()
    if start is None:
        return
    job = start.job
    recipe = restore_recipe(job.base, job.recipe)
    schedule = SaveSchedule(pause)
    try:
        _train(reports, folder, start, recipe, schedule)
    except Exception as error:
        failure = _explain(error, recipe, job.base)
        # If memory sufficed until a state was saved, something else may have taken it since, so the
        # process is restarted like after a crash.
        if failure is None or (failure.code == "out_of_memory" and schedule.saved):
            raise
        reports.fail(failure)


def _explain(error: Exception, recipe: Recipe, base: str) -> JobError | None:
    """Return the error with which a job fails, or None for an unexpected exception."""
    if is_out_of_memory(error):
        message = f"The training needs more memory than is free; {memory_advice(recipe, base)}"
        logger.warning("%s (%s)", message, load_reason(error))
        return JobError("out_of_memory", message, None)
    return job_error(error)


def _train(
    reports: Reports, folder: Folder, start: JobStart, recipe: Recipe, schedule: SaveSchedule
) -> None:
    job = start.job
    base = load_base_model(job.base, recipe)
    run = _plan_run(folder, start, base)
    # The requested hyperparameters are replaced with the resolved ones.
    job.set_hyperparameters(
        msgspec.convert(run.hyperparameters.as_json(run.method), JobHyperparameters)
    )
    reports.set_hyperparameters(job.hyperparameters)
    if run.ranks > 1:
        message = f"Training on {run.ranks} devices"
        reports.add_event(JobEvent(key="devices", message=message))
    callbacks = [schedule, JobReporter(reports, start)]
    if job.integrations:
        callbacks.append(WandbCallback(reports, folder, job))
    task = "rank-remote" if start.is_remote else "rank"
    with launch_ranks(folder.root, job.id, run.job_folder, run.ranks, task):
        steps, tokens = _train_run(run, base, folder, callbacks)
    if not schedule.paused:
        reports.succeed(steps, run.hyperparameters.epochs * tokens)


def train_rank(folder: Folder, start: JobStart, rank: Rank) -> None:
    """Train a job as a process of a rank from 1; the process of rank 0 runs `train`.

    Args:
        folder: Data folder of the service.
        start: The job.
        rank: Rank of this process.
    """
    job = start.job
    try:
        base = load_base_model(job.base, restore_recipe(job.base, job.recipe))
        run = _plan_run(folder, start, base)
        with process_group(rank):
            _train_run(run, base, folder, [SaveSchedule(threading.Event())])
    except Exception as error:
        if is_out_of_memory(error):
            logger.exception("out of memory")
            os._exit(MEMORY_EXIT_CODE)
        if job_error(error) is None:
            raise
        threading.Event().wait()  # for rank 0, which has the same error, and fails the job


def _plan_run(folder: Folder, start: JobStart, base: BaseModel) -> TrainingRun:
    job = start.job
    method = job.method.type
    requested = msgspec.to_builtins(job.hyperparameters)
    hyperparameters = resolve_hyperparameters(base.recipe, requested, method, job.examples)
    return TrainingRun(
        job=job,
        job_folder=folder.job(job.id),
        output=(
            folder.attempt_checkpoints(job.id, job.attempt)
            if start.is_remote
            else folder.checkpoints(job.id)
        ),
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
    last = last_checkpoint(folder.checkpoints(run.job.id))
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    return trainer.state.global_step, _count_tokens(datasets["training"])


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
