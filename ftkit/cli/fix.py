"""`ftkit fix`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ftkit.cli.inputs import FORMATS, input_files
from ftkit.cli.options import AllConfigured, Names, option
from ftkit.cli.output import print_note
from ftkit.cli.preparing import REPORTS, Check, preparing, refuse_outputs, write_prepared
from ftkit.cli.terminal import write_bytes
from ftkit.errors import UsageError
from ftkit.prepare.file_formats.parquet import PARQUET

EXIT_CODES = (
    "Exit codes: 0 done, 1 errors remain, rows were rejected, or --diff shows changes, "
    "2 error, 130 interrupted."
)


@click.command(cls=AllConfigured, epilog=EXIT_CODES)
@preparing
@click.option("--unsafe", is_flag=True, help="Apply fixes that change or remove values, too.")
@click.option(
    "--redact",
    is_flag=True,
    help="Replace API keys, tokens, private keys and e-mail addresses by what they are.",
)
@click.option("--diff", is_flag=True, help="Show the changes as a unified diff and write nothing.")
@option(
    "--format",
    type=click.Choice(FORMATS),
    help="Dataset format.  [default: detected for each file]",
)
@option(
    "--provider",
    metavar="NAME",
    default="openai",
    show_default=True,
    help="Provider the files are for.",
)
@option(
    "--select",
    multiple=True,
    type=Names(),
    metavar="RULES",
    help="Rules whose violations are fixed: names, codes or code prefixes.  [default: all]",
)
@option("--ignore", multiple=True, type=Names(), metavar="RULES", help="Rules to leave out.")
def fix(
    files: Sequence[str],
    unsafe: bool,
    redact: bool,
    diff: bool,
    format: str | None,
    provider: str,
    select: Sequence[Sequence[str]],
    ignore: Sequence[Sequence[str]],
    **options: Any,
) -> int:
    """Fix the mistakes in FILES that `ftkit validate` finds, where a rule has a fix.

    Safe fixes keep every value. Others need --unsafe, and the report has the old values. Lines that
    need no fix are written as they are. The result is validated again.
    """
    from ftkit.prepare.fix.fix import allowed_fixes, fix_plan
    from ftkit.prepare.fix.fix import fix as fix_files

    rules: dict[str, Any] = {
        "select": [name for names in select for name in names],
        "ignore": [name for names in ignore for name in names],
        "format": format,
        "provider": provider,
    }
    if diff:
        is_default = options["report"] == REPORTS[0]
        refuse_outputs("diff", options | {"report": not is_default})
        return _show_diff(files, fix_plan(**rules), allowed_fixes(unsafe, redact))
    if (options["output_file"] or "").endswith(PARQUET):
        raise UsageError("fix writes JSON Lines; for Parquet use `ftkit convert` on the result")
    return write_prepared(
        files,
        lambda paths: fix_files(paths, unsafe=unsafe, redact=redact, **rules),
        options,
        lambda path, name: _check(path, name, rules),
        keeps_layout=False,
    )


def _show_diff(files: Sequence[str], plan: Any, allowed: Any) -> int:
    from ftkit.prepare.fix.diff import fix_diff

    changed = 0
    with input_files(files) as (paths, names):
        for path in paths:
            is_changed = False
            for piece in fix_diff(path, plan, allowed, names.get(path, path)):
                write_bytes(piece)
                is_changed = True
            changed += is_changed
    if not changed:
        print_note("No changes.")
    return 1 if changed else 0


def _check(path: str, name: str | None, rules: dict[str, Any]) -> Check:
    """Return what the rules find in the result."""
    from ftkit._text import plural, quote_path
    from ftkit.validation.validate import validate

    (file,) = validate(path, **rules).files
    remaining = [
        {"rule": rule, "severity": severity, "count": count}
        for rule, counts in file.severities.items()
        for severity, count in counts.items()
    ]
    numbers = [(file.errors, "error"), (file.warnings, "warning"), (file.infos, "info")]
    totals = ", ".join(plural(count, noun) for count, noun in numbers if count)
    rows = ", ".join(f"{row['rule']} {row['count']:,}" for row in remaining)
    shown = f"; `ftkit validate {quote_path(name)}` shows them" if name else ""
    text = f"Remaining: {totals} ({rows}){shown}.\n" if totals else "Nothing remains to be fixed.\n"
    return Check(not file.errors, text, {"remaining": remaining})
