"""Commands that fail in unexpected ways."""

from __future__ import annotations

import errno
import os

import click


@click.command()
@click.argument("message", default="")
def broken(message: str) -> None:
    """Raise an exception that is no error of a user."""
    raise RuntimeError(message)


@click.command()
def broken_disk() -> None:
    """Raise the error of a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
