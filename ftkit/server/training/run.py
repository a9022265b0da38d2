"""Training of a job, from its files to an adapter, with TRL's trainers and LoRA from PEFT."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import msgspec
import torch
from datasets import Dataset
from msgspec import Struct
from peft import LoraConfig
from transformers import set_seed
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from ftkit.errors import EncodingError, ModelLoadError
from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.lifecycle import add_event, add_model, fail, transition, tuned_name
from ftkit.server.objects import (
    EventObject,
    FileObject,
    JobHyperparameters,
    JobObject,
    JobStatus,
    now,
)
from ftkit.server.results import results_csv
from ftkit.server.training.base import load_base_model, load_reason
from ftkit.server.training.dataset import encode_file
from ftkit.server.training.encoding import Encoder
from ftkit.server.training.loading import add_adapter, device, load_base, uses_bfloat16
from ftkit.server.training.recipes import (
    Recipe,
    ResolvedHyperparameters,
    find_recipe,
    micro_batch_size,
    resolve_hyperparameters,
)
from ftkit.server.training.reporting import JobReporter, publish_adapter
from ftkit.server.training.wandb import WandbCallback

ENDING: tuple[JobStatus, ...] = ("running", "pausing")
"""Statuses from which a job may succeed, since it may finish before it can pause."""

logger = logging.getLogger(__name__)


class TrainingRun(Struct, frozen=True):
    """A job with the settings that it is trained with.

    Attributes:
        place: Folder of the job.
        method: "supervised" or "dpo".
        max_tokens: Length to which examples are truncated.
    """

    job: JobObject
    place: Path
    method: str
    recipe: Recipe
    hyperparameters: ResolvedHyperparameters
    max_tokens: int


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
    try:
        _train(store, folder, job, pause)
    except EncodingError as error:
        fail(store, job.id, "invalid_training_file", str(error), "training_file")
    except ModelLoadError as error:
        logger.warning("%s (%s)", error, load_reason(error))
        fail(store, job.id, "model_not_available", str(error), "model")


def _train(store: Database, folder: Folder, job: JobObject, pause: threading.Event) -> None:
    recipe = find_recipe(job.base)
    method = job.method.type
    hyperparameters = resolve_hyperparameters(
        recipe,
        msgspec.to_builtins(job.hyperparameters),
        method,
        job.examples,
    )
    _show_hyperparameters(store, job, method, hyperparameters)
    set_seed(job.seed)
    torch.set_num_threads(recipe.threads or torch.get_num_threads())
    base = load_base_model(job.base)
    run = TrainingRun(
        job=job,
        place=folder.job(job.id),
        method=method,
        recipe=recipe,
        hyperparameters=hyperparameters,
        max_tokens=base.max_tokens(recipe),
    )
    encoder = base.encoder(recipe)
    datasets = {name: _load_dataset(run, encoder, name) for name in job.hashes}
    model = load_base(job.base)
    reporter = JobReporter(store, folder, job, pause)
    model, adapter_config = _prepare_model(model, folder, run)
    trainer = _create_trainer(run, model, adapter_config, base.tokenizer, datasets, reporter)
    if job.integrations:
        trainer.add_callback(WandbCallback(store, folder, job))
    trainer.train(resume_from_checkpoint=_last_checkpoint(run.place))
    if not reporter.paused:
        trained_tokens = hyperparameters.epochs * _count_tokens(trainer.train_dataset)
        _succeed(store, folder, job, trainer.state.global_step, trained_tokens)


def _show_hyperparameters(
    store: Database, job: JobObject, method: str, hyperparameters: ResolvedHyperparameters
) -> None:
    """Replace the requested hyperparameters of the job with the resolved ones."""
    resolved = msgspec.convert(hyperparameters.as_json(method), JobHyperparameters)
    store.change(JobObject, job.id, lambda job: job.set_hyperparameters(resolved))


def _load_dataset(run: TrainingRun, encoder: Encoder, name: str) -> Dataset:
    """Load the training or validation file of a job, tokenized.

    Raises:
        EncodingError: The base model cannot be trained on an example, or no example fits.
    """
    file = encode_file(run.place / f"{name}.jsonl", encoder, run.job.format)
    if file.refused:
        first = file.refused[0]
        raise EncodingError(f"line {first.line} of the {name} file: {first.reason}")
    if not file.encoded:
        raise EncodingError(f"no example has anything to learn within {run.max_tokens:,} tokens")
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
    return ("input_ids", "labels")


def _count_tokens(dataset: Dataset) -> int:
    """Return the number of tokens that go through the model in an epoch."""
    if "input_ids" in dataset.column_names:
        return sum(map(len, dataset["input_ids"]))
    # The prompt is evaluated with the chosen and with the rejected completion.
    columns = ("prompt_ids", "prompt_ids", "chosen_ids", "rejected_ids")
    return sum(sum(map(len, dataset[column])) for column in columns)


def _prepare_model(model: Any, folder: Folder, run: TrainingRun) -> tuple[Any, LoraConfig | None]:
    """Return the model to train, and the configuration of the adapter to add to it.

    There is none to add if the job continues the training of a fine-tuned model, whose adapter is
    loaded here.
    """
    job, recipe = run.job, run.recipe
    if job.from_job:
        adapter = folder.adapter(job.from_job, job.from_step)
        return add_adapter(model, adapter, trainable=True), None
    return model, LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _create_trainer(
    run: TrainingRun,
    model: Any,
    adapter_config: LoraConfig | None,
    tokenizer: Any,
    datasets: dict[str, Dataset],
    reporter: JobReporter,
) -> Any:
    arguments = _training_arguments(run, validate="validation" in datasets)
    if run.method == "dpo":
        trainer_class = TokenizedDPOTrainer
        config = DPOConfig(**arguments, beta=run.hyperparameters.beta)
    else:
        trainer_class = SFTTrainer
        config = SFTConfig(**arguments)
    return trainer_class(
        model=model,
        args=config,
        train_dataset=datasets["training"],
        eval_dataset=datasets.get("validation"),
        processing_class=tokenizer,
        peft_config=adapter_config,
        callbacks=[reporter],
    )


class TokenizedDPOTrainer(DPOTrainer):  # type: ignore[misc]
    """DPO trainer for datasets that are tokenized.

    TRL would tokenize texts itself, and add a second start token, or an end token after the end of
    turn.
    """

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


def _training_arguments(run: TrainingRun, validate: bool) -> dict[str, Any]:
    """Return the arguments that `SFTConfig` and `DPOConfig` share."""
    hyperparameters = run.hyperparameters
    micro_batch = micro_batch_size(run.recipe, hyperparameters.batch_size)
    return {
        "output_dir": str(run.place / "checkpoints"),
        "num_train_epochs": hyperparameters.epochs,
        "per_device_train_batch_size": micro_batch,
        "per_device_eval_batch_size": micro_batch,
        "gradient_accumulation_steps": hyperparameters.batch_size // micro_batch,
        "learning_rate": hyperparameters.learning_rate,
        "seed": run.job.seed,
        "max_length": run.max_tokens,
        "logging_steps": 1,
        "save_strategy": "epoch",
        "save_total_limit": 2,
        "eval_strategy": "epoch" if validate else "no",
        "bf16": uses_bfloat16(),
        "gradient_checkpointing": device() == "cuda",
        "use_cpu": device() == "cpu",
        "disable_tqdm": True,
        "report_to": [],
    }


def _last_checkpoint(place: Path) -> str | None:
    """Return the path of the last complete checkpoint, or None."""
    checkpoints = [
        path for path in (place / "checkpoints").glob("checkpoint-*") if _is_complete(path)
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
        current = store.get(JobObject, job.id)
        if current is None or current.status not in ENDING:
            return
        store.add(file)
        add_model(store, job, name, steps)
        add_event(store, job.id, job.tenant, f"New fine-tuned model created: {name}")
        transition(
            store, job.id, ENDING, "succeeded", "The job has successfully completed", **result
        )
