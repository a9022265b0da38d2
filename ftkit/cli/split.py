"""`ftkit split`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftkit.cli.command import Command
from ftkit.cli.inputs import local_files
from ftkit.cli.output import print_warning
from ftkit.cli.preparing import REPORTS, check_outputs, record_options, showing_progress
from ftkit.cli.terminal import write, write_json
from ftkit.errors import UsageError
from ftkit.prepare.file_formats.parquet import PARQUET

if TYPE_CHECKING:
    from ftkit.prepare.split.split import Split

EXIT_CODES = (
    "Exit codes: 0 done, 1 findings: a leak, or rows were rejected, 2 error, 130 interrupted."
)

SUFFIXES = (
    *(".gz", ".jsonl", ".json", ".csv", ".tsv", ".xlsx"),
    *(".parquet", ".arrow", ".feather"),
)
"""Suffixes of inputs that the names of the outputs are without."""


def _ratio(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, value.split(",")))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a list of numbers such as 0.8,0.1,0.1"
        ) from None


@click.command(cls=Command, epilog=EXIT_CODES)
@click.argument("files", nargs=-1, required=True, metavar="FILES...")
@click.option(
    "--ratio",
    default="0.8,0.1,0.1",
    show_default=True,
    callback=_ratio,
    metavar="X,Y[,Z]",
    help="Shares of training and validation data, or of training, validation and test data.",
)
@click.option(
    "--output-prefix",
    "-o",
    metavar="PREFIX",
    help="Write to PREFIX.train.jsonl, PREFIX.validation.jsonl and PREFIX.test.jsonl, or with "
    "NAME.parquet for PREFIX to NAME.train.parquet etc.  [default: the name of the input without "
    "its suffix]",
)
@click.option(
    "--group",
    default="",
    metavar="PATH",
    help="Keep rows with equal values at PATH together, such as $.metadata.user.  [default: those "
    "with equal prompts]",
)
@click.option(
    "--near",
    type=float,
    metavar="X",
    help="Keep rows together whose prompts have a Jaccard similarity of at least X, from 0.7 to 1, "
    "such as 0.8.",
)
@click.option(
    "--stratify",
    default="",
    metavar="PATH",
    help="Give all sides equal shares of the values at PATH, such as $.metadata.label.",
)
@click.option("--exact-size", is_flag=True, help="Give each side exactly its share of the rows.")
@click.option(
    "--salt", default="", metavar="TEXT", help="Take another split.  [default: an empty text]"
)
@click.option(
    "--lock",
    metavar="FILE",
    help="Keep the sides of the rows and groups in FILE, and add those of this split.",
)
@click.option(
    "--on-bridge",
    type=click.Choice(["exclude", "train", "error"]),
    default="error",
    show_default=True,
    help="What to do with a new row that is similar to rows of several sides: leave it out, use it "
    "for training, or stop.",
)
@record_options
@click.option(
    "--report",
    type=click.Choice(REPORTS),
    default="text",
    show_default=True,
    help="Format of the report.",
)
def split(files: Sequence[str], **options: Any) -> int:
    """Split FILES into training, validation and test data, without leaks.

    The side of a row is chosen by the hash of its prompt, so that rows that are added later move
    none of the others, and rows with the same prompt are on the same side.
    """
    from ftkit.prepare.audit import Audit
    from ftkit.prepare.split.decide import SplitOptions
    from ftkit.prepare.split.split import split_files

    prefix, suffix = _output_name(options.pop("output_prefix") or _prefix(files))
    report = options.pop("report")
    extra = {
        name: Path(value) for name in ("map", "rejects", "lock") if (value := options.pop(name))
    }
    chosen = SplitOptions(**options)
    targets = {side: f"{prefix}.{side}{suffix}" for side in chosen.names}
    with local_files(files) as (paths, names):
        check_outputs([*map(str, extra.values()), *targets.values()], paths)
        audit = Audit()
        audit.names = names
        with showing_progress(paths, audit):
            result = split_files(paths, chosen, audit, extra.get("lock"))
        is_written = result.write({side: Path(path) for side, path in targets.items()}, **extra)
    _print_report(result, targets if is_written else {}, report)
    if not is_written:
        print_warning("nothing was written, since rows were rejected; use --rejects FILE to go on")
    return 0 if is_written and result.is_leak_free and not audit.has_findings else 1


def _prefix(files: Sequence[str]) -> str:
    if len(files) != 1 or not os.path.isfile(files[0]):
        raise UsageError("`output_prefix` is needed, unless there is one input file")
    name = files[0]
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _output_name(prefix: str) -> tuple[str, str]:
    """Return the beginning and the end of the names of the outputs."""
    if prefix.endswith(PARQUET):
        return prefix.removesuffix(PARQUET), PARQUET
    return prefix, ".jsonl"


def _print_report(result: Split, targets: Mapping[str, str], format: str) -> None:
    from ftkit.report.prepare import render_split_text

    if format == "json":
        values = {"outputs": targets, **result.to_dict()}
        write_json(f"{json.dumps(values, indent=2, ensure_ascii=False)}\n")
    else:
        write(render_split_text(result, targets))
