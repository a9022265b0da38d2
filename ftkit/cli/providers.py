"""`ftkit providers`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import msgspec

from ftkit.cli.options import Configured, option, output_option
from ftkit.cli.output import print_json, terminal_width
from ftkit.cli.terminal import write
from ftkit.client.credentials import NO_KEY, find_key
from ftkit.errors import UsageError
from ftkit.report.columns import fields, wrap

if TYPE_CHECKING:
    from ftkit.catalog import Api, Provider


@click.command(cls=Configured)
@option("--facts", metavar="FILE", help="TOML file with your own models and providers.")
@output_option
def providers(facts: str | None, output: str) -> None:
    """List the supported providers with their base URLs, API keys and unsupported features."""
    from ftkit.catalog import load_catalog, unsupported

    supported, others = load_catalog(facts).providers, unsupported()
    if output == "json":
        lists = {"providers": supported, "unsupported": others}
        print_json(msgspec.to_builtins(lists))
        return
    width = terminal_width()
    for name, provider in supported.items():
        write(f"{click.style(name, bold=True)}  {provider.title}\n")
        write(fields(_fields(name, provider), width) + "\n")
    for name, other in others.items():
        heading = f"{click.style(name, bold=True)}  "
        write(wrap(f"{other.title}: not supported, {other.why}", heading, " " * 11, width))


def _fields(name: str, provider: Provider) -> list[tuple[str, str]]:
    api = provider.api
    if api is None:
        return [("address", "unknown")]
    return [
        ("address", _address(api)),
        ("key", f"{' or '.join(api.keys)} ({_key_status(name, api)})"),
        ("unsupported", ", ".join(api.lacks) or "none"),
        ("note", api.closing),
    ]


def _key_status(name: str, api: Api) -> str:
    try:
        key = find_key(name, api.keys, os.environ, api.key_needed)
    except UsageError:
        return "not set"
    return "not needed" if key == NO_KEY else "set"


def _address(api: Api) -> str:
    if api.embedded:
        return f"{api.address}, started on demand"
    return api.base_url or f"your own, set with --base-url, such as {api.address}"
