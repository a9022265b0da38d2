"""`ftkit estimate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ftkit.cli import print_text
from ftkit.cli.inputs import FORMATS, one_file, progress
from ftkit.cli.options import Configured, Epochs, on_day, option
from ftkit.errors import FileError, UsageError, os_error_message
from ftkit.estimation.quote import Quote

ENDS = (
    "Exit codes: 0 estimated, 1 dearer than --max-cost, 2 ftkit could not do it, 130 interrupted."
)


@click.command(cls=Configured, epilog=ENDS)
@click.argument("file", metavar="FILE")
@option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="A model, may be given several times; without, as --all.",
)
@option(
    "--all",
    "every",
    is_flag=True,
    help="Every model that can be trained on such a file today, cheapest first.",
)
@option(
    "--provider",
    metavar="NAME",
    default="openai",
    show_default=True,
    help="The service to train at.",
)
@option(
    "--format",
    type=click.Choice(FORMATS),
    help="Read FILE as this format; recognised if not given.",
)
@option(
    "--epochs",
    type=Epochs(),
    default="auto",
    show_default=True,
    help="How often to train on each example: 1 to 50, or auto.",
)
@option("--validation-file", metavar="FILE", help="Count the tokens of this file, too.")
@option(
    "--price",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Your price for a million training tokens.",
)
@option(
    "--max-cost",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Exit with 1 if training costs more.",
)
@option(
    "--counting",
    type=click.Choice(["billing", "notebook"]),
    default="billing",
    show_default=True,
    help="Count as services bill, or as the notebook of OpenAI's cookbook does.",
)
@option(
    "--requests",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also say what N requests a month cost.",
)
@option(
    "--base-prompt",
    metavar="FILE",
    help="The long prompt that the fine-tuned model makes needless.",
)
@on_day()
@option("--facts", metavar="FILE", help="TOML with models, providers and prices of your own.")
@option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to report.",
)
@option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Processes for large files [default: one a processor].",
)
def estimate(
    file: str,
    models: Sequence[str],
    every: bool,
    max_cost: float | None,
    base_prompt: str | None,
    facts: str | None,
    output: str,
    **options: Any,
) -> int:
    """Say what training on FILE will cost: tokens, epochs and money, each with its source.

    FILE is JSON Lines (.jsonl, .jsonl.gz), or - for standard input.
    """
    from ftkit.catalog import load_catalog
    from ftkit.estimation.quote import quote
    from ftkit.report.estimate import render_estimate_json, render_estimate_text

    if (
        every
        and click.get_current_context().get_parameter_source("models")
        is ParameterSource.COMMANDLINE
    ):
        raise UsageError(
            "--model names the models to estimate, and --all takes all that can be trained; give one of the two"
        )
    if base_prompt is not None and options["requests"] is None:
        options["requests"] = 1000
    with one_file(file) as (path, name), progress([path], quiet=False) as told:
        options |= {
            "base_prompt": _read_prompt(base_prompt),
            "catalog": load_catalog(facts),
            "progress": told,
        }
        found = quote(path, () if every else models, **options)
    found = found if name == path else _named(found, name)
    print_text(render_estimate_json(found) if output == "json" else render_estimate_text(found))
    return 0 if max_cost is None else _judge(found, max_cost)


def _named(found: Quote, name: str) -> Quote:
    import msgspec

    return msgspec.structs.replace(found, file=name)


def _read_prompt(path: str | None) -> str:
    if path is None:
        return ""
    try:
        return Path(path).read_text("utf-8")
    except OSError as error:
        raise FileError(f"cannot open {path}: {os_error_message(error)}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not text in UTF-8: {error.reason}") from error


def _judge(found: Quote, most: float) -> int:
    """1 if an estimate is above `most`; raises `UsageError` where that cannot be told."""
    unknown = [each for each in found.models if each.cost is None]
    if unknown:
        raise UsageError(
            f"--max-cost cannot be held: the cost of {unknown[0].model} is unknown: {unknown[0].cost_note}"
        )
    dearer = [each for each in found.models if each.cost and each.cost.usd > most]
    for each in dearer:
        assert each.cost
        click.echo(
            f"ftkit: {each.model} would cost ${each.cost.usd:,.2f}, more than ${most:,.2f}",
            err=True,
        )
    return 1 if dearer else 0
