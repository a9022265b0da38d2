"""`ftkit mix`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import click

from ftkit.cli.inputs import expand
from ftkit.cli.options import Configured, option
from ftkit.cli.preparing import EXIT_CODES, output_options, write_prepared
from ftkit.errors import UsageError


def _weighted(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> list[tuple[str, float]]:
    """Return the name and the weight of each source."""
    pairs: list[tuple[str, float]] = []
    for value in values:
        name, _, weight = value.rpartition("=")
        try:
            pairs.append((name, float(weight)))
        except ValueError:
            name = ""
        if not name:
            raise click.BadParameter(f"{value!r} is not a file with its weight, such as {value}=1")
    return pairs


@click.command(cls=Configured, epilog=EXIT_CODES)
@output_options
@click.argument("sources", nargs=-1, required=True, callback=_weighted, metavar="FILE=WEIGHT...")
@click.option(
    "--total",
    type=click.IntRange(1),
    metavar="N",
    help="Number of rows or tokens to write.  [default: as many as the files allow]",
)
@click.option(
    "--by",
    type=click.Choice(["rows", "tokens"]),
    default="rows",
    show_default=True,
    help="What the weights and --total count: rows, or tokens as they are billed.",
)
@option(
    "--model",
    "-m",
    metavar="NAME",
    help="Model whose encoding counts the tokens.  [default: cl100k_base]",
)
@click.option(
    "--salt", default="", metavar="TEXT", help="Take another mixture.  [default: an empty text]"
)
def mix(
    sources: Sequence[tuple[str, float]],
    total: int | None,
    by: Any,
    model: str | None,
    salt: str,
    **options: Any,
) -> int:
    """Mix several files by weight, and shuffle the rows.

    Rows are chosen and ordered by the hash of their content: the same rows give the same mixture.
    A FILE may be a pattern in quotes, whose files then count as one.
    """
    from ftkit.prepare.mix import mix as prepare
    from ftkit.prepare.prepared import Prepared

    groups = [expand([name]) for name, _ in sources]
    files = [path for group in groups for path in group]
    twice = next((path for path, number in Counter(files).items() if number > 1), None)
    if twice:
        raise UsageError(f"{twice} is named twice; name it once, with the sum of its weights")
    bounds = list(pairwise(accumulate(map(len, groups), initial=0)))

    def run(paths: list[str]) -> Prepared:
        parts = [paths[start:end] for start, end in bounds]
        weights = [weight for _, weight in sources]
        pairs = list(zip(parts, weights, strict=True))
        return prepare(pairs, total=total, by=by, salt=salt, model=model)

    return write_prepared(files, run, options)
