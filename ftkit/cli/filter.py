"""`ftkit filter`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ftkit.cli.inputs import FORMATS
from ftkit.cli.options import Configured, option
from ftkit.cli.preparing import preparing, write_prepared

EXIT_CODES = (
    "Exit codes: 0 done, 1 findings: rows were rejected, 2 error, or no row is an example, "
    "130 interrupted."
)


@click.command(cls=Configured, epilog=EXIT_CODES)
@preparing
@click.option(
    "--where",
    required=True,
    metavar="EXPR",
    help="Condition, such as 'tokens <= 4096 and \"tool\" not in roles'.",
)
@click.option("--invert", is_flag=True, help="Keep the rows on which the condition does not hold.")
@option("--format", type=click.Choice(FORMATS), help="Format.  [default: detected for each row]")
@option(
    "--model",
    "-m",
    metavar="NAME",
    help="Model whose encoding counts the tokens.  [default: cl100k_base]",
)
def filter(
    files: Sequence[str],
    where: str,
    invert: bool,
    format: str | None,
    model: str | None,
    **options: Any,
) -> int:
    """Keep the rows of FILES on which a condition holds.

    A condition compares names, paths into the row and constants, with and, or, not and in. Names
    are tokens, trained_tokens, chars, turns, messages, roles, has_tools, has_images, format and
    language; a path is for example $.metadata.topic.
    """
    from ftkit.prepare.filter.filter import filter_rows

    def prepare(paths: list[str]) -> Any:
        return filter_rows(paths, where=where, invert=invert, format=format, model=model)

    return write_prepared(files, prepare, options)
