"""`ftkit providers`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import msgspec

from ftkit.cli import print_text
from ftkit.cli.options import Configured, option, output_option
from ftkit.cli.output import print_json, terminal_width
from ftkit.client.credentials import NO_KEY, find_key
from ftkit.errors import UsageError
from ftkit.report.columns import fields, wrap

if TYPE_CHECKING:
    from ftkit.catalog import Api


@click.command(cls=Configured)
@option("--facts", metavar="FILE", help="TOML with models and providers of your own.")
@output_option
def providers(facts: str | None, output: str) -> None:
    """List the services that ftkit can talk to, how, and what each lacks."""
    from ftkit.catalog import load_catalog, unsupported

    known, others = load_catalog(facts).providers, unsupported()
    if output == "json":
        print_json(
            {"providers": msgspec.to_builtins(known), "unsupported": msgspec.to_builtins(others)}
        )
        return
    width = terminal_width()
    for name, provider in known.items():
        print_text(f"{click.style(name, bold=True)}  {provider.title}\n")
        told = (
            _fields(name, provider.api)
            if provider.api
            else [("address", "how to reach it is not known")]
        )
        print_text(fields(told, width) + "\n")
    for name, other in others.items():
        print_text(
            wrap(
                f"{other.title}: not supported, {other.why}",
                f"{click.style(name, bold=True)}  ",
                " " * 11,
                width,
            )
        )


def _fields(name: str, api: Api) -> list[tuple[str, str]]:
    try:
        has = (
            "set"
            if find_key(name, api.keys, os.environ, api.key_needed) != NO_KEY
            else "not needed"
        )
    except UsageError:
        has = "not set"
    return [
        ("address", _address(api)),
        ("key", f"{' or '.join(api.keys)} ({has})"),
        ("lacks", ", ".join(api.lacks) or "nothing"),
        ("note", api.closing),
    ]


def _address(api: Api) -> str:
    if api.embedded:
        return f"{api.address}, started where it is needed"
    return api.base_url or f"your own, with --base-url, e.g. {api.address}"
