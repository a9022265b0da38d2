"""Hyperparameters of a job: those that it sets, and the defaults of its base model."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ftkit.estimation.estimate import auto_epochs

DEFAULT_BETA = 0.1
"""DPO beta of jobs that set none, as observed in a job at OpenAI."""


class Recipe(Struct, frozen=True, forbid_unknown_fields=True):
    """Default hyperparameters of a base model, from `recipes.toml`, which describes the fields."""

    learning_rate: dict[str, float]
    rank: int
    alpha: int
    dropout: float
    epochs: int
    batch_size: int
    micro_batch: int
    tokens: int
    threads: int
    save_total_limit: Annotated[int, Meta(ge=1)]
    source: str
    template: dict[str, Any] = {}


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


def find_recipe(base: str) -> Recipe:
    """Return the recipe of a base model, or the default one."""
    recipes = tomllib.loads(Path(__file__).with_name("recipes.toml").read_text("utf-8"))
    return msgspec.convert({**recipes["default"], **recipes.get(base, {})}, Recipe)


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
        learning_rate=recipe.learning_rate[method] * multiplier,
        beta=float(resolve("beta", DEFAULT_BETA)),
    )


def micro_batch_size(recipe: Recipe, batch_size: int) -> int:
    """Return the largest divisor of the batch size that is within the recipe's `micro_batch`."""
    largest = min(recipe.micro_batch, batch_size)
    return next(size for size in range(largest, 0, -1) if batch_size % size == 0)
