"""Shared parts of the commands that prepare data: their options, output and report."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click

from ftkit.cli.command import refuse_output_over_settings
from ftkit.cli.inputs import local_files, progress
from ftkit.cli.output import print_warning
from ftkit.cli.terminal import preferences, write, write_bytes, write_error, write_json
from ftkit.dataset.reader import FileRanges, is_compressed
from ftkit.errors import UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats import JSONL, detect_file
from ftkit.prepare.file_formats.parquet import PARQUET
from ftkit.prepare.outputs import refuse_overwriting
from ftkit.prepare.prepared import Prepared
from ftkit.report.prepare import render_prepared_text

REPORTS = ("text", "json")
"""Formats of a report."""

COPY_BYTES = 1 << 20
"""Bytes that are copied to standard output at a time."""

EXIT_CODES = (
    "Exit codes: 0 done, 1 findings: values were lost or rows rejected, 2 error, 130 interrupted."
)


def preparing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument and the options of all commands that write one prepared file."""
    argument = click.argument("files", nargs=-1, required=True, metavar="FILES...")
    return argument(output_options(command))


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of all commands that write one prepared file."""
    for add in (
        click.option(
            "--report",
            type=click.Choice(REPORTS),
            default="text",
            show_default=True,
            help="Format of the report, which goes to standard output if the data does not.",
        ),
        record_options,
        click.option("--in-place", is_flag=True, help="Replace the input file by the output."),
        click.option(
            "--output-file",
            "-o",
            metavar="FILE",
            help="Write the data to FILE when it is complete.  [default: standard output]",
        ),
    ):
        command = add(command)
    return command


def record_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the map and for the rejected rows."""
    for add in (
        click.option(
            "--rejects",
            metavar="FILE",
            help="Write the rows that cannot be read to FILE, and go on with the others.  "
            "[default: write nothing if there are such rows]",
        ),
        click.option(
            "--map",
            metavar="FILE",
            help="Write the source and the steps of each output line to FILE.",
        ),
    ):
        command = add(command)
    return command


class Check(NamedTuple):
    """Result of a check of the output, for the report."""

    is_ok: bool
    """False to make the exit code 1."""
    text: str
    """Lines of the report as text."""
    fields: dict[str, Any]
    """Keys of the report as JSON."""


NO_CHECK = Check(True, "", {})


def write_prepared(
    files: Sequence[str],
    prepare: Callable[[list[str]], Prepared],
    options: dict[str, Any],
    check: Callable[[str, str | None], Check] | None = None,
    others: Sequence[str] = (),
    keeps_layout: bool = True,
) -> int:
    """Prepare files, write the output and the report, and return the exit code.

    Args:
        files: The argument of the command.
        prepare: Prepares the files of these paths.
        options: Values of the options of `preparing`.
        check: Checks the output, given its path and its name, which is None for standard output.
        others: Further files that are read, and must not be written.
        keeps_layout: False if `--in-place` may make a file JSON Lines that has another layout.
    """
    extra = {name: Path(options[name]) for name in ("map", "rejects") if options[name]}
    target = _target(files, options["output_file"], options["in_place"])
    if options["in_place"] and keeps_layout:
        _check_layout(files[0])
    with (
        local_files(files) as (paths, names),
        tempfile.TemporaryDirectory(prefix="ftkit-") as folder,
    ):
        outputs = [*map(str, extra.values()), *([target] if target else [])]
        check_outputs(outputs, [*others, *(() if options["in_place"] else paths)])
        path = Path(target or Path(folder, "output"))
        prepared = prepare(paths)
        prepared.audit.names = names
        with showing_progress(paths, prepared.audit):
            is_written = prepared.write(path, **extra)
        checked = check(str(path), target) if check and is_written else NO_CHECK
        if is_written and not target:
            copy_to_stdout(path)
    audit = prepared.audit
    write_report(audit, target, options["report"], checked)
    if not is_written:
        print_warning(_why_withheld(prepared))
    return 1 if audit.total("rejected") or audit.total("loss") or not checked.is_ok else 0


