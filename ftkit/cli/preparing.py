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

from ftkit._atomic import refuse_descriptor
from ftkit.cli.command import ERROR_CODE, STDOUT, refuse_output_over_settings
from ftkit.cli.inputs import input_files, progress
from ftkit.cli.output import print_warning
from ftkit.cli.terminal import preferences, write, write_bytes, write_error, write_json
from ftkit.dataset.object_location import is_url, parse_url
from ftkit.dataset.object_writer import check_bucket
from ftkit.dataset.reader import FileRanges, is_compressed
from ftkit.errors import UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats import JSONL, detect_file
from ftkit.prepare.file_formats.parquet import PARQUET
from ftkit.prepare.outputs import check_name, refuse_overwriting
from ftkit.prepare.prepared import Prepared
from ftkit.report.prepare import render_prepared_text
from ftkit.report.screen import render_screen_text

REPORTS = ("text", "json")
"""Formats of a report."""

COPY_BYTES = 1 << 20
"""Bytes that are copied to standard output at a time."""

EXIT_CODES = "Exit codes: 0 done, 1 findings: rows were rejected, 2 error, 130 interrupted."


def preparing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument and the options of all commands that write one prepared file."""
    argument = click.argument("files", nargs=-1, required=True, metavar="FILES...")
    in_place = click.option(
        "--in-place", is_flag=True, help="Replace the input file by the output."
    )
    return argument(output_options(command, in_place))


def output_options(command: Callable[..., Any], *further: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of all commands that write one prepared file, and further ones."""
    options: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
        click.option(
            "--report",
            type=click.Choice(REPORTS),
            default="text",
            show_default=True,
            help="Format of the report, which goes to standard output if the data does not.",
        ),
        record_options,
        *further,
        click.option(
            "--output-file",
            "-o",
            metavar="FILE",
            help="Write the data to FILE, or to an object if it is a URL, when it is complete.  "
            "[default: standard output]",
        ),
    ]
    for add in options:
        command = add(command)
    return command


