"""`ftkit estimate`."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ftkit.cli.data_page import new_collector, page_of_estimate
from ftkit.cli.inputs import FORMATS, one_file, progress
from ftkit.cli.options import (
    Configured,
    Epochs,
    engine_option,
    on_day,
    open_option,
    option,
    output_option,
)
from ftkit.cli.output import print_warning, terminal_width
from ftkit.cli.pages import check_page, write_page
from ftkit.cli.terminal import write, write_json
from ftkit.errors import FileError, UsageError, os_error_message
from ftkit.estimation.quote import Quote

EXIT_CODES = "Exit codes: 0 estimated, 1 above --max-cost, 2 error, 130 interrupted."


@click.command(cls=Configured, epilog=EXIT_CODES)
@click.argument("file", metavar="FILE")
@option(
    "--model",
    "-m",
    "models",
    multiple=True,
    metavar="NAME",
    help="Model to estimate. Repeatable.  [default: as --all-models]",
)
@option(
    "--all-models",
    "every",
    is_flag=True,
    help="Estimate all models that can be trained on the file today, cheapest first.",
)
@option(
    "--provider",
    metavar="NAME",
    default="openai",
    show_default=True,
    help="Provider to train at.",
)
@option(
    "--format",
    type=click.Choice(FORMATS),
    help="Dataset format.  [default: detected]",
)
@option(
    "--epochs",
    type=Epochs(),
    metavar="N|auto",
    default="auto",
    show_default=True,
    help="Number of training epochs: 1 to 50, or auto.",
)
@option(
    "--validation-file", metavar="FILE", help="Validation dataset, whose tokens are counted too."
)
@option(
    "--price",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Your price per million training tokens.",
)
@option(
    "--max-cost",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Exit with code 1 if the estimated cost is higher.",
)
@option(
    "--counting",
    type=click.Choice(["billing", "notebook"]),
    default="billing",
    show_default=True,
    help="Count tokens as providers bill them, or as the OpenAI cookbook's notebook does.",
)
@option(
    "--requests",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also estimate the cost of N requests per month.",
)
@option(
    "--base-prompt",
    metavar="FILE",
    help="Text file with the prompt that only the base model needs.",
)
@click.option(
    "--html",
    "page",
    metavar="FILE",
    help="Also write an HTML report: cost, tokens, findings with their examples.",
)
@open_option
@on_day()
@option("--facts", metavar="FILE", help="TOML file with your own models, providers and prices.")
@output_option
@option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Number of processes for large files.  [default: one per processor]",
)
@engine_option
def estimate(
    file: str,
    models: Sequence[str],
    every: bool,
    max_cost: float | None,
    base_prompt: str | None,
    facts: str | None,
    page: str | None,
    opens: bool,
    output: str,
    **options: Any,
) -> int:
    """Estimate the cost of training on FILE: tokens, epochs and price, each with its source.

    FILE is JSON Lines (.jsonl, .jsonl.gz), a URL such as s3://bucket/data.jsonl, or - for standard
    input.
    """
    from ftkit.catalog import load_catalog
    from ftkit.estimation.quote import quote
    from ftkit.report.estimate import render_estimate_json, render_estimate_text

    if (
        every
        and click.get_current_context().get_parameter_source("models")
        is ParameterSource.COMMANDLINE
    ):
        raise UsageError("--model and --all-models exclude each other; give one of the two")
    if base_prompt is not None and options["requests"] is None:
        options["requests"] = 1000
    with one_file(file, options["engine"]) as (path, name):
        check_page(page, opens, [path, options["validation_file"], base_prompt, facts])
        models = () if every else models
        options |= {"base_prompt": _read_prompt(base_prompt), "catalog": load_catalog(facts)}
        with progress([path], quiet=False) as advance:
            result = quote(path, models, **options, progress=advance)
        text = _page(path, name, result, models, options) if page else ""
    result = result if name == path else _rename(result, name)
    if page:
        write_page(page, text, opens)
    if output == "json":
        write_json(render_estimate_json(result))
    else:
        write(render_estimate_text(result, terminal_width()))
    return 0 if max_cost is None else _check_cost(result, max_cost)


def _page(
    path: str, name: str, quote: Quote, models: Sequence[str], options: dict[str, Any]
) -> str:
    """Return the HTML report, for which the file is validated, too."""
    from ftkit.catalog import with_others
    from ftkit.estimation.estimate import Terms
    from ftkit.validation.validate import validate

    provider, catalog, workers = (options[key] for key in ("provider", "catalog", "workers"))
    report = validate(
        path,
        format=options["format"],
        model=models[0] if len(models) == 1 else None,
        provider=provider,
        catalog=catalog,
        workers=workers,
    )
    today = options["today"] or datetime.date.today()
    terms = Terms(
        with_others(catalog, provider, models), today, provider, counting=options["counting"]
    )
    return page_of_estimate(
        new_collector(terms, models, workers).collect(report.files[0], name), quote
    )


def _rename(quote: Quote, name: str) -> Quote:
    import msgspec

    return msgspec.structs.replace(quote, file=name)


def _read_prompt(path: str | None) -> str:
    if path is None:
        return ""
    try:
        return Path(path).read_text("utf-8")
    except OSError as error:
        raise FileError(f"cannot open {path}: {os_error_message(error)}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not UTF-8 text: {error.reason}") from error


def _check_cost(quote: Quote, limit: float) -> int:
    """Return 1 if an estimate is above the limit, else 0.

    Raises:
        UsageError: The limit is not a number, or a cost is unknown.
    """
    if math.isnan(limit):
        raise UsageError(f"`--max-cost` must be a number of US dollars, not {limit}")
    costs = {estimate.model: (estimate.cost, estimate.cost_note) for estimate in quote.models}
    if quote.without_model:
        costs["training"] = (quote.without_model.cost, quote.without_model.note)
    code = 0
    for name, (cost, note) in costs.items():
        if cost is None:
            raise UsageError(f"--max-cost cannot be checked: the cost of {name} is unknown: {note}")
        if cost.usd > limit:
            print_warning(f"{name} would cost ${cost.usd:,.2f}, more than ${limit:,.2f}")
            code = 1
    return code
