"""Limits on datasets and requests: those of a provider and a model, and those of the API."""

from __future__ import annotations

from functools import cache

import msgspec
from msgspec import Struct

from ftkit.catalog.figures import Figure
from ftkit.catalog.load import Catalog, find_model, find_provider, read_facts
from ftkit.catalog.providers import Provider

DEFAULT_PROVIDER = "openai"

DEFAULT_TOKENS = 4096
"""Maximum tokens of an example if no model is given: the lowest limit of any model."""

DEFAULT_ENCODING = "cl100k_base"


class Limits(Struct, frozen=True):
    """Limits on a file for a provider and a model."""

    provider: str
    title: str
    """Title of the provider."""
    model: str | None
    encoding: str
    tokens: int
    """Maximum tokens of an example."""
    tokens_note: str
    """Remark on `tokens`, or ""."""
    formats: tuple[str, ...]
    """Names of the formats that the model, or else the provider, can be trained on."""
    facts: Provider

    def lacks(self, feature: str) -> bool:
        """Return True if the provider does not have a feature of OpenAI's API."""
        return self.facts.api is not None and feature in self.facts.api.lacks

    def figure(self, name: str) -> int | None:
        """Return the value of a figure of the provider, or None if it has none."""
        figure: Figure | None = getattr(self.facts, name)
        return figure.value if figure else None


def find_limits(
    provider: str = DEFAULT_PROVIDER, model: str | None = None, catalog: Catalog | None = None
) -> Limits:
    """Return the limits for training a model at a provider.

    The tokens of an example are limited to `DEFAULT_TOKENS` if no model is given, or if no limit is
    published for the model.

    Raises:
        UnknownNameError: There is no such provider or model.
    """
    facts = find_provider(provider, catalog)
    if model is None:
        encoding, formats = DEFAULT_ENCODING, facts.formats
        tokens, note = DEFAULT_TOKENS, "no model given; naming one sets its own limit"
    else:
        model_facts = find_model(model, catalog)
        encoding, formats = model_facts.encoding, model_facts.formats
        figure = model_facts.limit(provider)
        tokens = figure.value if figure else DEFAULT_TOKENS
        note = model_facts.note if figure else "its own limit is not published"
    return Limits(provider, facts.title, model, encoding, tokens, note, formats, facts)


class ApiLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of OpenAI's API, which hold for each provider that has no figure of its own."""

    epochs: Figure
    """Maximum number of epochs."""
    batch_size: Figure
    """Maximum batch size."""
    beta: Figure
    """Maximum DPO beta."""
    seed: Figure
    """Maximum seed."""
    suffix: Figure
    """Maximum characters of the suffix of a fine-tuned model's name."""
    metadata_pairs: Figure
    """Maximum number of metadata entries."""
    metadata_key: Figure
    """Maximum characters of a metadata key."""
    metadata_value: Figure
    """Maximum characters of a metadata value."""


@cache
def api_limits() -> ApiLimits:
    """Return the limits of OpenAI's API, as in `api.toml`."""
    return msgspec.convert(read_facts("api"), ApiLimits)
