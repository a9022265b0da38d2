"""Facts about models, as in `models.toml` and `images.toml`."""

from __future__ import annotations

import datetime
from typing import Literal

from msgspec import Struct

from ftkit.catalog.figures import Deadline, Figure, Price


class Offer(Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's offer of a model. A price or a date that is absent is not published."""

    methods: tuple[Literal["supervised", "dpo", "reinforcement"], ...] = ()
    tokens_per_example: Figure | None = None
    """Maximum tokens of an example, if it differs from that of the model."""
    training: tuple[Price, ...] = ()
    """Prices of training, the newest first."""
    input: Price | None = None
    """Price of the fine-tuned model's input; `cached_input` and `output` likewise."""
    cached_input: Price | None = None
    output: Price | None = None
    base_input: Price | None = None
    """Price of the base model's input; `base_output` likewise."""
    base_output: Price | None = None
    trainable_until: Deadline | None = None
    served_until: Deadline | None = None
    epochs: Figure | None = None
    """Default number of epochs, if it does not follow OpenAI's rule."""


class Model(Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about a model."""

    encoding: Literal["cl100k_base", "o200k_base", "bytes"]
    formats: tuple[str, ...]
    """Names of the dataset formats that the model can be trained on."""
    reasoning: bool = False
    """True if an answer has tokens of reasoning that are not shown."""
    images: str = ""
    """Name of the image cost, or "" if the model takes no images."""
    tokens_per_example: Figure | None = None
    """Maximum tokens of an example, in tokens of `encoding`."""
    note: str = ""
    borrowed: str = ""
    """Reason that the encoding is not the model's own, or ""."""
    providers: dict[str, Offer] = {}

    def limit(self, provider: str) -> Figure | None:
        """Return the maximum tokens of an example at a provider."""
        offer = self.providers.get(provider)
        return (offer.tokens_per_example if offer else None) or self.tokens_per_example


class ImageCost(Struct, frozen=True, forbid_unknown_fields=True, rename={"per_tile": "each"}):
    """Token cost of images for a family of models. See `images.toml` for the two kinds.

    Attributes:
        base: Tokens of each image, for tiles.
        per_tile: Tokens of each tile; `each` in the catalog files.
        factor: Tokens of each patch.
        most: Maximum number of patches.
    """

    kind: Literal["tiles", "patches"]
    source: str
    checked: datetime.date
    base: int = 0
    per_tile: int = 0
    factor: float = 0
    most: int = 0


def base_model(name: str) -> str:
    """Return the base of a fine-tuned model (`ft:BASE:org:suffix:id`), or the name itself."""
    return name.split(":")[1] if name.startswith("ft:") and name.count(":") > 1 else name
