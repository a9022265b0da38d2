"""Which models the service trains and asks: base models, the names that stand for them, and the models it has tuned."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from ftkit.server.errors import Refusal
from ftkit.server.store import Store

SMOKE = "ftkit/smoke"
"""The tiny model that is built on the spot, for rehearsals."""

HUB = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w-][\w.-]{0,95}")
"""The id of a model on the Hugging Face hub: an owner and a name."""


class Served(Struct, frozen=True):
    """A model as it is loaded: the base, and the job and step whose adapter goes on it, if any.

    `base` is `ftkit/smoke`, an id of the Hugging Face hub, or the path of a folder that the operator of the service named.
    """

    base: str
    job: str = ""
    step: int = 0


class Bases:
    """The base models. `mapped` are the names that stand for others, such as those of hosted models."""

    def __init__(self, store: Store, mapped: Mapping[str, str]) -> None:
        self.store, self.mapped = store, mapped

    def names(self) -> list[str]:
        """The base models that are known by name."""
        return [SMOKE, *self.mapped]

    def find(self, name: str, tenant: str, status: int = 400) -> Served:
        """The model of that name; raises `Refusal`, of that status: who asks a model gets another than who trains on it."""
        if name in self.mapped:
            return Served(self.mapped[name])
        tuned = self.store.get("model", name, tenant)
        if tuned:
            return Served(**tuned.kept)
        if name == SMOKE or HUB.fullmatch(name):
            return Served(name)
        raise Refusal(status, _unknown(name), param="model", code="model_not_found")


def _unknown(name: str) -> str:
    if name.startswith("ft:"):
        return f"The model '{name}' does not exist; `GET /v1/models` lists those that do."
    return (
        f"'{name}' is not a model that this service has. Let a model from the Hugging Face hub, or a folder, stand for it: "
        f"ftkit serve --model {name}=Qwen/Qwen3-0.6B"
    )
