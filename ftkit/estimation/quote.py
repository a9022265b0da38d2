"""The whole answer to what training on a file costs: the file's tokens, and an estimate for each model that was asked for."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from ftkit.catalog import DEFAULT_PROVIDER, Catalog, find_provider, load_catalog, with_others
from ftkit.dataset.detect import Head
from ftkit.errors import FileError, UsageError
from ftkit.estimation.estimate import (
    Counting,
    Estimate,
    Measured,
    Usage,
    candidates,
    estimate,
    format_of,
    ledger_of,
    measure,
    usage,
)
from ftkit.tokens.stats import Distribution, distribution, total
from ftkit.validation.pool import Progress
from ftkit.dataset.reader import check_readable as must_be_readable, read_head


class Validation(Struct, frozen=True):
    """The validation file: its examples, its tokens, and whether the provider bills them."""

    file: str
    examples: int
    tokens: int
    billed: bool


class Quote(Struct, frozen=True):
    """What `ftkit estimate` says of a file.

    `tokens` are those of one epoch before any cut and `trained` those of them that are learned, counted for the first of
    `models`, as the distributions over the examples are (of `tokens`, over the sequences). `models` are cheapest first.
    `skipped` lines are left out since no example could be read from them.
    """

    file: str
    format: str
    provider: str
    counting: Counting
    examples: int
    skipped: int
    tokens: int
    trained: int
    without_system: int
    without_user: int
    distributions: dict[str, Distribution]
    models: tuple[Estimate, ...]
    usage: dict[str, Usage]
    validation: Validation | None


def quote(
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
    progress: Progress | None = None,
) -> Quote:
    """What training on the file costs.

    Args:
        file: The path of a file; a name that ends in `.gz` is read through gzip.
        models: The models, by their exact names; all that can be trained on the file's format today if there are none.
        provider: The service.
        format: Read the file as this format; recognised if None.
        epochs, price, counting: See `estimate`.
        validation_file: A file whose tokens are told beside.
        requests, base_prompt: See `usage`; nothing is said of usage if `requests` is None.

    Raises:
        FileError: A file cannot be read or is none that is trained on.
        UsageError: A file has another format. See also `estimate`; `UnknownNameError` for names nobody knows.
    """
    known, day = (
        with_others(catalog or load_catalog(), provider, models),
        today or datetime.date.today(),
    )
    service = find_provider(provider, known)
    path = os.fspath(file)
    must_be_readable(path)
    found = format_of(_head(path), format)
    named = list(dict.fromkeys(models)) or candidates(found, provider, day, known)
    if not named:
        raise UsageError(
            f"no model is known that {service.title} trains on {found} files today; name one with --model"
        )
    measured = measure(
        path,
        named,
        provider=provider,
        format=found,
        counting=counting,
        catalog=known,
        workers=workers,
        progress=progress,
    )
    estimates = [
        estimate(
            measured.summary,
            name,
            provider=provider,
            format=measured.format,
            epochs=epochs,
            price=price,
            counting=counting,
            today=day,
            catalog=known,
        )
        for name in named
    ]
    estimates.sort(key=lambda each: (each.cost is None, each.cost.usd if each.cost else 0))
    usages = {}
    for each in estimates if requests is not None and counting == "billing" else ():
        used = usage(
            measured.summary,
            each.model,
            requests or 0,
            each.cost,
            base_prompt,
            provider=provider,
            catalog=known,
        )
        if used:
            usages[each.model] = used
    first = estimates[0]
    ledger = ledger_of(measured.summary, first.model, counting, known)
    return Quote(
        file=path,
        format=measured.format,
        provider=provider,
        counting=counting,
        examples=ledger.examples,
        skipped=measured.skipped,
        tokens=total(ledger.lengths),
        trained=total(ledger.trained),
        without_system=ledger.without_system,
        without_user=ledger.without_user,
        distributions={
            "messages": distribution(ledger.messages),
            "tokens": distribution(ledger.lengths),
            "trained_tokens": distribution(ledger.trained),
        },
        models=tuple(estimates),
        usage=usages,
        validation=_validation(
            validation_file, first, measured, counting, service.bills_validation, known
        ),
    )


def _head(path: str) -> Head:
    head = read_head(path)
    if not head.data.strip():
        raise FileError(f"{path} is empty; write at least one example into it")
    return head


def _validation(
    file: str | os.PathLike[str] | None,
    first: Estimate,
    measured: Measured,
    counting: Counting,
    billed: bool,
    catalog: Catalog,
) -> Validation | None:
    if file is None:
        return None
    other = measure(
        Path(file),
        [first.model],
        provider=first.provider,
        format=measured.format,
        counting=counting,
        catalog=catalog,
    )
    ledger = ledger_of(other.summary, first.model, counting, catalog)
    return Validation(
        os.fspath(file), ledger.examples, total(ledger.lengths, first.tokens_per_example), billed
    )
