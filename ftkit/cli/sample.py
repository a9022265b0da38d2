"""`ftkit sample`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ftkit.cli.command import Command
from ftkit.cli.preparing import EXIT_CODES, preparing, write_prepared


@click.command(cls=Command, epilog=EXIT_CODES)
@preparing
@click.option("--count", "-n", type=click.IntRange(0), metavar="N", help="Number of rows.")
@click.option(
    "--fraction", type=click.FloatRange(0, 1), metavar="X", help="Approximate share of the rows."
)
@click.option(
    "--salt", default="", metavar="TEXT", help="Take another sample.  [default: an empty text]"
)
def sample(
    files: Sequence[str], count: int | None, fraction: float | None, salt: str, **options: Any
) -> int:
    """Take a sample of the rows of FILES, in their order.

    Rows are chosen by the hash of their content: the same rows give the same sample, and rows that
    are added later change nothing for the others with --fraction.
    """
    from ftkit.prepare.sample import sample as take

    return write_prepared(
        files, lambda paths: take(paths, count=count, fraction=fraction, salt=salt), options
    )
