"""`ftkit convert`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ftkit.cli.command import Command
from ftkit.cli.preparing import preparing, write_prepared
from ftkit.errors import UsageError

WRITTEN = (
    *("chat", "completions", "preference", "reinforcement", "alpaca", "anthropic"),
    *("bedrock-nova", "gemini", "mistral", "sharegpt", "together", "trl-messages"),
    *("trl-preference", "trl-prompt", "trl-prompt-completion", "trl-text"),
)
"""Formats to write. They are named here so that the help is quick."""

EXIT_CODES = (
    "Exit codes: 0 done, 1 findings: values were lost or rows rejected, 2 error, 130 interrupted."
)

SHORTCUTS = ("user", "assistant", "system")
"""Roles with an option of their own."""


@click.command(cls=Command, epilog=EXIT_CODES)
@preparing
@click.option(
    "--to",
    type=click.Choice(WRITTEN),
    required=True,
    metavar="FORMAT",
    help=f"Format to write: {', '.join(WRITTEN)}.",
)
@click.option(
    "--from",
    "from_",
    metavar="FORMAT",
    help="Format of the rows, or of the files, such as csv.  [default: detected]",
)
@click.option("--user", metavar="COL", help="Column or path of the user's message.")
@click.option("--assistant", metavar="COL", help="Column or path of the assistant's message.")
@click.option("--system", metavar="TEXT", help="System message: a text, or a column or path of it.")
@click.option(
    "--field",
    multiple=True,
    metavar="ROLE=PATH",
    help="Path of another message, such as rejected=$.answers[1]; repeatable.",
)
@click.option("--mapping", metavar="FILE", help="Read such fields from a TOML file.")
@click.option(
    "--on-loss",
    type=click.Choice(["fail", "drop-row", "allow"]),
    default="fail",
    show_default=True,
    help="With values that FORMAT has no place for: write nothing, drop their rows, or leave the "
    "values out.",
)
@click.option("--prove", is_flag=True, help="Read each row back, and count differences as losses.")
@click.option("--sheet", metavar="NAME", help="Sheet of a workbook.  [default: the only one]")
@click.option(
    "--delimiter", metavar="CHAR", help="Separator of the cells of a CSV file.  [default: detected]"
)
@click.option(
    "--encoding",
    metavar="NAME",
    help="Encoding of a CSV file or WhatsApp chat, such as cp1252.  [default: UTF-8 or UTF-16]",
)
@click.option("--me", metavar="NAME", help="Author of a chat whose messages are the assistant's.")
@click.option(
    "--pause",
    type=click.FloatRange(0, min_open=True),
    metavar="HOURS",
    help="Pause after which another conversation of a chat begins.  [default: 6]",
)
def convert(
    files: Sequence[str],
    to: str,
    from_: str | None,
    field: Sequence[str],
    mapping: str | None,
    on_loss: Any,
    prove: bool,
    **options: Any,
) -> int:
    """Convert the rows of FILES to another format, and report each value that is lost.

    All formats, and what each of them has no place for, are in docs/formats.md.
    """
    from ftkit.prepare.convert.convert import convert as convert_files
    from ftkit.prepare.convert.detection import UnknownShapeError
    from ftkit.prepare.file_formats.base import ReadOptions

    reading = ReadOptions(**{name: options.pop(name) for name in ReadOptions.__struct_fields__})
    shortcuts = {role: options.pop(role) for role in SHORTCUTS}
    fields = _fields(field, shortcuts, mapping)
    arguments = {"to": to, "from_": from_, "field": fields, "on_loss": on_loss, "prove": prove}
    try:
        return write_prepared(
            files, lambda paths: convert_files(paths, reading=reading, **arguments), options
        )
    except UnknownShapeError as error:
        command = _command(files[0], to, error.texts)
        raise UsageError(f"{error}, for example: {command}" if command else str(error)) from None


def _command(file: str, to: str, texts: Sequence[str]) -> str:
    """Return the command that takes the first two texts of each row for its messages."""
    if len(texts) < len(("user", "assistant")):
        return ""
    words = ["ftkit", "convert", file, "--to", to, "--user", texts[0], "--assistant", texts[1]]
    return shlex.join(words)


def _fields(
    field: Sequence[str], shortcuts: dict[str, str | None], mapping: str | None
) -> dict[str, Any]:
    """Return the mapping of the options; those of a file come first."""
    from ftkit.prepare.convert.mapping import read_mapping

    fields: dict[str, Any] = read_mapping(Path(mapping)) if mapping else {}
    fields |= {role: value for role, value in shortcuts.items() if value is not None}
    for item in field:
        role, separator, path = item.partition("=")
        if not separator:
            raise UsageError(f"--field must be ROLE=PATH, such as user=$.question, not {item!r}")
        fields[role] = path
    return fields
