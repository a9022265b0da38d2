"""Price quotes: the tokens of a file, and an estimate for each requested model."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.catalog import DEFAULT_PROVIDER, Catalog, find_provider, load_catalog, with_others
from ftkit.dataset.reader import find_file, read_head
from ftkit.errors import FileError, check_names
from ftkit.estimation.estimate import (
    Estimate,
    ModelFreeEstimate,
    Terms,
    candidates,
    estimate,
    estimate_without_model,
    reference_model,
)
from ftkit.estimation.measure import Counting, Measured, format_of, measure, no_example, stats_of
from ftkit.estimation.usage import Usage, usage
from ftkit.tokens.stats import Distribution, TokenStats, distribution, total
from ftkit.validation.engines import LOCAL
from ftkit.validation.scan import Progress


class Validation(Struct, frozen=True):
    """A validation file: its examples, its tokens, and whether the provider bills them."""

    file: str
    examples: int
    tokens: int
    billed: bool


class Quote(Struct, frozen=True):
    """The tokens of a file, and estimates for models, cheapest first.

    `without_model` is the estimate if no model is known that the provider trains on such a file.

    `tokens` are those of one epoch before any cut, and `trained` those of them that are learned.
    They and the distributions over the examples (of `tokens`: over the sequences) are counted for
    the first of `models`. `skipped` lines are left out because no example could be read from them.
    `extra_keys` is the number of examples with keys that the provider refuses, which are counted
    without these keys.
    """

    file: str
    format: str
    provider: str
    counting: Counting
    examples: int
    skipped: int
    extra_keys: int
    tokens: int
    trained: int
    without_system: int
    without_user: int
    distributions: dict[str, Distribution]
    models: tuple[Estimate, ...]
    without_model: ModelFreeEstimate | None
    usage: dict[str, Usage]
    validation: Validation | None


def quote(  # noqa: PLR0913 # public keyword-only API
    file: str | os.PathLike[str],
    models: Sequence[str] = (),
    *,
    provider: str = DEFAULT_PROVIDER,
    format: str | None = None,
    epochs: int | None = None,
    price: float | None = None,
    counting: Counting = "billing",
    validation_file: str | os.PathLike[str] | None = None,
    requests: int | None = None,
    base_prompt: str = "",
    today: datetime.date | None = None,
    catalog: Catalog | None = None,
    workers: int | None = None,
    engine: str = LOCAL,
    progress: Progress | None = None,
) -> Quote:
    """Return the price quote for training on a file.

    Args:
        file: The file, or a URL in object storage. If its name ends in `.gz`, it is read through
            gzip.
        models: Exact names of models; all that can be trained on the file's format if empty. If
            none can, the quote has no models, but `without_model`.
        provider: The provider to train at.
        format: The format to read the file as; detected if None.
        epochs: Number of epochs; see `estimate`.
        price: US dollars per million trained tokens; see `estimate`.
        counting: `billing` or `notebook`; see `estimate`.
        validation_file: A validation file, whose tokens are counted too.
        requests: Requests per month, to quote the cost of using the models; see `usage`.
        base_prompt: Instructions that the base model needs in each request; see `usage`.
        today: The date for which to quote; today if None.
        catalog: Models and prices; those that come with ftkit if None.
        workers: Number of processes for large files, or of tasks at a time in a cluster; one per
            processor if None.
        engine: `local`, `ray` or `ray=HOST:PORT`; see `validate`.
        progress: Called with a file's name and the bytes scanned since the last call.

    Raises:
        FileError: A file cannot be read, or is not a dataset.
        UsageError: A file has another format; see also `estimate`.
        UnknownNameError: No model or provider has that name.
    """
    check_names("models", models)
    terms = Terms(
        with_others(catalog or load_catalog(), provider, models),
        today or datetime.date.today(),
        provider,
        epochs,
        price,
        counting,
        requests,
        base_prompt,
    )
    result, _ = quote_with_stats(
        file,
        models,
        terms,
        format,
        validation_file,
        workers=workers,
        engine=engine,
        progress=progress,
    )
    return result


def quote_with_stats(
    file: str | os.PathLike[str],
    models: Sequence[str],
    terms: Terms,
    format: str | None = None,
    validation_file: str | os.PathLike[str] | None = None,
    *,
    progress: Progress | None = None,
    **scan_options: Any,
) -> tuple[Quote, TokenStats]:
    """Return the price quote of `quote`, and the token statistics for its first model.

    Args:
        file: The file.
        models: Exact names of models, or none.
        terms: Everything else that the estimate depends on.
        format: The format to read the file as; detected if None.
        validation_file: A validation file, whose tokens are counted too.
        progress: Called with a file's name and the bytes scanned since the last call.
        **scan_options: `workers` and `engine` of `measure`.
    """
    path = find_file(os.fspath(file))
    format, provider = _detect_format(path, format), terms.provider
    names = list(dict.fromkeys(models)) or candidates(format, provider, terms.today, terms.catalog)
    options: dict[str, Any] = {
        "provider": provider,
        "format": format,
        "counting": terms.counting,
        "catalog": terms.catalog,
        **scan_options,
    }
    counted = names or [reference_model(format, provider, terms.catalog)]
    measured = measure(path, counted, progress=progress, **options)
    result = quote_measured(measured, names, terms)
    first = _counted_for(result, terms)
    stats = stats_of(measured.summary, first, terms.counting, terms.catalog)
    if validation_file is not None:
        second = measure(validation_file, [first], **options)
        result = with_validation(result, second, terms)
    return result, stats


def quote_measured(measured: Measured, models: Sequence[str], terms: Terms) -> Quote:
    """Return the price quote for training on a file that was measured for these models.

    Without models, it must have been measured for the `reference_model` of its format.

    Raises:
        UsageError: There is no example, or a model cannot be estimated; see `estimate`.
    """
    if not measured.examples:
        raise no_example(measured.file)
    counting = terms.counting
    estimates = [_estimate(measured, model, terms) for model in models]
    estimates.sort(key=lambda row: (row.cost is None, row.cost.usd if row.cost else 0))
    format, without_model = measured.format, None
    if estimates:
        first = estimates[0].model
    else:
        first = reference_model(format, terms.provider, terms.catalog)
    stats = stats_of(measured.summary, first, counting, terms.catalog)
    if not estimates:
        without_model = estimate_without_model(stats, first, format, terms)
    return Quote(
        file=measured.file,
        format=measured.format,
        provider=terms.provider,
        counting=counting,
        examples=stats.examples,
        skipped=measured.skipped,
        extra_keys=stats.extra_keys,
        tokens=total(stats.lengths),
        trained=total(stats.trained),
        without_system=stats.without_system,
        without_user=stats.without_user,
        distributions=_distributions(stats),
        models=tuple(estimates),
        without_model=without_model,
        usage=_usages(measured, estimates, terms),
        validation=None,
    )


def with_validation(quote: Quote, measured: Measured, terms: Terms) -> Quote:
    """Return the quote with the tokens of a validation file.

    The file must have been measured for the first model of the quote, or for the `reference_model`
    of the format if it has none.
    """
    first = _counted_for(quote, terms)
    stats = stats_of(measured.summary, first, terms.counting, terms.catalog)
    validation = Validation(
        measured.file,
        stats.examples,
        total(stats.lengths, quote.models[0].tokens_per_example if quote.models else None),
        find_provider(terms.provider, terms.catalog).bills_validation,
    )
    return msgspec.structs.replace(quote, validation=validation)


def _counted_for(quote: Quote, terms: Terms) -> str:
    """Return the model that the tokens of a quote are counted for."""
    if quote.models:
        return quote.models[0].model
    return reference_model(quote.format, terms.provider, terms.catalog)


def _detect_format(path: str, format: str | None) -> str:
    head = read_head(path)
    if not head.data.strip():
        raise empty_file(path)
    return format_of(head, format)


def empty_file(path: str) -> FileError:
    """Return the error for a file without any example."""
    return FileError(f"{path} is empty; write at least one example into it")


def _estimate(measured: Measured, model: str, terms: Terms) -> Estimate:
    return estimate(
        measured.summary,
        model,
        provider=terms.provider,
        format=measured.format,
        epochs=terms.epochs,
        price=terms.price,
        counting=terms.counting,
        today=terms.today,
        catalog=terms.catalog,
    )


def _usages(measured: Measured, estimates: Sequence[Estimate], terms: Terms) -> dict[str, Usage]:
    if terms.requests is None or terms.counting != "billing":
        return {}
    usages = {
        row.model: usage(
            measured.summary,
            row.model,
            terms.requests,
            row.cost,
            terms.base_prompt,
            provider=terms.provider,
            catalog=terms.catalog,
        )
        for row in estimates
    }
    return {model: used for model, used in usages.items() if used}


def _distributions(stats: TokenStats) -> dict[str, Distribution]:
    return {
        "messages": distribution(stats.messages),
        "tokens": distribution(stats.lengths),
        "trained_tokens": distribution(stats.trained),
    }
