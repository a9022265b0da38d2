"""Recipes: how each base model is trained and loaded, and the hyperparameters of a job."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ftkit.catalog.load import convert_facts, merged, read_toml
from ftkit.errors import UsageError
from ftkit.estimation.estimate import auto_epochs

DEFAULT_BETA = 0.1
"""DPO beta of jobs that set none, as observed in a job at OpenAI."""

TEMPLATE_DEFAULTS = {"enable_thinking": False}
"""Variables of chat templates: an empty reasoning block is neither learned nor generated."""

RESERVED_VARIABLES = {
    "add_generation_prompt",
    "chat_template",
    "continue_final_message",
    "conversation",
    "documents",
    "max_length",
    "messages",
    "padding",
    "return_assistant_tokens_mask",
    "return_dict",
    "return_tensors",
    "sanitize_control_tokens",
    "tokenize",
    "tokenizer_kwargs",
    "tools",
    "truncation",
}
"""Variables that are set for each conversation, and parameters of `apply_chat_template`."""

Positive = Annotated[int, Meta(ge=1, le=2**31)]
Count = Annotated[int, Meta(ge=0, le=2**31)]
Rate = Annotated[float, Meta(gt=0, le=1e6)]
Auto = Literal["auto"]


class LearningRates(Struct, frozen=True, forbid_unknown_fields=True):
    """Peak learning rate of each method, for a multiplier of 1."""

    supervised: Rate
    dpo: Rate


class Recipe(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings with which a base model is trained and loaded; `recipes.toml` describes them."""

    learning_rate: LearningRates
    rank: Positive
    alpha: Positive
    dropout: Annotated[float, Meta(ge=0, lt=1)]
    targets: Literal["all-linear"] | Annotated[list[str], Meta(min_length=1)]
    quantization: Literal["none", "4bit"]
    epochs: Count
    batch_size: Positive
    micro_batch: Positive
    processes: Positive | Auto
    packing: bool
    tokens: Positive | Auto
    gradient_checkpointing: bool
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3"]
    threads: Count
    gpus: Count
    save_total_limit: Positive
    template: dict[str, Any]
    source: str

    def __post_init__(self) -> None:
        reserved = RESERVED_VARIABLES & self.template.keys()
        if reserved:
            raise ValueError(f"`template` cannot set {', '.join(sorted(reserved))}")

    def as_json(self) -> dict[str, Any]:
        """Return the recipe as a JSON object."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields


class Recipes(Struct, frozen=True):
    """Recipes by base model.

    Attributes:
        tables: Values that differ from those of the table `default`, by base model.
    """

    tables: dict[str, dict[str, Any]]

    def find(self, base: str) -> Recipe:
        """Return the recipe of a base model."""
        return msgspec.convert(self.fields(base), Recipe)

    def fields(self, base: str) -> dict[str, Any]:
        """Return the values of a base model, which were not all checked."""
        fields: dict[str, Any] = merged(self.tables["default"], self.tables.get(base, {}))
        return fields


@cache
def builtin_recipes() -> Recipes:
    """Return the recipes that come with ftkit."""
    return Recipes(tomllib.loads(Path(__file__).with_name("recipes.toml").read_text("utf-8")))


def restore_recipe(base: str, fields: dict[str, Any]) -> Recipe:
    """Return the recipe that a job was created with.

    Args:
        base: Base model of the job.
        fields: The recipe as a JSON object, perhaps of another version of ftkit, or {}.
    """
    current = {name: fields[name] for name in Recipe.__struct_fields__ if name in fields}
    return msgspec.convert({**builtin_recipes().fields(base), **current}, Recipe)


def load_recipes(path: str | None = None) -> Recipes:
    """Return the built-in recipes, with the values of a file merged in.

    Args:
        path: TOML file with a table `default`, or a table for a base model (`ftkit/smoke`, an id of
            the Hugging Face hub, or a folder), or both.

    Raises:
        FileError: The file cannot be read.
        UsageError: The file is not TOML, or has unknown keys or invalid values.
    """
    if path is None:
        return builtin_recipes()
    tables = read_toml(path)
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(
                f"{path}: {name} is outside of a table; write it below [default], or below the name"
                ' of a base model, such as ["Qwen/Qwen3-0.6B"]'
            )
    own = {_base(name): table for name, table in tables.items()}
    recipes = Recipes(merged(builtin_recipes().tables, own))
    for name, table in own.items():
        if "nodes" in table:
            raise UsageError(
                f"{path}: [{name}]: a job trains on the GPUs of one node, so `nodes` cannot be set;"
                " set `gpus` to their number"
            )
        convert_facts(recipes.fields(name), Recipe, f"{path}: [{name}]")
    return recipes


def _base(name: str) -> str:
    """Return the base model that a table names; a folder as an absolute path."""
    return str(Path(name).absolute()) if Path(name).is_dir() else name


class ResolvedHyperparameters(Struct, frozen=True):
    """Hyperparameters that a job is trained with; none is "auto".

    Attributes:
        learning_rate: Peak learning rate, with the multiplier applied.
    """

    epochs: int
    batch_size: int
    learning_rate_multiplier: float
    learning_rate: float
    beta: float

    def as_json(self, method: str) -> dict[str, Any]:
        """Return the hyperparameters as a job of the API shows them."""
        fields = {
            "n_epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }
        return {**fields, "beta": self.beta} if method == "dpo" else fields


def resolve_hyperparameters(
    recipe: Recipe, requested: dict[str, Any], method: str, examples: int
) -> ResolvedHyperparameters:
    """Replace the hyperparameters of a job that are "auto" with defaults.

    Args:
        recipe: Defaults of the base model.
        requested: Hyperparameters of the job, as in the API.
        method: "supervised" or "dpo".
        examples: Number of training examples.
    """

    def resolve(name: str, default: Any) -> Any:
        value = requested.get(name, "auto")
        return default if value == "auto" else value

    multiplier = float(resolve("learning_rate_multiplier", 1.0))
    return ResolvedHyperparameters(
        epochs=resolve("n_epochs", recipe.epochs or auto_epochs(examples)),
        batch_size=min(resolve("batch_size", recipe.batch_size), examples),
        learning_rate_multiplier=multiplier,
        learning_rate=getattr(recipe.learning_rate, method) * multiplier,
        beta=float(resolve("beta", DEFAULT_BETA)),
    )


def micro_batch_size(recipe: Recipe, batch_size: int) -> int:
    """Return the largest divisor of the batch size that is within the recipe's `micro_batch`."""
    largest = min(recipe.micro_batch, batch_size)
    return next(size for size in range(largest, 0, -1) if batch_size % size == 0)
