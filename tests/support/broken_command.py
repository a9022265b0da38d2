"""A command with a bug."""

from __future__ import annotations

import click


@click.command()
@click.argument("message", default="")
def broken(message: str) -> None:
    """Raise an exception that is no error of a user."""
    raise RuntimeError(message)
