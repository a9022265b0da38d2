"""`ftkit validate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource as Source

from ftkit.cli import EXIT_CODES, print_text
from ftkit.cli.inputs import FORMATS, local_files, progress
from ftkit.cli.options import AllConfigured, Names, option
from ftkit.errors import UsageError
from ftkit.report import RENDERERS, render_text
from ftkit.report.text import SHOWN
from ftkit.summary import KEEP, FileReport, Report


@click.command(
    cls=AllConfigured,
    epilog=f"Settings: options, then FTKIT_* variables, then [tool.ftkit] in pyproject.toml. {EXIT_CODES}",
)
@click.argument("files", nargs=-1, required=True, metavar="FILES...")
@option(
    "--format",
    type=click.Choice(FORMATS),
    help="Check as this format; recognised from each file if not given.",
)
@option(
    "--model",
    metavar="NAME",
    help="The model to train; it sets the tokens an example may have (4,096 without).",
)
@option(
    "--provider",
    metavar="NAME",
    default="openai",
    show_default=True,
    help="The service the files are for.",
)
@option("--facts", metavar="FILE", help="TOML with models and providers of your own.")
@option(
    "--validation-file",
    metavar="FILE",
    help="Check this file too, and that it shares no example with FILES.",
)
@option(
    "--grader",
    metavar="FILE",
    help="A grader's JSON: every {{item.x}} in it must be on every line.",
)
@option(
    "--select",
    multiple=True,
    type=Names(),
    metavar="RULES",
    help="Check only these rules: names, codes or beginnings of codes.",
)
@option("--ignore", multiple=True, type=Names(), metavar="RULES", help="Leave these rules out.")
@option(
    "--fail-on",
    type=click.Choice(["error", "warning"]),
    default="error",
    show_default=True,
    help="The lowest severity that makes the exit code 1.",
)
@option(
    "--max-findings",
    type=click.IntRange(1),
    metavar="N",
    help=f"Findings to give for each rule and file [default: {KEEP:,}; as text {SHOWN}]. Counts stay exact.",
)
@option(
    "--output",
    type=click.Choice(list(RENDERERS)),
    default="text",
    show_default=True,
    help="How to report.",
)
@option("--quiet", is_flag=True, help="Only the findings: no headings, no totals, no progress.")
@option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Processes for large files [default: one a processor].",
)
def validate(
    files: Sequence[str],
    output: str,
    quiet: bool,
    max_findings: int | None,
    facts: str | None,
    **options: Any,
) -> int:
    """Say what is wrong with fine-tuning FILES, and where.

    FILES are JSON Lines (.jsonl, .jsonl.gz), patterns such as 'data/*.jsonl', or - for standard input.
    """
    from ftkit.catalog import load_catalog
    from ftkit.validation.validate import validate as check

    for name in ("select", "ignore"):
        options[name] = [each for names in options[name] for each in names]
    with local_files(files) as (paths, names), progress(paths, quiet) as told:
        report = check(
            paths,
            max_findings=max_findings or KEEP,
            catalog=load_catalog(facts),
            progress=told,
            **options,
        )
    report = _renamed(report, names)
    if click.get_current_context().get_parameter_source("grader") is Source.COMMANDLINE:
        _check_grader(report)
    if output == "text":
        print_text(render_text(report, max_findings or SHOWN, quiet))
    else:
        print_text(RENDERERS[output](report))
    return 0 if report.ok else 1


def _check_grader(report: Report) -> None:
    """Raise `UsageError` for a file that has no items for a grader to look at."""
    odd = next((file for file in report.files if file.format not in (None, "reinforcement")), None)
    if odd:
        raise UsageError(f"--grader is for reinforcement files; {odd.file} is {odd.format}")


def _renamed(report: Report, names: dict[str, str]) -> Report:
    import msgspec

    def renamed(file: FileReport) -> FileReport:
        return msgspec.structs.replace(file, file=names.get(file.file, file.file))

    return msgspec.structs.replace(report, files=tuple(map(renamed, report.files)))
