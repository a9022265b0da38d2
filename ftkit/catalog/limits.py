"""Limits on datasets and requests: those of a provider and a model, and those of the API."""

from __future__ import annotations

import datetime
from functools import cache

import msgspec
from msgspec import Struct

from ftkit.catalog.figures import Figure
from ftkit.catalog.load import Catalog, find_model, find_provider, load_catalog, read_facts
from ftkit.catalog.models import Model
from ftkit.catalog.providers import Provider

DEFAULT_PROVIDER = "openai"

DEFAULT_TOKENS = 4096
"""Maximum tokens of an example if no model is given: the lowest limit of any hosted model."""

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
    assumed_model: str = ""
    """Name of the model whose limit is assumed, or "" if a model was given."""
    trainable_tokens: dict[str, tuple[int, ...]] = {}
    """By format, the limits of the models that the provider trains today, if none was given."""

    def lacks(self, feature: str) -> bool:
        """Return True if the provider does not have a feature of OpenAI's API."""
        return self.facts.api is not None and feature in self.facts.api.lacks

    def figure(self, name: str) -> int | None:
        """Return the value of a figure of the provider, or None if it has none."""
        figure: Figure | None = getattr(self.facts, name)
        return figure.value if figure else None


def find_limits(
    provider: str = DEFAULT_PROVIDER,
    model: str | None = None,
    catalog: Catalog | None = None,
    today: datetime.date | None = None,
) -> Limits:
    """Return the limits for training a model at a provider.

    The tokens of an example are limited to `DEFAULT_TOKENS` if no model is given, or if no limit is
    published for the model.

    Args:
        provider: Name of the provider.
        model: Name of the model, or None for the default limit.
        catalog: Models and providers; those that come with ftkit if None.
        today: The date for which to tell what can be trained; today if None.

    Raises:
        UnknownNameError: There is no such provider or model.
    """
    catalog = catalog or load_catalog()
    facts = find_provider(provider, catalog)
    if model is None:
        return _default_limits(provider, facts, catalog, today or datetime.date.today())
    model_facts = find_model(model, catalog)
    figure = model_facts.limit(provider)
    return Limits(
        provider,
        facts.title,
        model,
        model_facts.encoding,
        figure.value if figure else DEFAULT_TOKENS,
        model_facts.note if figure else "its own limit is not published",
        model_facts.formats,
        facts,
    )


def _default_limits(
    provider: str, facts: Provider, catalog: Catalog, today: datetime.date
) -> Limits:
    """Return the limits if no model is given."""
    models = catalog.models
    trained = [models[name] for name in trainable_models(provider, today, catalog)]
    trained += [facts.others] if facts.others else []
    return Limits(
        provider,
        facts.title,
        None,
        DEFAULT_ENCODING,
        DEFAULT_TOKENS,
        "",
        facts.formats,
        facts,
        assumed_model=next(filter(lambda name: _has_default(models[name]), models), ""),
        trainable_tokens={name: _token_limits(name, provider, trained) for name in facts.formats},
    )


def _has_default(model: Model) -> bool:
    figure = model.tokens_per_example
    return figure is not None and figure.value == DEFAULT_TOKENS


def _token_limits(format: str, provider: str, models: list[Model]) -> tuple[int, ...]:
    """Return the distinct limits of the models that train on a format, in order."""
    figures = [model.limit(provider) for model in models if format in model.formats]
    return tuple(sorted({figure.value for figure in figures if figure}))


def trainable_models(provider: str, today: datetime.date, catalog: Catalog) -> list[str]:
    """Return the names of the models that a provider trains on a day."""
    return [
        name
        for name, model in catalog.models.items()
        if (offer := model.providers.get(provider))
        and not (offer.trainable_until and offer.trainable_until.date < today)
    ]


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
