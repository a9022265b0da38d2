"""Base models that are recommended for the local service, as in `base_models.toml`."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from functools import cache

import msgspec
from msgspec import Struct

from ftkit.catalog.figures import Figure
from ftkit.catalog.load import read_facts


class RecommendedBase(Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about a recommended base model of the Hugging Face hub.

    Attributes:
        context_length: Maximum tokens of an example or a completion.
        source: Where the facts were published.
        checked: Day of the last check.
    """

    parameters: str
    licence: str
    context_length: int
    source: str
    checked: datetime.date
    training_gb: Figure | None = None
    """GPU memory that training takes, in GB, if it is published."""
    stands_for: tuple[str, ...] = ()
    """Hosted models of about the same size."""
    note: str = ""


@cache
def base_models() -> Mapping[str, RecommendedBase]:
    """Return the recommended base models by id."""
    return msgspec.convert(read_facts("base_models"), dict[str, RecommendedBase])


def recommended_bases() -> dict[str, str]:
    """Return the id of the recommended base model for each hosted model."""
    return {name: id for id, base in base_models().items() for name in base.stands_for}