def record_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the map and for the rejected rows."""
    for add in (
        click.option(
            "--rejects",
            metavar="FILE",
            help="Write the rows that are rejected to FILE, and go on with the others.  "
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
    advise: Callable[[Audit], str] = lambda audit: LOSS_ADVICE,
) -> int:
    """Prepare files, write the output and the report, and return the exit code.

    Args:
        files: The argument of the command.
        prepare: Prepares the files of these paths.
        options: Values of the options of `preparing`.
        check: Checks the output, given its path and its name, which is None for standard output.
        others: Further files that are read, and must not be written.
        keeps_layout: False if `--in-place` may make a file JSON Lines that has another layout.
        advise: Returns why values would be lost and what to do, for the audit of a preparation
            that must not lose any.

    Returns:
        The exit code: 0, 1 if there are findings, or 2 if all rows were rejected.
    """
    extra = named_files(options, "map", "rejects")
    is_in_place = options.get("in_place", False)
    target = _target(files, options["output_file"], is_in_place)
    if is_in_place and keeps_layout:
        _check_layout(files[0])
    outputs = [*extra.values(), *([target] if target else [])]
    if target and is_url(target):
        check_name(target)
    check_buckets(outputs)
    with (
        input_files(files) as (paths, names),
        tempfile.TemporaryDirectory(prefix="ftkit-") as folder,
    ):
        check_outputs(outputs, [*others, *(() if is_in_place else paths)])
        path = target or str(Path(folder, "output"))
        prepared = prepare(paths)
        prepared.audit.names = names
        with showing_progress(paths, prepared.audit):
            is_written = prepared.write(path, **extra)
        checked = check(path, target) if check and is_written else NO_CHECK
        if is_written and not target:
            copy_to_stdout(Path(path))
    audit = prepared.audit
    write_report(audit, target, options["report"], checked, is_written)
    if not is_written:
        return warn_withheld(audit, advise(audit) if prepared.has_forbidden_losses else "")
    if audit.read and not audit.written and options["report"] != "json":
        print_warning("no row was written, since all were dropped or rejected")
    return 1 if audit.has_findings or not checked.is_ok else 0


def named_files(options: dict[str, Any], *names: str) -> dict[str, str]:
    """Return the paths and URLs that some options name, without the options that are not set."""
    return {name: options[name] for name in names if options[name]}


@contextmanager
def showing_progress(paths: Sequence[str], audit: Audit) -> Iterator[None]:
    """Show a progress bar while large files are read."""
    with progress(paths, quiet=False, action="reading") as advance:
        if advance:
            audit.advance = advance
        yield


LOSS_ADVICE = "values would be lost; use --on-loss allow or drop-row to go on"
"""Reason that nothing was written, and what to do."""


def warn_withheld(audit: Audit, advice: str = "") -> int:
    """Print why nothing was written, and return the exit code.

    Args:
        audit: The audit of the preparation.
        advice: Why values would be lost, which must not be, and what to do.
    """
    if audit.total("rejected") == audit.read > 0:
        first = next(entry for entry in audit.entries if entry.effect == "rejected")
        cause = f"{first.origin}: {first.reason}"
        print_warning(f"nothing was written, since all rows were rejected; {cause}")
        return ERROR_CODE
    reason = advice or "rows were rejected; use --rejects FILE to go on"
    print_warning(f"nothing was written, since {reason}")
    return 1


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
    refuse_outputs("check", {name: options[name] for name in options if name != "report"})
    with input_files(files) as (paths, names):
        prepared = prepare(paths)
        audit = prepared.audit
        audit.names = names
        with showing_progress(paths, audit):
            for _ in prepared.rows():
                pass
    format = options["report"]
    _print(_report(audit, "", format), format)
    has_drops = any(key[:2] == ("dropped", step) for key in audit.counts)
    return 1 if has_drops or audit.has_findings else 0


def refuse_outputs(option: str, options: dict[str, Any]) -> None:
    """Raise `UsageError` if an option that names a file to write is set beside another.

    Args:
        option: The option that writes nothing.
        options: Values of the options that it excludes.
    """
    for name, value in options.items():
        if value:
            raise UsageError(f"`{option}` writes nothing; leave out `{name}`")


def print_findings(
    files: Sequence[str], prepare: Callable[[list[str]], Prepared], format: str
) -> int:
    """Print what was found in files, without writing them.

    Args:
        files: The argument of the command.
        prepare: Prepares the files of these paths.
        format: One of `REPORTS`.

    Returns:
        The exit code: 1 if there are findings.
    """
    with input_files(files) as (paths, names):
        prepared = prepare(paths)
        prepared.audit.names = names
        with showing_progress(paths, prepared.audit):
            for _ in prepared.rows():
                pass
    is_json = format == "json"
    _print(
        _report(prepared.audit, "", format) if is_json else render_screen_text(prepared.audit),
        format,
    )
    return 1 if prepared.audit.has_findings else 0


def _target(files: Sequence[str], output: str | None, in_place: bool) -> str | None:
    """Return the file to write, or None for standard output."""
    if not in_place:
        if output in REPORTS:
            raise UsageError(
                f"-o names the file to write; for a report as {output} use --report {output}, "
                f"for a file of that name -o ./{output}"
            )
        return None if output == STDOUT else output
    if output:
        raise UsageError("--in-place and --output-file exclude each other")
    if any(map(is_url, files)):
        raise UsageError("--in-place replaces local files only; use -o with another URL")
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
    """Raise `UsageError` if an output would replace an input, a settings file or another output.

    It must not be a file descriptor, either, behind which may be any of them.

    Raises:
        FileError: It is a file descriptor.
    """
    paths = [output for output in outputs if not is_url(output)]
    for path in paths:
        refuse_descriptor(path)
    refuse_overwriting(outputs, inputs)
    for path in paths:
        refuse_output_over_settings(path)


def check_buckets(outputs: Sequence[str]) -> None:
    """Raise an error if an output is an object in a bucket that cannot be used, or named twice.

    The first request to write comes after all rows were read, for some commands and for pipes.
    """
    refuse_overwriting(outputs, ())
    for url in {parse_url(output).root: output for output in outputs if is_url(output)}.values():
        check_bucket(url)


def copy_to_stdout(path: Path) -> None:
    """Write a file to standard output."""
    with path.open("rb") as file:
        while data := file.read(COPY_BYTES):
            write_bytes(data)


def write_report(
    audit: Audit, target: str | None, format: str, check: Check, is_written: bool
) -> None:
    """Write a report: to standard output, or to standard error if the data went there.

    With `--quiet`, standard error gets no report without findings.

    Args:
        audit: The audit of the preparation.
        target: Name of the file that was written, or None for standard output.
        format: One of `REPORTS`.
        check: The result of a check of the output.
        is_written: False if the output was not written.
    """
    text = _report(audit, target or "standard output", format, check, is_written)
    if target:
        _print(text, format)
    elif audit.has_findings or not check.is_ok or not preferences.is_quiet:
        write_error(text)


def _report(
    audit: Audit, target: str, format: str, check: Check = NO_CHECK, is_written: bool = True
) -> str:
    if format == "json":
        report = audit.to_dict() | check.fields
        return f"{json.dumps(report, indent=2, ensure_ascii=False)}\n"
    return render_prepared_text(audit, target, is_written) + check.text


def _print(text: str, format: str) -> None:
    (write_json if format == "json" else write)(text)
