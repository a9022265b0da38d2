"""`ftkit convert`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ftkit._text import EXCERPT_LENGTH, join_names, quote_argument, shell_join
from ftkit.cli.command import Command
from ftkit.cli.preparing import LOSS_ADVICE, preparing, write_prepared
from ftkit.errors import UsageError
from ftkit.prepare.convert.column_names import likely_column
from ftkit.prepare.file_formats import convert_command

if TYPE_CHECKING:
    from ftkit.prepare.audit import Audit
    from ftkit.prepare.prepared import Prepared

WRITTEN = (
    *("chat", "completions", "preference", "reinforcement", "alpaca", "anthropic"),
    *("bedrock-nova", "gemini", "mistral", "sharegpt", "together", "trl-messages"),
    *("trl-preference", "trl-prompt", "trl-prompt-completion", "trl-text"),
)
"""Formats to write. They are named here so that the help is quick."""

SHORTCUTS = ("user", "assistant", "system", "system_text")
"""Keys of a mapping with an option of their own."""

EXIT_CODES = (
    "Exit codes: 0 done, 1 findings: values were lost, rows were rejected, or none is left, "
    "2 error, or all rows were rejected, 130 interrupted."
)


class _Format(click.Choice):  # type: ignore[type-arg] # generic in some versions only
    """Choice of a format, which is listed on one line if the option is missing."""

    def get_missing_message(self, *_: Any, **__: Any) -> str:
        return f"Choose from {', '.join(WRITTEN)}."


@click.command(cls=Command, epilog=EXIT_CODES)
@preparing
@click.option(
    "--to",
    type=_Format(WRITTEN),
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
@click.option(
    "--system",
    metavar="TEXT|COL",
    help="Column or path of the system message, or its text if there is no such column.",
)
@click.option("--system-text", metavar="TEXT", help="Text of the system message.")
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

    CSV and Excel (.xlsx): name the columns with --user, --assistant and, if there is one, --system.

    Chats: conversations.json of a ChatGPT export needs no option. For WhatsApp, Telegram and Slack,
    --me names the person whose messages become the assistant's.

    Other formats are detected, such as ShareGPT, Alpaca, TRL, Anthropic and Gemini. All of them,
    and what each has no place for, are in docs/formats.md.
    """
    from ftkit.prepare.convert.convert import convert as convert_files
    from ftkit.prepare.convert.detection import UnknownShapeError
    from ftkit.prepare.file_formats.base import ReadOptions

    reading = ReadOptions(**{name: options.pop(name) for name in ReadOptions.__struct_fields__})
    shortcuts = {role: options.pop(role) for role in SHORTCUTS}
    fields = _fields(field, shortcuts, mapping)
    arguments = {"to": to, "from_": from_, "field": fields, "on_loss": on_loss, "prove": prove}
    audits: list[Audit] = []

    def prepare(paths: list[str]) -> Prepared:
        prepared = convert_files(paths, reading=reading, **arguments)
        audits.append(prepared.audit)
        return prepared

    try:
        code = write_prepared(
            files,
            prepare,
            options,
            others=[mapping] if mapping else (),
            advise=lambda audit: _advice(audit, to, fields),
        )
    except UnknownShapeError as error:
        repeated = {**msgspec.structs.asdict(reading), "from": from_}
        repeated["output-file"] = options["output_file"] or "-"
        example = _example(files[0], to, error.texts, repeated)
        raise UsageError(f"{error}{example}") from None
    (audit,) = audits
    return code or int(audit.read > 0 and not audit.written)


def _advice(audit: Audit, to: str, fields: dict[str, Any]) -> str:
    """Return why values would be lost, and what to do."""
    from ftkit.prepare.convert.convert import unused_columns

    columns = unused_columns(audit, to) if fields or audit.titles else []
    if not columns:
        return LOSS_ADVICE
    names = join_names(map(repr, columns), EXCERPT_LENGTH)
    reason = f"column {names} is not used" if len(columns) == 1 else f"columns {names} are not used"
    advice = f"use --on-loss allow to leave {'it' if len(columns) == 1 else 'them'} out"
    system = likely_column("system", columns)
    can_map = bool(fields) or [role for role, _ in audit.columns] == ["user", "assistant"]
    if system is not None and can_map and fields.keys().isdisjoint(("system", "system_text")):
        others = "" if fields else _detected_names(audit)
        advice = f"add {others}--system {quote_argument(system)}, or {advice}"
    return f"{reason}; {advice}"


def _detected_names(audit: Audit) -> str:
    """Return the options for the columns that a detected format has read."""
    return shell_join([word for role, key in audit.columns for word in (f"--{role}", key)]) + " "


def _example(file: str, to: str, texts: Sequence[str], repeated: Mapping[str, Any]) -> str:
    """Return the command that names the columns of the messages, with the options that are given.

    The columns are COL unless their names are known.
    """
    if len(texts) < len(("user", "assistant")):
        return ""
    user, assistant = likely_column("user", texts), likely_column("assistant", texts)
    columns = {"user": user or "COL", "assistant": assistant or "COL"}
    options = columns | {name: str(value) for name, value in repeated.items() if value}
    advice = ", for example" if user and assistant else "; replace COL by the names of your columns"
    return f"{advice}: {convert_command(file, to, options)}"


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
