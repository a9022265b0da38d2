"""Model names: base models, their aliases, and fine-tuned models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ftkit._text import shell_join
from ftkit.server.database import Database
from ftkit.server.errors import MissingObjectError
from ftkit.server.objects import JobObject, ModelObject
from ftkit.server.recipes import Recipes, builtin_recipes, restore_recipe

SMOKE = "ftkit/smoke"
"""Tiny model that is built from a seed, for rehearsals and tests."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w-][\w.-]{0,95}")
"""Id of a model on the Hugging Face hub: owner and name."""


class ModelRef(Struct, frozen=True):
    """Weights to load: a base model, and optionally an adapter.

    Attributes:
        base: `ftkit/smoke`, an id of the Hugging Face hub, or the path of a folder that the
            operator of the service named.
        job: Job that made the adapter, or "" for the base model alone.
        step: Training step of the adapter.
        recipe: `Recipe` to load them with, as a JSON object: for an adapter, that of its job.
    """

    base: str
    job: str = ""
    step: int = 0
    recipe: dict[str, Any] = {}


class ModelRegistry:
    """Resolves model names.

    Args:
        database: Database with the fine-tuned models.
        aliases: Base models by further names, such as those of hosted models.
        uses_hub: Take other names for ids of models on the Hugging Face hub. They are fetched with
            the token of the operator, who must be the only user then.
        recipes: Recipes of the base models; the built-in ones by default.
    """

    def __init__(
        self,
        database: Database,
        aliases: Mapping[str, str],
        uses_hub: bool = True,
        recipes: Recipes | None = None,
    ) -> None:
        self._database, self._aliases, self._uses_hub = database, aliases, uses_hub
        self._recipes = recipes or builtin_recipes()

    def names(self) -> list[str]:
        """Return the names of the base models, except for those on the Hugging Face hub."""
        return [SMOKE, *self._aliases]

    def default_name(self) -> str:
        """Return the base model to choose first: one that the operator named, if there is one."""
        smoke, *named = self.names()
        return next(iter(named), smoke)

    def find(self, name: str, tenant: str) -> ModelRef:
        """Return the weights of a model.

        Raises:
            MissingObjectError: The tenant has no such model.
        """
        if name in self._aliases:
            return self._base(self._aliases[name])
        model = self._database.get(ModelObject, name, tenant)
        if model and self._is_available(model.base):
            job = self._database.get(JobObject, model.job)
            recipe = restore_recipe(model.base, job.recipe if job else {})
            return ModelRef(model.base, model.job, model.step, recipe.as_json())
        if not model and self._stands_for(name) == name:
            return self._base(name)
        raise MissingObjectError(self._unknown_model(name), "model", "model_not_found")

    def name_of(self, base: str, preferred: str = "") -> str | None:
        """Return a name of a base model, or None if it can no longer be asked for.

        Args:
            base: The base model.
            preferred: Name to return if it stands for the base model.
        """
        names = (preferred, *self.names(), base)
        return next((name for name in names if self._stands_for(name) == base), None)

    def _stands_for(self, name: str) -> str | None:
        """Return the base model that a name stands for, or None."""
        if name in self._aliases:
            return self._aliases[name]
        is_base = name == SMOKE or (self._uses_hub and HUB_ID.fullmatch(name))
        return name if is_base else None

    def recipe(self, base: str) -> dict[str, Any]:
        """Return the recipe for new jobs of a base model, as a JSON object."""
        return self._recipes.find(base).as_json()

    def _base(self, base: str) -> ModelRef:
        return ModelRef(base, recipe=self.recipe(base))

    def _is_available(self, base: str) -> bool:
        """Return True if a base model may be loaded."""
        return self._uses_hub or base == SMOKE or base in self._aliases.values()

    def _unknown_model(self, name: str) -> str:
        if name.startswith("ft:") or not self._uses_hub:
            return f"The model '{name}' does not exist; `GET /v1/models` lists the existing ones."
        command = shell_join(["ftkit", "serve", "--map", f"{name}=Qwen/Qwen3-0.6B"])
        return (
            f"The model '{name}' is not available on this service. Map the name to a model of the"
            f" Hugging Face hub or to a folder: {command}"
        )
