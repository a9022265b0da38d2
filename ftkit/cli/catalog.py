"""`ftkit catalog`."""

from __future__ import annotations

import datetime

import click

from ftkit.cli.options import Configured, on_day, option, output_option
from ftkit.cli.output import terminal_width
from ftkit.cli.terminal import write, write_json


@click.command(cls=Configured)
@option("--provider", metavar="NAME", help="List only the models of this provider.")
@on_day()
@option("--facts", metavar="FILE", help="TOML file with your own models, providers and prices.")
@output_option
def catalog(
    provider: str | None, today: datetime.date | None, facts: str | None, output: str
) -> None:
    """List models and providers with their methods, limits, prices and shutdown dates.

    Prices are in US dollars per million tokens. JSON output has the source of each figure and the
    day on which it was checked.
    """
    from ftkit.catalog import find_provider, load_catalog
    from ftkit.report.catalog import render_catalog_json, render_catalog_text

    models = load_catalog(facts)
    if provider:
        find_provider(provider, models)
    if output == "json":
        write_json(render_catalog_json(models, provider))
    else:
        day = today or datetime.date.today()
        write(render_catalog_text(models, provider, day, terminal_width()))
