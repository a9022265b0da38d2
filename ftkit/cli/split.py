"""`ftkit split`."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftkit._text import quote_path
from ftkit.cli.command import Command
from ftkit.cli.inputs import input_files
from ftkit.cli.output import print_warning
from ftkit.cli.preparing import (
    REPORTS,
    check_buckets,
    check_outputs,
    named_files,
    record_options,
    showing_progress,
    warn_withheld,
)
from ftkit.cli.terminal import write, write_json
from ftkit.dataset.files import check_readable
from ftkit.dataset.object_location import is_url
from ftkit.errors import UsageError
from ftkit.prepare.file_formats.parquet import PARQUET

if TYPE_CHECKING:
    from ftkit.prepare.split.split import Split

EXIT_CODES = (
    "Exit codes: 0 done, 1 findings: a leak, or rows were rejected or not compared with all "
    "others, 2 error, 130 interrupted."
)

OUTPUTS = ("map", "rejects", "lock")
"""Options that name files to write, besides that of the data."""

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
    "NAME.parquet for PREFIX to NAME.train.parquet etc. Existing files are replaced.  [default: "
    "the name of the input without its suffix, and no file is replaced]",
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
    help="Give all subsets equal shares of the values at PATH, such as $.metadata.label.",
)
@click.option("--exact-size", is_flag=True, help="Give each subset exactly its share of the rows.")
@click.option(
    "--salt", default="", metavar="TEXT", help="Take another split.  [default: an empty text]"
)
@click.option(
    "--lock",
    metavar="FILE",
    help="Keep the rows and groups in FILE in their subsets, and add those of this split.",
)
@click.option(
    "--on-bridge",
    type=click.Choice(["exclude", "train", "error"]),
    default="error",
    show_default=True,
    help="What to do if a new row is similar to rows that --lock keeps in different subsets: leave "
    "it out, use it for training although that is a leak, or stop.",
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

    The subset of a row is chosen by the hash of its prompt, so that rows that are added later move
    none of the others, and rows with the same prompt are in the same subset.
    """
    from ftkit.prepare.audit import Audit
    from ftkit.prepare.split.decide import SplitOptions
    from ftkit.prepare.split.split import split_files

    prefix, report = options.pop("output_prefix"), options.pop("report")
    extra = named_files(options, *OUTPUTS)
    lock = Path(extra["lock"]) if "lock" in extra else None
    chosen = SplitOptions(**{name: options[name] for name in options if name not in OUTPUTS})
    beginning, suffix = _output_name(prefix or _prefix(files))
    targets = {subset: f"{beginning}.{subset}{suffix}" for subset in chosen.names}
    if not prefix:
        _refuse_existing(targets.values(), beginning)
    check_buckets([*extra.values(), *targets.values()])
    with input_files(files) as (paths, names):
        check_outputs([*extra.values(), *targets.values()], paths)
        audit = Audit()
        audit.names = names
        with showing_progress(paths, audit):
            result = split_files(paths, chosen, audit, lock)
        is_written = result.write(
            targets, map=extra.get("map"), rejects=extra.get("rejects"), lock=lock
        )
    _print_report(result, targets if is_written else {}, report)
    if not is_written:
        return warn_withheld(audit)
    _warn_of_empty(result)
    return 0 if result.is_leak_free and not audit.has_findings else 1


def _prefix(files: Sequence[str]) -> str:
    if any(map(is_url, files)):
        raise UsageError("`output_prefix` is needed for files with URLs, such as -o train")
    if len(files) == 1 and files[0] != "-" and not glob.has_magic(files[0]):
        check_readable(files[0])
    if len(files) != 1 or not os.path.isfile(files[0]):
        raise UsageError("`output_prefix` is needed, unless there is one input file")
    name = files[0]
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _refuse_existing(targets: Iterable[str], prefix: str) -> None:
    """Raise `UsageError` if one of the files exists, which nobody has named."""
    for target in targets:
        if os.path.lexists(target):
            raise UsageError(
                f"{target} exists; use -o {quote_path(prefix)} to replace it, or another PREFIX"
            )


def _warn_of_empty(result: Split) -> None:
    empty = [subset for subset, size in result.sizes.items() if not size]
    if empty and result.audit.written:
        exactly = "" if result.options.exact_size else "--exact-size or "
        print_warning(f"no rows are in {' and '.join(empty)}; use {exactly}another --ratio")


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
