"""Commands that fail in unexpected ways."""

from __future__ import annotations

import errno
import os

import click

from ftkit.cli.command import Command
from ftkit.cli.options import output_option
from ftkit.cli.terminal import write


@click.command()
@click.argument("message", default="")
def broken(message: str) -> None:
    """Raise an exception that is no error of a user."""
    raise RuntimeError(message)


@click.command()
def broken_disk() -> None:
    """Raise the error of a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@click.command(cls=Command)
@output_option
def broken_off(output: str) -> int:
    """Return the exit code of an error after some output."""
    write("half")
    return 2