@contextmanager
def showing_progress(paths: Sequence[str], audit: Audit) -> Iterator[None]:
    """Show a progress bar while large files are read."""
    with progress(paths, quiet=False, action="reading") as advance:
        if advance:
            audit.advance = advance
        yield


def _why_withheld(prepared: Prepared) -> str:
    if prepared.has_forbidden_losses:
        return (
            "nothing was written, since values were lost; use --on-loss allow or drop-row to go on"
        )
    return "nothing was written, since rows were rejected; use --rejects FILE to go on"


def check_prepared(
    files: Sequence[str],
    prepare: Callable[[list[str]], Prepared],
    step: str,
    options: dict[str, Any],
) -> int:
    """Print the report of a preparation without writing its output.

    Args:
        files: The argument of the command.
        prepare: Prepares the files of these paths.
        step: Name of the step that has findings if it drops rows.
        options: Values of the options of `preparing`, and of others that name files to write.

    Returns:
        The exit code: 1 if the step drops rows, or rows are rejected.
    """
    for name, value in options.items():
        if value and name != "report":
            raise UsageError(f"`check` writes nothing; leave out `{name}`")
    with local_files(files) as (paths, names):
        prepared = prepare(paths)
        audit = prepared.audit
        audit.names = names
        with showing_progress(paths, audit):
            for _ in prepared.rows():
                pass
    format = options["report"]
    _print(_report(audit, "", format), format)
    has_drops = any(key[:2] == ("dropped", step) for key in audit.counts)
    return 1 if has_drops or audit.total("rejected") else 0


def _target(files: Sequence[str], output: str | None, in_place: bool) -> str | None:
    """Return the file to write, or None for standard output."""
    if not in_place:
        if output in REPORTS:
            raise UsageError(
                f"-o names the file to write; for a report as {output} use --report {output}, "
                f"for a file of that name -o ./{output}"
            )
        return output
    if output:
        raise UsageError("--in-place and --output-file exclude each other")
    if len(files) != 1 or not os.path.isfile(files[0]):
        raise UsageError("--in-place needs exactly one regular file")
    if is_compressed(files[0]):
        raise UsageError(f"--in-place cannot write {files[0]}: it is compressed")
    return files[0]


def _check_layout(name: str) -> None:
    """Raise `UsageError` if a file is not JSON Lines, which is what would be written to it."""
    format = detect_file(FileRanges(name))
    if format is not JSONL or name.endswith(PARQUET):
        raise UsageError(f"--in-place writes JSON Lines, but {name} is {format.name}; use -o")


def check_outputs(outputs: Sequence[str], inputs: Sequence[str]) -> None:
    """Raise `UsageError` if an output would replace an input, a settings file or another output."""
    refuse_overwriting(outputs, inputs)
    for output in outputs:
        refuse_output_over_settings(output)


def copy_to_stdout(path: Path) -> None:
    """Write a file to standard output."""
    with path.open("rb") as file:
        while data := file.read(COPY_BYTES):
            write_bytes(data)


def write_report(audit: Audit, target: str | None, format: str, check: Check) -> None:
    """Write a report: to standard output, or to standard error if the data went there.

    With `--quiet`, standard error gets no report without findings.

    Args:
        audit: The audit of the preparation.
        target: Name of the file that was written, or None for standard output.
        format: One of `REPORTS`.
        check: The result of a check of the output.
    """
    text = _report(audit, target or "standard output", format, check)
    has_findings = audit.total("rejected") or audit.total("loss") or not check.is_ok
    if target:
        _print(text, format)
    elif has_findings or not preferences.is_quiet:
        write_error(text)


def _report(audit: Audit, target: str, format: str, check: Check = NO_CHECK) -> str:
    if format == "json":
        report = audit.to_dict() | check.fields
        return f"{json.dumps(report, indent=2, ensure_ascii=False)}\n"
    return render_prepared_text(audit, target) + check.text


def _print(text: str, format: str) -> None:
    (write_json if format == "json" else write)(text)
