"""`ftkit serve check`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import to_builtins

from ftkit._text import plural
from ftkit.cli.command import Command
from ftkit.cli.options import option, output_option, recipe_option
from ftkit.cli.output import print_fields, print_json
from ftkit.cli.terminal import write
from ftkit.errors import UsageError, install_command
from ftkit.report.base_model import base_fields, example_text

if TYPE_CHECKING:
    from ftkit.server.training.inspection import ExampleCheck

SHOWN = 3
"""Number of examples in text output."""


@click.command(cls=Command)
@click.argument("base")
@click.argument("file", required=False, metavar="[FILE]")
@option(
    "--limit",
    "-n",
    type=click.IntRange(1),
    metavar="N",
    help=f"Limit the output to N examples.  [default: {SHOWN}; all with --output json]",
)
@recipe_option
@output_option
def check(base: str, file: str | None, limit: int | None, recipes: str | None, output: str) -> int:
    """Show what a base model supports, and what it learns from a file.

    BASE is ftkit/smoke, a model of the Hugging Face hub, or a folder. The text of an example is
    shown as it goes through the model; lines that start with + are learned. Exit codes: 0 if the
    base model can be trained on every example, 1 if not.
    """
    from ftkit.server.recipes import load_recipes

    try:
        from ftkit.server.training.inspection import BaseInspector
    except ImportError as error:
        raise UsageError(
            f"ftkit serve check needs more packages ({error.name} is missing); install them with:"
            f" {install_command('local')}"
        ) from error
    folder = str(Path(base).absolute()) if Path(base).is_dir() else base
    inspector = BaseInspector(folder, load_recipes(recipes))
    result = inspector.check()
    examples = inspector.check_file(Path(file)) if file else iter(())
    if output == "json":
        shown = list(_limited(examples, limit))
        print_json({**to_builtins(result), "examples": to_builtins(shown)})
        return int(any(example.refused for example in shown))
    print_fields(base_fields(result))
    return _print_examples(examples, limit or SHOWN, result.image_token) if file else 0


def _limited(examples: Iterable[ExampleCheck], limit: int | None) -> Iterator[ExampleCheck]:
    """Yield the sequences of the first `limit` examples."""
    lines: set[int] = set()
    for example in examples:
        lines.add(example.line)
        if limit is not None and len(lines) > limit:
            return
        yield example


def _print_examples(examples: Iterator[ExampleCheck], limit: int, image_token: str | None) -> int:
    """Print the first examples, and count those that are refused or cut in the whole file."""
    lines, refused, cut = set[int](), set[int](), set[int]()
    for example in examples:
        lines.add(example.line)
        if example.refused:
            refused.add(example.line)
        if example.cut:
            cut.add(example.line)
        if len(lines) <= limit or (example.refused and len(refused) <= limit):
            write("\n" + example_text(example, image_token))
    write(f"\n{plural(len(lines), 'example')}: {len(refused):,} refused, {len(cut):,} cut\n")
    return int(bool(refused))
