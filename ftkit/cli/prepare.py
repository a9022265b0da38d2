"""`ftkit prepare`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from ftkit.cli.command import Command, refuse_output_over_settings
from ftkit.cli.inputs import progress
from ftkit.cli.output import print_warning
from ftkit.cli.preparing import REPORTS
from ftkit.cli.terminal import preferences, write, write_json

EXIT_CODES = (
    "Exit codes: 0 done, 1 findings: losses, leaks, rejected rows, errors in the outputs, or "
    "--check would change something, 2 error, 130 interrupted."
)


@click.command(cls=Command, epilog=EXIT_CODES)
@click.argument("recipe", metavar="RECIPE")
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing, and exit with code 1 if an output is missing or would change.",
)
@click.option(
    "--write-to",
    multiple=True,
    metavar="URL",
    help="Let the recipe write to URL and to what is below it, such as s3://bucket/data; "
    "repeatable.  [default: local files below the recipe or the current folder only]",
)
@click.option(
    "--report",
    type=click.Choice(REPORTS),
    default="text",
    show_default=True,
    help="Format of the report.",
)
def prepare(recipe: str, check: bool, write_to: Sequence[str], report: str) -> int:
    """Run the steps that RECIPE lists, and validate the result.

    RECIPE is a TOML file with sources, steps such as convert, dedupe and split, and outputs.
    `ftkit samples` copies an example, samples/recipe.toml; docs/prepare.md describes all keys.
    All outputs are written, or none, and the same inputs give the same outputs.
    """
    from ftkit.prepare.recipe.read import read_recipe
    from ftkit.prepare.recipe.run import run
    from ftkit.report.recipe import render_recipe_text

    contents = read_recipe(recipe, write_to)
    for path in contents.targets().values():
        refuse_output_over_settings(path)
    with progress(list(contents.names), quiet=False, action="reading") as advance:
        result = run(contents, check, advance or (lambda name, size: None))
    if report == "json":
        write_json(f"{json.dumps(result.to_dict(), indent=2, ensure_ascii=False)}\n")
    else:
        write(render_recipe_text(result, preferences.is_quiet))
    if result.has_forbidden_losses:
        print_warning(
            "nothing was written, since values were lost; set on_loss to allow or drop-row"
        )
    elif not result.rows:
        print_warning("nothing was written, since rows were rejected; name a file for `rejects`")
    return 0 if result.ok else 1
