"""The catalog of models and providers as text and JSON."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from ftkit._text import money
from ftkit._version import __version__
from ftkit.catalog import Catalog, Deadline, Model, Offer, Price, Provider
from ftkit.report.columns import table, wrap

COLUMNS = (
    "model",
    "methods",
    "max tokens",
    "training",
    "input",
    "output",
    "trainable until",
    "served until",
)

LIMITS = {
    "min_examples": "at least {:,} examples",
    "file_bytes": "{:,} bytes per file",
    "images_per_example": "{:,} images per example",
}
"""Limits of a provider that are shown, by attribute."""


def render_catalog_text(
    catalog: Catalog, provider: str | None, today: datetime.date, width: int | None = None
) -> str:
    """Render a table of models for each provider, with ANSI colours.

    Args:
        catalog: The catalog.
        provider: Show only this provider, or all if None.
        today: Dates before this day are marked.
        width: Width of the terminal, or None for an unlimited width.
    """
    names = [name for name in catalog.providers if provider in (None, name)]
    tables = "\n".join(_provider(name, catalog, today, width) for name in names)
    return tables + _notes(catalog, names, width)


def _provider(name: str, catalog: Catalog, today: datetime.date, width: int | None) -> str:
    provider = catalog.providers[name]
    rows = [
        _row(model_name, model, model.providers[name], name, today)
        for model_name, model in catalog.models.items()
        if name in model.providers
    ]
    title = click.style(f"{name}: {provider.title}", bold=True)
    space = "  " if width is None else "\n    "
    heading = wrap(_limits(provider), title + space, "    ", width, dim=True)
    if not rows:
        return f"{heading}  no models listed; add them with --facts\n"
    return heading + table([COLUMNS, *rows], left=2, width=width)


def _limits(provider: Provider) -> str:
    figures = [(getattr(provider, name), text) for name, text in LIMITS.items()]
    limits = [text.format(figure.value) for figure, text in figures if figure]
    return " · ".join([", ".join(provider.formats), *limits])


def _row(
    name: str, model: Model, offer: Offer, provider: str, today: datetime.date
) -> tuple[str, ...]:
    limit = model.limit(provider)
    return (
        name,
        ", ".join(offer.methods),
        f"{limit.value:,}" if limit else "-",
        _price(offer.training[0] if offer.training else None),
        _price(offer.input),
        _price(offer.output),
        _date(offer.trainable_until, today),
        _date(offer.served_until, today),
    )


def _price(price: Price | None) -> str:
    if price is None:
        return "-"
    return f"{money(price.usd)}{' per hour' if price.per == 'hour' else ''}"


def _date(deadline: Deadline | None, today: datetime.date) -> str:
    if deadline is None:
        return "-"
    if deadline.date < today:
        return f"{click.style(str(deadline.date), dim=True)} (past)"
    return str(deadline.date)


def _notes(catalog: Catalog, providers: list[str], width: int | None) -> str:
    months = {price.as_of for price in _prices(catalog, providers)}
    span = " to ".join(sorted({min(months), max(months)})) if months else ""
    prices = f"Prices in US dollars per million tokens, as of {span}. " if span else ""
    note = f"{prices}Run `ftkit catalog --output json` for the source of each figure."
    return "\n" + wrap(note, "", "", width, dim=True)


def _prices(catalog: Catalog, providers: list[str]) -> Iterator[Price]:
    """Yield the prices that are shown."""
    for model in catalog.models.values():
        for name, offer in model.providers.items():
            if name in providers:
                prices = (*offer.training[:1], offer.input, offer.output)
                yield from (price for price in prices if price)


def render_catalog_json(catalog: Catalog, provider: str | None) -> str:
    """Render the catalog, or one of its providers, as JSON; see `docs/output.md` for the keys."""
    values: dict[str, Any] = msgspec.to_builtins(catalog)
    if provider:
        values["providers"] = {provider: values["providers"][provider]}
        values["models"] = {
            name: {**model, "providers": {provider: model["providers"][provider]}}
            for name, model in values["models"].items()
            if provider in model["providers"]
        }
    return json.dumps({"ftkit": __version__, **values}, indent=2, ensure_ascii=False) + "\n"
