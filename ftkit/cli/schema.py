"""`ftkit schema`."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("format")
def schema(format: str) -> None:
    """Print the JSON Schema of one line of a FORMAT.

    FORMAT is chat, completions, preference or reinforcement.
    """
    from ftkit.dataset.formats import schema as make

    click.echo(json.dumps(make(format), indent=2))
