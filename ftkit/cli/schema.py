"""`ftkit schema`."""

from __future__ import annotations

import click

from ftkit.cli.command import Command
from ftkit.cli.output import print_json


@click.command(cls=Command)
@click.argument("format")
def schema(format: str) -> None:
    """Print the JSON Schema of one line of a FORMAT.

    FORMAT is chat, completions, preference or reinforcement.
    """
    from ftkit.dataset.formats import schema as make

    print_json(make(format))
