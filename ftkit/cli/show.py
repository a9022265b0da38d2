"""`ftkit show`."""

from __future__ import annotations

import os
import re

import click

from ftkit.cli.inputs import FORMATS, one_file
from ftkit.cli.options import Configured, option, output_option
from ftkit.cli.output import print_json, terminal_width
from ftkit.cli.terminal import write


@click.command(cls=Configured, epilog="Exit codes: 0 done, 2 error, 130 interrupted.")
@click.argument("file", metavar="FILE[:LINE]")
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1),
    metavar="N",
    default=1,
    show_default=True,
    help="Number of examples.",
)
@option("--format", type=click.Choice(FORMATS), help="Dataset format.  [default: detected]")
@option(
    "--model",
    "-m",
    metavar="NAME",
    help="Model whose encoding counts the tokens.  [default: cl100k_base]",
)
@output_option
def show(file: str, limit: int, format: str | None, model: str | None, output: str) -> None:
    """Show an example of FILE as a conversation, the first or that on LINE.

    Lines that begin with + are trained on. Tokens of images are not counted.
    """
    from ftkit.prepare.show import show as read_examples
    from ftkit.report.show import render_shown, shown_as_dict

    name, line = _split(file)
    with one_file(name) as (path, shown_name):
        examples = read_examples(path, line=line, count=limit, format=format, model=model)
        names = {path: shown_name}
    values = [shown_as_dict(example) | {"file": names[example.file]} for example in examples]
    if output == "json":
        print_json(values)
        return
    from msgspec.structs import replace

    for index, example in enumerate(examples):
        renamed = replace(example, file=names[example.file])
        write(("\n" if index else "") + render_shown(renamed, terminal_width()))


def _split(name: str) -> tuple[str, int]:
    """Return the file and the line that an argument names."""
    match = re.fullmatch(r"(.+):([0-9]{1,15})", name, re.DOTALL)
    if match and not os.path.exists(name):
        return match[1], int(match[2])
    return name, 1
