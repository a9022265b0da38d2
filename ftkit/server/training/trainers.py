"""TRL's trainers for a job: supervised fine-tuning or DPO, with LoRA from PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from msgspec import Struct
from peft import LoraConfig
from transformers import PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from ftkit.errors import RecipeError
from ftkit.server.folder import Folder
from ftkit.server.objects import JobObject
from ftkit.server.recipes import Recipe, ResolvedHyperparameters, micro_batch_size
from ftkit.server.training.base import BaseModel
from ftkit.server.training.collation import ImageCollator
from ftkit.server.training.device import device, uses_bfloat16
from ftkit.server.training.loading import adapter_targets, add_adapter, load_on_device
from ftkit.server.training.packing import check_packing
from ftkit.server.training.ranks import FilledSampler, fill


class TrainingRun(Struct, frozen=True):
    """A job with the settings that it is trained with.

    Attributes:
        job_folder: Folder of the job.
        output: Folder that the states of the training are saved in.
        ranks: Number of processes that train together.
    """

    job: JobObject
    job_folder: Path
    output: Path
    recipe: Recipe
    hyperparameters: ResolvedHyperparameters
    ranks: int

    @property
    def method(self) -> str:
        """Training method: "supervised" or "dpo"."""
        return self.job.method.type

    @property
    def micro_batch(self) -> int:
        """Number of sequences in a forward pass of a process."""
        return micro_batch_size(self.recipe, self.hyperparameters.batch_size // self.ranks)

    @property
    def is_packed(self) -> bool:
        """True if the sequences of a forward pass are concatenated instead of padded.

        TRL's own packing would change the examples of a step; this keeps them.
        """
        return self.recipe.packing and self.method == "supervised" and self.micro_batch > 1


def create_trainer(
    run: TrainingRun,
    base: BaseModel,
    folder: Folder,
    datasets: dict[str, Dataset],
    callbacks: list[TrainerCallback],
) -> Any:
    """Return the trainer of a job.

    Args:
        run: The job.
        base: Tokenizer and configuration of the base model.
        folder: Data folder of the service.
        datasets: Encoded examples: "training", and "validation" if the job has such a file.
        callbacks: Callbacks of the trainer.

    Raises:
        ModelLoadError: The base model, or the adapter to start from, cannot be loaded.
        RecipeError: The base model cannot be trained as the recipe sets.
    """
    if run.is_packed and base.vision:
        raise RecipeError("packing = true is not possible with models that take images")
    model = load_on_device(run.job.base, run.recipe)
    if run.is_packed:
        ids = datasets["training"]["input_ids"]
        check_packing(model, ids[0], ids[-1])
    model, adapter_config = _prepare_model(model, folder, run)
    arguments = _training_arguments(run, validate="validation" in datasets)
    options = {
        "model": model,
        "train_dataset": datasets["training"],
        "eval_dataset": datasets.get("validation"),
        "processing_class": base.tokenizer,
        "peft_config": adapter_config,
        "callbacks": callbacks,
    }
    if run.method == "dpo":
        config = DPOConfig(**arguments, beta=run.hyperparameters.beta)
        trainer = TokenizedDPOTrainer(args=_with_one_device(config), **options)
    else:
        collator = ImageCollator(base.vision) if base.vision else None
        config = SFTConfig(
            **arguments, padding_free=run.is_packed, remove_unused_columns=collator is None
        )
        args = _with_one_device(config)
        trainer = SupervisedTrainer(args=args, data_collator=collator, **options)
    # It prints the losses, of which the last would seem to be the cause of a crash.
    trainer.remove_callback(PrinterCallback)
    return trainer


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
        target_modules=adapter_targets(model, recipe),
        task_type="CAUSAL_LM",
    )


def _training_arguments(run: TrainingRun, validate: bool) -> dict[str, Any]:
    """Return the arguments that `SFTConfig` and `DPOConfig` share."""
    hyperparameters = run.hyperparameters
    return {
        "output_dir": str(run.output),
        "num_train_epochs": hyperparameters.epochs,
        "per_device_train_batch_size": run.micro_batch,
        "per_device_eval_batch_size": run.micro_batch,
        "gradient_accumulation_steps": hyperparameters.batch_size // run.ranks // run.micro_batch,
        "learning_rate": hyperparameters.learning_rate,
        "seed": run.job.seed,
        # The sequences are truncated already.
        "max_length": None,
        "logging_steps": 1,
        "save_strategy": "epoch",
        "save_total_limit": 2,
        "eval_strategy": "epoch" if validate else "no",
        "bf16": uses_bfloat16(),
        "gradient_checkpointing": run.recipe.gradient_checkpointing,
        "use_cpu": device() == "cpu",
        "ddp_find_unused_parameters": False,
        "disable_tqdm": True,
        "report_to": [],
    }


def _with_one_device(config: Any) -> Any:
    """Return training arguments that make this process use one GPU, even if it sees several.

    Otherwise, transformers would use `nn.DataParallel`, which TRL refuses.
    """
    config._n_gpu = min(config.n_gpu, 1)
    return config


class SupervisedTrainer(SFTTrainer):  # type: ignore[misc]
    """SFT trainer whose processes have equally many batches, with each example in only one."""

    train_dataset: Dataset

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._examples = len(self.train_dataset)
        if self.args.world_size > 1:
            multiple = self.args.world_size * self.args.per_device_train_batch_size
            self.train_dataset = fill(self.train_dataset, multiple)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Any:
        if self.args.world_size == 1:
            return super()._get_train_sampler(train_dataset)
        return FilledSampler(self._examples, len(self.train_dataset))


class TokenizedDPOTrainer(DPOTrainer):  # type: ignore[misc]
    """DPO trainer for datasets that are tokenized.

    TRL would tokenize texts itself, and add a second start token, or an end token after the end of
    turn.
    """

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset
