"""One job, trained: from its files to an adapter, with TRL's trainers and LoRA from PEFT."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import torch
from datasets import Dataset
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
from ftkit.server.training.encoding import encode, preferences
from ftkit.server.training.loading import (
    add_adapter,
    device,
    half_precision,
    load_base,
    load_tokenizer,
)
from ftkit.server.training.recipes import Chosen, Recipe, choose, find_recipe, micro_batch
from ftkit.server.training.reporting import Reporting, keep_adapter

ENDING: tuple[JobStatus, ...] = ("running", "pausing")
"""The states in which a job may succeed: one that is done before it could pause is done."""


def train(store: Database, folder: Folder, job: JobObject, pause: threading.Event) -> None:
    """Train a job from its last checkpoint, if there is one, and end it; leaves it to the server where it pauses."""
    if not transition(store, job.id, ("queued",), "running", "Fine-tuning job started"):
        return
    try:
        _train(store, folder, job, pause)
    except (ModelLoadError, EncodingError) as error:
        code = (
            "invalid_training_file" if isinstance(error, EncodingError) else "model_not_available"
        )
        fail(
            store,
            job.id,
            code,
            str(error),
            "training_file" if isinstance(error, EncodingError) else "model",
        )


def _train(store: Database, folder: Folder, job: JobObject, pause: threading.Event) -> None:
    place, recipe, method = (
        folder.job(job.id),
        find_recipe(job.base),
        job.method.type,
    )
    wanted = msgspec.to_builtins(job.hyperparameters)
    chosen = choose(recipe, wanted, method, job.examples)
    _show(store, job, chosen, method)
    set_seed(job.seed)
    torch.set_num_threads(recipe.threads or torch.get_num_threads())
    tokenizer = load_tokenizer(job.base)
    model = load_base(job.base)
    limit = min(recipe.tokens, getattr(model.config, "max_position_embeddings", recipe.tokens))
    reporting = Reporting(store, folder, job, pause)
    parts = {
        name: _dataset(store, job, tokenizer, place / f"{name}.jsonl", limit) for name in job.hashes
    }
    trainer = _trainer(
        method,
        _adapted(model, folder, job, recipe),
        tokenizer,
        parts,
        reporting,
        place,
        recipe,
        chosen,
        job,
        limit,
    )
    trainer.train(resume_from_checkpoint=_last_checkpoint(place))
    if not reporting.paused:
        _succeed(
            store,
            folder,
            job,
            trainer.state.global_step,
            chosen.epochs * _tokens(trainer.train_dataset),
        )


def _show(store: Database, job: JobObject, chosen: Chosen, method: str) -> None:
    """Show the hyperparameters that were chosen."""
    hyperparameters = msgspec.convert(chosen.shown(method), JobHyperparameters)
    store.change(JobObject, job.id, lambda job: job.set_hyperparameters(hyperparameters))


def _dataset(store: Database, job: JobObject, tokenizer: Any, path: Path, limit: int) -> Dataset:
    with path.open("rb") as file:
        examples = [json.loads(line.decode("utf-8-sig")) for line in file if line.strip()]
    if job.format == "preference":
        return Dataset.from_list(preferences(tokenizer, examples))
    sequences, lost = encode(tokenizer, examples, job.format, limit)
    if not sequences:
        raise EncodingError(f"no example has anything to learn within {limit:,} tokens")
    if lost:
        told = f"{lost:,} sequences of {path.stem} have nothing to learn within {limit:,} tokens, and are left out"
        add_event(store, job.id, job.tenant, told, "warn", key=f"lost {path.stem}")
    return Dataset.from_dict(
        {
            "input_ids": [each.input_ids for each in sequences],
            "labels": [each.labels for each in sequences],
        }
    )


def _tokens(dataset: Dataset) -> int:
    """The tokens of an epoch: all those that go through the model."""
    if "input_ids" in dataset.column_names:
        return sum(map(len, dataset["input_ids"]))
    parts = ("prompt_ids", "prompt_ids", "chosen_ids", "rejected_ids")
    return sum(sum(map(len, dataset[part])) for part in parts)


def _adapted(
    model: Any, folder: Folder, job: JobObject, recipe: Recipe
) -> tuple[Any, LoraConfig | None]:
    """The model to train, and the adapter to make for it: none where it goes on with that of an earlier job."""
    if job.from_job:
        return add_adapter(model, folder.adapter(job.from_job, job.from_step), trainable=True), None
    adapter = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return model, adapter


def _trainer(
    method: str,
    adapted: tuple[Any, LoraConfig | None],
    tokenizer: Any,
    parts: dict[str, Dataset],
    reporting: Reporting,
    place: Path,
    recipe: Recipe,
    chosen: Chosen,
    job: JobObject,
    limit: int,
) -> Any:
    size = micro_batch(recipe, chosen.batch_size)
    settings: dict[str, Any] = {
        "output_dir": str(place / "checkpoints"),
        "num_train_epochs": chosen.epochs,
        "per_device_train_batch_size": size,
        "per_device_eval_batch_size": size,
        "gradient_accumulation_steps": chosen.batch_size // size,
        "learning_rate": chosen.learning_rate,
        "seed": job.seed,
        "max_length": limit,
        "logging_steps": 1,
        "save_strategy": "epoch",
        "save_total_limit": 2,
        "eval_strategy": "epoch" if "validation" in parts else "no",
        "bf16": half_precision(),
        "gradient_checkpointing": device() == "cuda",
        "use_cpu": device() == "cpu",
        "disable_tqdm": True,
        "report_to": [],
    }
    kind, config = (
        (DPOTrainer, DPOConfig(**settings, beta=chosen.beta))
        if method == "dpo"
        else (SFTTrainer, SFTConfig(**settings))
    )
    model, adapter = adapted
    return kind(
        model=model,
        args=config,
        train_dataset=parts["training"],
        eval_dataset=parts.get("validation"),
        processing_class=tokenizer,
        peft_config=adapter,
        callbacks=[reporting],
    )


def _last_checkpoint(place: Path) -> str | None:
    """The last checkpoint that is whole: the trainer writes its state last."""
    found = [path for path in (place / "checkpoints").glob("checkpoint-*") if _is_whole(path)]
    return str(max(found, key=lambda path: int(path.name.rpartition("-")[2]))) if found else None


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _succeed(store: Database, folder: Folder, job: JobObject, steps: int, tokens: int) -> None:
    """Keep the results and the model, and end the job, all at once."""
    if not folder.adapter(job.id, steps).exists():
        keep_adapter(folder, job, steps)
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
        ends: dict[str, Any] = {
            "fine_tuned_model": name,
            "result_files": [file.id],
            "trained_tokens": tokens,
            "finished_at": now(),
            "estimated_finish": None,
        }
        found = store.get(JobObject, job.id)
        if found is None or found.status not in ENDING:
            return
        store.add(file)
        add_model(store, job, name, steps)
        add_event(store, job.id, job.tenant, f"New fine-tuned model created: {name}")
        transition(store, job.id, ENDING, "succeeded", "The job has successfully completed", **ends)
