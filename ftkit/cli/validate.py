"""`ftkit validate`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource as Source

from ftkit._text import quote_argument
from ftkit.cli import EXIT_CODES
from ftkit.cli.data_page import new_collector, page_of_validation
from ftkit.cli.inputs import FORMATS, input_files, progress
from ftkit.cli.options import (
    AllConfigured,
    Names,
    engine_option,
    open_option,
    option,
    output_format,
)
from ftkit.cli.output import terminal_width
from ftkit.cli.pages import check_page, write_page
from ftkit.cli.terminal import preferences, write, write_json
from ftkit.errors import UsageError
from ftkit.report import RENDERERS, render_text
from ftkit.report.folding import SHOWN
from ftkit.summary import KEEP, FileReport, Report

if TYPE_CHECKING:
    from ftkit.catalog import Catalog

PLAIN_FORMATS = ("github", "junit")
"""Output formats that are written as they are, without JSON escapes."""


@click.command(
    cls=AllConfigured,
    epilog="Settings: options, then FTKIT_* variables, then [tool.ftkit] in pyproject.toml. "
    + EXIT_CODES,
)
@click.argument("files", nargs=-1, required=True, metavar="FILES...")
@option(
    "--format",
    type=click.Choice(FORMATS),
    help="Dataset format.  [default: detected for each file]",
)
@option(
    "--model",
    "-m",
    metavar="NAME",
    help="Model to train; sets the tokens an example may have.  [default: none; "
    "4,096 tokens are assumed]",
)
@option(
    "--provider",
    metavar="NAME",
    default="openai",
    show_default=True,
    help="Provider the files are for.",
)
@option("--facts", metavar="FILE", help="TOML file with your own models and providers.")
@option(
    "--validation-file",
    metavar="FILE",
    help="Validation dataset; must not share examples with FILES.",
)
@option(
    "--grader",
    metavar="FILE",
    help="JSON file with a grader; every {{item.x}} in it must be on every line.",
)
@option(
    "--select",
    multiple=True,
    type=Names(),
    metavar="RULES",
    help="Rules to apply: names, codes or code prefixes.  [default: all]",
)
@option("--ignore", multiple=True, type=Names(), metavar="RULES", help="Rules to leave out.")
@option(
    "--fail-on",
    type=click.Choice(["error", "warning"]),
    default="error",
    show_default=True,
    help="Lowest severity that makes the exit code 1.",
)
@option(
    "--max-findings",
    type=click.IntRange(1),
    metavar="N",
    help="Findings per rule and file; counts stay exact.  "
    f"[default: {KEEP:,}; in text {SHOWN}, repeats folded]",
)
@output_format(*RENDERERS)
@option("--quiet", "-q", is_flag=True, help="Print only findings: no headings, totals or progress.")
@click.option(
    "--html",
    "page",
    metavar="FILE",
    help="Also write an HTML report: findings with their examples, tokens, cost.",
)
@open_option
@click.option("--statistics", is_flag=True, help="Print only the number of findings of each rule.")
@option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Number of processes for large files.  [default: one per processor]",
)
@engine_option
def validate(
    files: Sequence[str],
    output: str,
    quiet: bool,
    statistics: bool,
    max_findings: int | None,
    facts: str | None,
    page: str | None,
    opens: bool,
    **options: Any,
) -> int:
    """Check fine-tuning FILES and show what is wrong, and where.

    FILES are JSON Lines (.jsonl, .jsonl.gz), patterns such as 'data/*.jsonl', folders, URLs such
    as s3://bucket/data.jsonl or 's3://bucket/*.jsonl', or - for standard input. Below a folder, all
    .jsonl and .jsonl.gz files are checked, except those in hidden folders and in folders such as
    node_modules.
    """
    from ftkit.catalog import load_catalog
    from ftkit.validation.validate import validate as check

    for name in ("select", "ignore"):
        options[name] = [rule for rules in options[name] for rule in rules]
    if statistics and output not in ("text", "json"):
        raise UsageError(f"--statistics needs --output text or json, not {output}")
    quiet = quiet or preferences.is_quiet
    check_page(page, opens, (facts, options["grader"]))
    inputs = input_files(files, recurse=True, engine=options["engine"])
    with inputs as (paths, names), progress(paths, quiet) as advance:
        check_page(page, opens, [*paths, options["validation_file"]])
        catalog = load_catalog(facts)
        report = check(
            paths,
            max_findings=max_findings or KEEP,
            catalog=catalog,
            progress=advance,
            **options,
        )
        if click.get_current_context().get_parameter_source("grader") is Source.COMMANDLINE:
            _check_grader(_renamed(report, names))
        text = _page(report, names, catalog, options) if page else ""
    report = _renamed(report, names)
    if page:
        write_page(page, text, opens, quiet)
    if statistics:
        _write_statistics(report, output)
    elif output == "text":
        write(render_text(report, max_findings, quiet, _fix_options()))
    elif output in PLAIN_FORMATS:
        write(RENDERERS[output](report))
    else:
        write_json(RENDERERS[output](report))
    return 0 if report.ok else 1


def _page(report: Report, names: dict[str, str], catalog: Catalog, options: dict[str, Any]) -> str:
    """Return the HTML report, with the estimate for the model or for all models."""
    import datetime

    from ftkit.catalog import with_others
    from ftkit.estimation.estimate import Terms

    models = [options["model"]] if options["model"] else []
    provider = options["provider"]
    terms = Terms(with_others(catalog, provider, models), datetime.date.today(), provider)
    collector = new_collector(terms, models, options["workers"])
    return page_of_validation(report, names, collector, _fix_options())


def _fix_options() -> str:
    """Return the options on the command line that `ftkit fix` takes, too."""
    context = click.get_current_context()
    values = {
        name: context.params[name]
        for name in ("format", "provider", "select", "ignore")
        if context.get_parameter_source(name) is Source.COMMANDLINE
    }
    texts = (
        (name, value if isinstance(value, str) else ",".join(chain.from_iterable(value)))
        for name, value in values.items()
    )
    return "".join(f" --{name} {quote_argument(text)}" for name, text in texts)


def _write_statistics(report: Report, output: str) -> None:
    from ftkit.report.statistics import render_statistics_json, render_statistics_text

    if output == "json":
        write_json(render_statistics_json(report))
    else:
        write(render_statistics_text(report, terminal_width()))


def _check_grader(report: Report) -> None:
    """Raise `UsageError` if a file is not for reinforcement, the only method with a grader."""
    for file in report.files:
        if file.format not in (None, "reinforcement"):
            raise UsageError(f"--grader is for reinforcement files; {file.file} is {file.format}")


def _renamed(report: Report, names: dict[str, str]) -> Report:
    import msgspec

    def renamed(file: FileReport) -> FileReport:
        return msgspec.structs.replace(file, file=names.get(file.file, file.file))

    return msgspec.structs.replace(report, files=tuple(map(renamed, report.files)))
