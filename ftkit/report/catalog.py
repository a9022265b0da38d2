"""The catalog of models and providers, for people and as one JSON object."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from ftkit._version import __version__
from ftkit.catalog import Catalog, Deadline, Model, Offer, Price, Provider
from ftkit.report.columns import table

COLUMNS = (
    "model",
    "methods",
    "tokens",
    "training",
    "input",
    "output",
    "trained until",
    "served until",
)
FIGURES = {
    "min_examples": "examples at least",
    "file_bytes": "bytes a file",
    "images_per_example": "images an example",
}


def render_catalog_text(catalog: Catalog, provider: str | None, today: datetime.date) -> str:
    """The models of each provider, or of one, in tables with ANSI colours."""
    shown = [name for name in catalog.providers if provider in (None, name)]
    return "\n".join(_provider(name, catalog, today) for name in shown) + _notes(catalog, shown)


def _provider(name: str, catalog: Catalog, today: datetime.date) -> str:
    service = catalog.providers[name]
    rows = [
        _row(model, found, found.providers[name], name, today)
        for model, found in catalog.models.items()
        if name in found.providers
    ]
    heading = f"{click.style(f'{name}: {service.title}', bold=True)}  {click.style(_limits(service), dim=True)}\n"
    return heading + (
        table([COLUMNS, *rows], left=2)
        if rows
        else "  its models are not listed here: add them with --facts\n"
    )


def _limits(service: Provider) -> str:
    known = [(what, getattr(service, name)) for name, what in FIGURES.items()]
    return " · ".join(
        [
            ", ".join(service.formats),
            *(f"{figure.value:,} {what}" for what, figure in known if figure),
        ]
    )


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
    return f"${price.usd:,.2f}{' an hour' if price.per == 'hour' else ''}"


def _date(deadline: Deadline | None, today: datetime.date) -> str:
    if deadline is None:
        return "-"
    return (
        click.style(str(deadline.date), dim=True) + " (over)"
        if deadline.date < today
        else str(deadline.date)
    )


def _notes(catalog: Catalog, shown: list[str]) -> str:
    dates = {price.as_of for price in _prices(catalog, shown)}
    span = " to ".join(sorted({min(dates), max(dates)})) if dates else ""
    when = f"prices in US dollars per million tokens, as of {span}; " if span else ""
    return f"\n{click.style(f'{when}`--output json` gives the source of each figure.', dim=True)}\n"


def _prices(catalog: Catalog, shown: list[str]) -> Iterator[Price]:
    for model in catalog.models.values():
        for name, offer in model.providers.items():
            yield from (
                price
                for price in (*offer.training[:1], offer.input, offer.output)
                if price and name in shown
            )


def render_catalog_json(catalog: Catalog, provider: str | None) -> str:
    """See `docs/output.md` for the keys."""
    told: dict[str, Any] = msgspec.to_builtins(catalog)
    if provider:
        told["providers"] = {provider: told["providers"][provider]}
        told["models"] = {
            name: model for name, model in told["models"].items() if provider in model["providers"]
        }
        for model in told["models"].values():
            model["providers"] = {provider: model["providers"][provider]}
    return json.dumps({"ftkit": __version__, **told}, indent=2, ensure_ascii=False) + "\n"
