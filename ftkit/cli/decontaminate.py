"""`ftkit decontaminate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ftkit.cli.command import Command
from ftkit.cli.inputs import expand
from ftkit.cli.preparing import EXIT_CODES, preparing, write_prepared


@click.command(cls=Command, epilog=EXIT_CODES)
@preparing
@click.option(
    "--against",
    multiple=True,
    required=True,
    metavar="FILE",
    help="Drop rows that share text with the prompts in FILE. Can be repeated.",
)
@click.option(
    "--ngram",
    type=click.IntRange(1, 100),
    default=8,
    show_default=True,
    metavar="N",
    help="Number of consecutive words that are compared. A text with fewer words is compared as a "
    "whole.",
)
def decontaminate(files: Sequence[str], against: Sequence[str], ngram: int, **options: Any) -> int:
    """Remove rows from FILES that share text with the data of an evaluation.

    Case and punctuation make no difference. The report has the words and the rows that share them.
    """
    from ftkit.prepare.decontaminate import decontaminate as prepare

    others = expand(against)
    return write_prepared(
        files, lambda paths: prepare(paths, against=others, ngram=ngram), options, others=others
    )
