"""Estimating a training job: tokens, epochs and cost.

    billed tokens = epochs x sum over the examples of min(tokens(example), limit of the model)

See `tokens.encodings.PER_MESSAGE` for tokens(example). `estimate` is arithmetic on the summary of
a file, which it measures unless that has been done.
"""

from __future__ import annotations

import datetime
import math
from typing import Any, Literal

from msgspec import Struct

from ftkit.catalog import (
    DEFAULT_PROVIDER,
    Catalog,
    Model,
    Offer,
    Price,
    Provider,
    find_limits,
    find_model,
    find_provider,
    load_catalog,
    trainable_models,
    with_others,
)
from ftkit.dataset.formats import METHODS
from ftkit.dataset.inputs import Examples, File
from ftkit.errors import UsageError, check_name
from ftkit.estimation.measure import (
    NOTEBOOK,
    NOTEBOOK_LIMIT,
    Counting,
    Measured,
    measure,
    no_example,
    stats_of,
    wrong_format,
)
from ftkit.summary import Summary
from ftkit.tokens.counting import APPROXIMATIONS
from ftkit.tokens.stats import TokenStats, above, total
from ftkit.validation.engines import LOCAL

EpochsSource = Literal["given", "service", "rule"]

TARGET_EPOCHS, MIN_TARGET, MAX_TARGET, MAX_EPOCHS = 3, 100, 25_000, 25
"""Default number of epochs: 3, unless that makes fewer than 100 or more than 25,000 examples in
all; then as many as reach that bound, from 1 to 25.

Source: OpenAI cookbook, "Data preparation and analysis for chat model fine-tuning". All observed
jobs with automatic epochs agree with it.
"""


BY_THE_HOUR = "training is billed by the hour, not by the token"
"""Approximation of an estimate for which the tokens do not tell the cost."""


class Terms(Struct, frozen=True):
    """Everything but the files and the models that an estimate depends on; see `quote`."""

    catalog: Catalog
    today: datetime.date
    provider: str = DEFAULT_PROVIDER
    epochs: int | None = None
    price: float | None = None
    counting: Counting = "billing"
    requests: int | None = None
    base_prompt: str = ""


class Cost(Struct, frozen=True):
    """The cost of training in US dollars, and the price it was computed from."""

    usd: float
    price_per_million: float
    source: str
    as_of: str


class Estimate(Struct, frozen=True):
    """The estimate of training one model on a file.

    Numbers of tokens are those of one epoch, cut at `tokens_per_example`; only `billed_tokens` is
    that of all epochs. `cost` is None if no price per token is known, and `cost_note` explains
    why. `trainable_note` explains why the model cannot be trained. Dates are None if none is
    published.
    """

    model: str
    provider: str
    encoding: str
    tokens_per_example: int
    examples: int
    epochs: int
    epochs_source: EpochsSource
    tokens_per_epoch: int
    billed_tokens: int
    trained_tokens_per_epoch: int
    cut_examples: int
    cut_tokens: int
    cut_trained_examples: int
    exact: bool
    approximations: tuple[str, ...]
    cost: Cost | None
    cost_note: str
    trainable: bool
    trainable_note: str
    trainable_until: datetime.date | None
    served_until: datetime.date | None
    served_days: int | None


class ModelFreeEstimate(Struct, frozen=True):
    """Estimate of a file for which no trainable model is known.

    Tokens are those of the whole examples. `cost` is None unless a price was given. `note` says
    that no model is known.
    """

    encoding: str
    examples: int
    epochs: int
    epochs_source: EpochsSource
    tokens_per_epoch: int
    billed_tokens: int
    approximations: tuple[str, ...]
    cost: Cost | None
    note: str


