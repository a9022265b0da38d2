"""How a base model is trained: `recipes.toml`, and what a job sets itself."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.estimation.estimate import auto_epochs

BETA = 0.1
"""The beta of dpo where the job sets none; that which a job at OpenAI was seen to choose."""


class Recipe(Struct, frozen=True, forbid_unknown_fields=True):
    """How a base model is trained; see `recipes.toml`."""

    learning_rate: dict[str, float]
    rank: int
    alpha: int
    dropout: float
    epochs: int
    batch_size: int
    micro_batch: int
    tokens: int
    threads: int
    source: str


class Chosen(Struct, frozen=True):
    """The hyperparameters that a job is trained with; `multiplier` is the factor of the recipe's learning rate."""

    epochs: int
    batch_size: int
    multiplier: float
    learning_rate: float
    beta: float

    def shown(self, method: str) -> dict[str, Any]:
        """As the job shows them."""
        told = {
            "n_epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.multiplier,
        }
        return {**told, "beta": self.beta} if method == "dpo" else told


def find_recipe(base: str) -> Recipe:
    """The recipe of a base model, or the one for all others."""
    known = tomllib.loads(Path(__file__).with_name("recipes.toml").read_text("utf-8"))
    return msgspec.convert({**known["default"], **known.get(base, {})}, Recipe)


def choose(recipe: Recipe, wanted: dict[str, Any], method: str, examples: int) -> Chosen:
    """The hyperparameters of a job: those that it sets, the recipe's where they are `auto`."""

    def or_else(name: str, otherwise: Any) -> Any:
        return otherwise if wanted.get(name, "auto") == "auto" else wanted[name]

    multiplier = float(or_else("learning_rate_multiplier", 1.0))
    return Chosen(
        epochs=or_else("n_epochs", recipe.epochs or auto_epochs(examples)),
        batch_size=min(or_else("batch_size", recipe.batch_size), examples),
        multiplier=multiplier,
        learning_rate=recipe.learning_rate[method] * multiplier,
        beta=float(or_else("beta", BETA)),
    )


def micro_batch(recipe: Recipe, batch_size: int) -> int:
    """The sequences that go through the model at once: the largest divisor of the batch that the recipe allows."""
    return next(
        size for size in range(min(recipe.micro_batch, batch_size), 0, -1) if batch_size % size == 0
    )
