"""`ftkit validate`."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ftkit.cli import EXIT_CODES, print_text
from ftkit.errors import FileProblem, UsageProblem
from ftkit.report import RENDERERS, render_text
from ftkit.report.text import SHOWN
from ftkit.summary import KEEP, FileReport, Report

PROGRESS_FROM = 32 << 20
"""Bytes from which a progress bar is shown, on a terminal."""

FORMATS = ("chat", "completions", "preference", "reinforcement")


class Names(click.ParamType):  # type: ignore[type-arg] # generic only from click 8.4 on
    """Names separated by commas."""

    name = "names"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[str, ...]:
        names = value.split(",") if isinstance(value, str) else value
        return tuple(name.strip() for name in names if name.strip())


class Configured(click.Command):
    """A command whose options have the settings of the project as defaults."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> click.Context:
        if not {"-h", "--help"} & set(args):
            from ftkit.settings import read_settings

            extra["default_map"] = read_settings(Path.cwd())
        return super().make_context(info_name, args, *more, **extra)


def _option(*names: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option that may also come from the variable `FTKIT_NAME`."""
    variable = "FTKIT_" + names[-1].lstrip("-").replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=False, **options)


@click.command(
    cls=Configured, epilog=f"Settings: options, then FTKIT_* variables, then [tool.ftkit] in pyproject.toml. {EXIT_CODES}"
)
@click.argument("files", nargs=-1, required=True, metavar="FILES...")
@_option("--format", type=click.Choice(FORMATS), help="Check as this format; recognised from each file if not given.")
@_option("--model", metavar="NAME", help="The model to train; it sets the tokens an example may have (4,096 without).")
@_option("--provider", metavar="NAME", default="openai", show_default=True, help="The service the files are for.")
@_option("--validation-file", metavar="FILE", help="Check this file too, and that it shares no example with FILES.")
@_option("--grader", metavar="FILE", help="A grader's JSON: every {{item.x}} in it must be on every line.")
@_option(
    "--select",
    multiple=True,
    type=Names(),
    metavar="RULES",
    help="Check only these rules: names, codes or beginnings of codes.",
)
@_option("--ignore", multiple=True, type=Names(), metavar="RULES", help="Leave these rules out.")
@_option(
    "--fail-on",
    type=click.Choice(["error", "warning"]),
    default="error",
    show_default=True,
    help="The lowest severity that makes the exit code 1.",
)
@_option(
    "--max-findings",
    type=click.IntRange(1),
    metavar="N",
    help=f"Findings to give for each rule and file [default: {KEEP:,}; as text {SHOWN}]. Counts stay exact.",
)
@_option("--output", type=click.Choice(list(RENDERERS)), default="text", show_default=True, help="How to report.")
@_option("--quiet", is_flag=True, help="Only the findings: no headings, no totals, no progress.")
@_option("--workers", type=click.IntRange(1), metavar="N", help="Processes for large files [default: one a processor].")
def validate(files: Sequence[str], output: str, quiet: bool, max_findings: int | None, **options: Any) -> int:
    """Say what is wrong with fine-tuning FILES, and where.

    FILES are JSON Lines (.jsonl, .jsonl.gz), patterns such as 'data/*.jsonl', or - for standard input.
    """
    from ftkit.validate import validate as check

    for name in ("select", "ignore"):
        options[name] = [each for names in options[name] for each in names]
    with _standard_input(files) as (paths, names), _progress(paths, quiet) as progress:
        report = check(paths, max_findings=max_findings or KEEP, progress=progress, **options)
    report = _renamed(report, names)
    if output == "text":
        print_text(render_text(report, max_findings or SHOWN, quiet))
    else:
        print_text(RENDERERS[output](report))
    return 0 if report.ok else 1


def expand(files: Sequence[str]) -> list[str]:
    """The files that the arguments name, patterns expanded, each once; raises `FileProblem` for a pattern without any."""
    found: list[str] = []
    for name in files:
        if name == "-" or os.path.exists(name) or not glob.has_magic(name):
            found.append(name)
            continue
        matches = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
        if not matches:
            raise FileProblem(f"no file matches {name!r}")
        found.extend(matches)
    return list(dict.fromkeys(found))


@contextmanager
def _standard_input(files: Sequence[str]) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The paths to check, and the names to show for them: what comes through a pipe is kept in a temporary file."""
    paths = expand(files)
    streams = [path for path in paths if path == "-" or _is_stream(path)]
    if not streams:
        yield paths, {}
        return
    with tempfile.TemporaryDirectory(prefix="ftkit-") as folder:
        kept = {path: os.path.join(folder, f"{number}.jsonl") for number, path in enumerate(streams)}
        for path, copy in kept.items():
            _keep(path, copy)
        yield [kept.get(path, path) for path in paths], {copy: path for path, copy in kept.items()}


def _is_stream(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _keep(path: str, copy: str) -> None:
    if path == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageProblem("- reads standard input, and there is none; redirect a file into it")
    with open(copy, "wb") as target:
        if path == "-":
            shutil.copyfileobj(sys.stdin.buffer, target, 1 << 20)
        else:
            with open(path, "rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)


def _renamed(report: Report, names: dict[str, str]) -> Report:
    import msgspec

    def renamed(file: FileReport) -> FileReport:
        return msgspec.structs.replace(file, file=names.get(file.file, file.file))

    return msgspec.structs.replace(report, files=tuple(map(renamed, report.files)))


@contextmanager
def _progress(paths: Sequence[str], quiet: bool) -> Iterator[Any]:
    """A progress bar on standard error, where that is a terminal and the files are long."""
    total = sum(os.path.getsize(path) for path in paths if os.path.exists(path))
    if quiet or total < PROGRESS_FROM or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        task = bar.add_task("checking", total=total)

        def advance(file: str, done: int) -> None:
            bar.update(task, advance=done, description=os.path.basename(file), refresh=True)

        yield advance