def auto_epochs(examples: int) -> int:
    """Return the number of epochs that a provider chooses; see `TARGET_EPOCHS`."""
    if examples * TARGET_EPOCHS < MIN_TARGET:
        return min(MAX_EPOCHS, MIN_TARGET // examples)
    if examples * TARGET_EPOCHS > MAX_TARGET:
        return max(1, MAX_TARGET // examples)
    return TARGET_EPOCHS


def candidates(format: str, provider: str, today: datetime.date, catalog: Catalog) -> list[str]:
    """Return the models that the provider can train on files of a format today."""
    facts, models = find_provider(provider, catalog), catalog.models
    return [
        name
        for name in trainable_models(provider, today, catalog)
        if format in models[name].formats
        and not _obstacle(name, models[name].providers[provider], facts, format, today)
    ]


def _obstacle(
    model: str, offer: Offer, provider: Provider, format: str, today: datetime.date
) -> str:
    """Return why the provider cannot train the model on files of a format, or ""."""
    ends, title = offer.trainable_until, provider.title
    if ends and ends.date < today:
        return f"{model} can no longer be trained at {title}, since {ends.date}"
    if offer.methods and METHODS[format] not in offer.methods:
        methods = " and ".join(offer.methods)
        return (
            f"{model} is known to be trained at {title} by {methods} only; "
            f"{format} files need {METHODS[format]}"
        )
    return ""


def estimate(  # noqa: PLR0913 # public keyword-only API
    file: File | Examples | Measured | Summary,
    model: str,
    *,
    provider: str = DEFAULT_PROVIDER,
    format: str | None = None,
    epochs: int | None = None,
    price: float | None = None,
    counting: Counting = "billing",
    today: datetime.date | None = None,
    catalog: Catalog | None = None,
    engine: str = LOCAL,
) -> Estimate:
    """Estimate the training of a model on a file.

    Args:
        file: A path, an open file, or the examples as dictionaries. For several models, measure
            the file once, and give the result, or its summary, here.
        model: Exact name of the model.
        provider: The provider to train at.
        format: The format of the file; detected if None. A summary is taken to be of chat examples.
        epochs: Number of epochs; by the published rule if None.
        price: US dollars per million trained tokens, instead of the published price.
        counting: `billing` for the bill, `notebook` for the figures of the cookbook's notebook.
        today: The date for which to estimate; today if None.
        catalog: Models and prices; those that come with ftkit if None.
        engine: `local`, `ray` or `ray=HOST:PORT` to measure the file with; see `validate`.

    Raises:
        FileError: The file cannot be read, or is not a dataset.
        UnknownNameError: No model or provider has that name.
        UsageError: The provider does not offer the model, the model does not train on the format,
            there is no example, or an argument is invalid.
    """
    _check_numbers(epochs, price)
    check_name("model", model)
    check_name("provider", provider)
    catalog = with_others(catalog or load_catalog(), provider, [model])
    today = today or datetime.date.today()
    how = {
        "models": [model],
        "provider": provider,
        "counting": counting,
        "catalog": catalog,
        "engine": engine,
    }
    summary, format = _measured(file, format, how)
    model_facts, provider_facts = find_model(model, catalog), find_provider(provider, catalog)
    offer = _find_offer(model, model_facts, provider, provider_facts.title)
    if format not in model_facts.formats:
        formats = " and ".join(model_facts.formats)
        raise UsageError(f"{model} trains on {formats} files, and this is a {format} file")
    stats = stats_of(summary, model, counting, catalog)
    if not stats.examples:  # of a summary; files have been checked
        raise UsageError("no example could be read; validate the file to see why")
    is_notebook = counting == "notebook"
    limit = NOTEBOOK_LIMIT if is_notebook else find_limits(provider, model, catalog).tokens
    rounds, epochs_source = _choose_epochs(epochs, offer, stats.examples)
    tokens, lost = total(stats.lengths, limit), stats.trained_cut.get(limit)
    cut = above(stats.lengths, limit)
    approximations = _approximations(stats, cut, counting, offer, model_facts)
    obstacle = _obstacle(model, offer, provider_facts, format, today)
    cost, cost_note = _cost(rounds * tokens, offer, price, today, provider_facts.title)
    served_until = offer.served_until.date if offer.served_until else None
    return Estimate(
        model=model,
        provider=provider,
        encoding=NOTEBOOK.encoding if is_notebook else model_facts.encoding,
        tokens_per_example=limit,
        examples=stats.examples,
        epochs=rounds,
        epochs_source=epochs_source,
        tokens_per_epoch=tokens,
        billed_tokens=rounds * tokens,
        trained_tokens_per_epoch=total(stats.trained) - (lost.tokens if lost else 0),
        cut_examples=cut,
        cut_tokens=total(stats.lengths) - tokens,
        cut_trained_examples=lost.examples if lost else 0,
        exact=not approximations,
        approximations=approximations,
        cost=cost,
        cost_note=cost_note,
        trainable=not obstacle,
        trainable_note=obstacle,
        trainable_until=offer.trainable_until.date if offer.trainable_until else None,
        served_until=served_until,
        served_days=max((served_until - today).days, 0) if served_until else None,
    )


def estimate_without_model(
    stats: TokenStats, model: str, format: str, terms: Terms
) -> ModelFreeEstimate:
    """Estimate the training on a file for which no trainable model is known.

    Args:
        stats: The token statistics of the file, counted for `model`.
        model: Name of a model that was trained on the format; see `reference_model`.
        format: The format of the file.
        terms: Everything else that the estimate depends on.

    Raises:
        UsageError: There is no example.
    """
    _check_numbers(terms.epochs, terms.price)
    facts = find_model(model, terms.catalog)
    offer = facts.providers.get(terms.provider, Offer())
    title = find_provider(terms.provider, terms.catalog).title
    is_notebook = terms.counting == "notebook"
    rounds, epochs_source = _choose_epochs(terms.epochs, Offer(), stats.examples)
    tokens = total(stats.lengths, NOTEBOOK_LIMIT if is_notebook else None)
    cost, _ = _cost(rounds * tokens, Offer(), terms.price, terms.today, title)
    return ModelFreeEstimate(
        encoding=NOTEBOOK.encoding if is_notebook else facts.encoding,
        examples=stats.examples,
        epochs=rounds,
        epochs_source=epochs_source,
        tokens_per_epoch=tokens,
        billed_tokens=rounds * tokens,
        approximations=_approximations(stats, 0, terms.counting, offer, facts),
        cost=cost,
        note=f"no model is known that {title} trains on {format} files today",
    )


def reference_model(format: str, provider: str, catalog: Catalog) -> str:
    """Return a model to count a file for that no model can be trained on today.

    It is one that the provider trained on such files, or else any provider.

    Raises:
        UsageError: No model is known for the format.
    """
    names = [name for name, model in catalog.models.items() if format in model.formats]
    if not names:
        raise UsageError(f"no model is known for {format} files; name one in `models`")
    offered = [name for name in names if provider in catalog.models[name].providers]
    return (offered or names)[0]


def _check_numbers(epochs: int | None, price: float | None) -> None:
    """Raise `UsageError` for numbers without a meaning."""
    if epochs is not None and (not isinstance(epochs, int) or epochs < 1):
        raise UsageError(f"`epochs` must be a whole number from 1, not {epochs!r:.100}")
    is_number = isinstance(price, (int, float)) and 0 <= price < math.inf  # NaN is neither
    if price is not None and not is_number:
        raise UsageError(f"`price` must be a number of US dollars, not {price!r:.100}")


def _measured(
    file: File | Examples | Measured | Summary, format: str | None, how: dict[str, Any]
) -> tuple[Summary, str]:
    """Return the summary and the format of a file, which is measured unless it has been."""
    if isinstance(file, Summary):
        return file, format or "chat"
    measured = file if isinstance(file, Measured) else measure(file, format=format, **how)
    if format not in (None, measured.format):
        raise wrong_format(measured.file, measured.format, format)
    if not measured.examples:
        raise no_example(measured.file)
    return measured.summary, measured.format


def _choose_epochs(epochs: int | None, offer: Offer, examples: int) -> tuple[int, EpochsSource]:
    """Return the number of epochs and where it comes from."""
    if epochs:
        return epochs, "given"
    return (offer.epochs.value, "service") if offer.epochs else (auto_epochs(examples), "rule")


def _find_offer(model: str, facts: Model, provider: str, title: str) -> Offer:
    if provider not in facts.providers:
        others = f"; it is offered by {', '.join(facts.providers)}" if facts.providers else ""
        raise UsageError(
            f"{title} does not offer {model} for training{others}; see `ftkit catalog`"
        )
    return facts.providers[provider]


def _approximations(
    stats: TokenStats, cut: int, counting: Counting, offer: Offer, facts: Model
) -> tuple[str, ...]:
    """Return why the tokens may differ from the bill: how many examples, and the rule used."""
    kinds = {**stats.approximations, "cut": cut}
    reasons = []
    if offer.training and offer.training[0].per == "hour":
        reasons.append(BY_THE_HOUR)
    if facts.borrowed:
        reasons.append(facts.borrowed)
    if counting == "notebook":
        reasons.append(
            "counted like the cookbook's notebook, in cl100k_base with 3 tokens per example; "
            "providers bill 1"
        )
    for kind, text in APPROXIMATIONS.items():
        if kinds.get(kind):
            reasons.append(f"{kinds[kind]:,} examples: {text}")
    return tuple(reasons)


def _cost(
    tokens: int, offer: Offer, price: float | None, today: datetime.date, title: str
) -> tuple[Cost | None, str]:
    """Return the cost, or None and the reason why it is unknown."""
    if price is not None:
        return _cost_at(tokens, Price(price, f"{today:%Y-%m}", "your own price", today)), ""
    if not offer.training:
        note = f"{title} publishes no price for this; set `price`, in US dollars per million tokens"
        return None, note
    current = offer.training[0]
    if current.per == "hour":
        rate = f"${current.usd:,.2f} ({current.source})"
        return None, f"billed by the hour of training: {rate}; tokens do not tell the cost"
    return _cost_at(tokens, current), ""


def _cost_at(tokens: int, price: Price) -> Cost:
    return Cost(round(tokens * price.usd / 1e6, 6), price.usd, price.source, price.as_of)
