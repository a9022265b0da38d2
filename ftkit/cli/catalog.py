"""`ftkit catalog`."""

from __future__ import annotations

import datetime

import click

from ftkit.cli import print_text
from ftkit.cli.options import Configured, on_day, option


@click.command(cls=Configured)
@option("--provider", metavar="NAME", help="Only what this service offers.")
@on_day()
@option("--facts", metavar="FILE", help="TOML with models, providers and prices of your own.")
@option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to report.",
)
def catalog(
    provider: str | None, today: datetime.date | None, facts: str | None, output: str
) -> None:
    """List models and providers: methods, limits, prices, and until when they train and serve.

    Prices are in US dollars per million tokens. JSON gives the source of each figure and the day it was checked.
    """
    from ftkit.catalog import find_provider, load_catalog
    from ftkit.report.catalog import render_catalog_json, render_catalog_text

    known = load_catalog(facts)
    if provider:
        find_provider(provider, known)
    if output == "json":
        print_text(render_catalog_json(known, provider))
    else:
        print_text(render_catalog_text(known, provider, today or datetime.date.today()))
