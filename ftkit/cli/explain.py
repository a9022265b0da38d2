"""`ftkit explain`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftkit._text import plural
from ftkit.cli.command import Command
from ftkit.cli.inputs import one_file
from ftkit.cli.options import output_option
from ftkit.cli.output import print_json, print_line, terminal_width
from ftkit.cli.terminal import write
from ftkit.errors import UsageError
from ftkit.report.columns import wrap, wrap_paragraphs
from ftkit.report.folding import Fold, fold_findings, places
from ftkit.summary import FileReport, Finding
from ftkit.validation.provider_messages import (
    MESSAGE_LENGTH,
    Meaning,
    interpret,
    nearest_rules,
)

if TYPE_CHECKING:
    from ftkit.prepare.audit import Origin
    from ftkit.rules import Rule

SOURCES = 3
"""Maximum number of source rows that are named for a line as text."""


@click.command(cls=Command)
@click.argument("message")
@click.argument("file", required=False)
@click.option(
    "--map",
    metavar="FILE",
    help="Name the source rows of the lines, from the map that a command which prepares data "
    "wrote.  [default: NAME.map.jsonl beside FILE, if the name of FILE begins with NAME]",
)
@output_option
def explain(message: str, file: str | None, map: str | None, output: str) -> int:
    """Find the rules behind a provider's error MESSAGE, and the lines of FILE it is about.

    With - as MESSAGE or FILE, it is read from standard input. If FILE was prepared with a map, the
    rows that these lines were made of are named, too.

    Exit codes: 0 explained, 1 the message is unknown, 2 error.
    """
    if message == file == "-":
        raise UsageError("only one of MESSAGE and FILE can be -, standard input")
    text = _read_message() if message == "-" else message
    if not text.strip():
        raise UsageError("MESSAGE is empty; paste the provider's message")
    meaning = interpret(text)
    nearest = () if meaning.is_known else nearest_rules(text)
    report = _validate(file) if file else None
    findings = _related(meaning, report) if report else []
    sources = _source_rows(meaning, file, map)
    if output == "json":
        print_json(_as_dict(meaning, nearest, findings) | {"sources": _sources_as_dict(sources)})
    else:
        _print_explanation(meaning, nearest)
        _print_sources(meaning, sources, file, map)
        if report:
            _print_findings(report, findings, meaning)
    return 0 if meaning.is_known else 1


def _read_message() -> str:
    """Return the message on standard input, of which only the beginning matters."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- reads standard input; pipe the message to it")
    return sys.stdin.buffer.read(4 * MESSAGE_LENGTH).decode("utf-8", "replace")


def _validate(file: str) -> FileReport:
    import msgspec

    from ftkit.validation.validate import validate

    with one_file(file) as (path, name):
        return msgspec.structs.replace(validate(path).files[0], file=name)


def _source_rows(
    meaning: Meaning, file: str | None, map: str | None
) -> dict[int, tuple[Origin, ...]]:
    """Return the source rows of the lines that a message names, if there is a map."""
    from ftkit.prepare.source_map import find_map, source_rows

    prepared = None if file == "-" else file
    path = Path(map) if map else find_map(prepared) if prepared else None
    return source_rows(path, meaning.lines, prepared) if path else {}


def _print_sources(
    meaning: Meaning, sources: dict[int, tuple[Origin, ...]], file: str | None, map: str | None
) -> None:
    for line in meaning.lines if sources or map else ():
        place = f"{file}:{line}" if file else f"line {line}"
        rows = sources.get(line)
        if rows is None:
            print_line(f"{place} is not in the map.")
            continue
        names = ", ".join(str(row) for row in rows[:SOURCES])
        more = f" and {len(rows) - SOURCES:,} more" if len(rows) > SOURCES else ""
        print_line(f"{place} was made of {names}{more}")


def _sources_as_dict(sources: dict[int, tuple[Origin, ...]]) -> list[dict[str, Any]]:
    import msgspec

    return [
        {"line": line, "rows": msgspec.to_builtins(rows)} for line, rows in sorted(sources.items())
    ]


def _related(meaning: Meaning, report: FileReport) -> list[Finding]:
    """Return the findings of the message's rules, and all on the lines that it names.

    If the message has no rules, errors on the whole file may be about these lines too.
    """
    names = {rule.name for rule in meaning.rules}
    lines = set(meaning.lines)
    is_open = bool(lines) and not names
    return [
        finding
        for finding in report.findings
        if finding.rule in names
        or finding.line in lines
        or (is_open and not finding.line and finding.severity == "error")
    ]


def _print_explanation(meaning: Meaning, nearest: tuple[Rule, ...]) -> None:
    from ftkit.cli.rules import title

    if not meaning.is_known:
        _print_nearest(nearest)
    width = terminal_width()
    for message in meaning.known_messages:
        source = f"{message.source} (checked {message.checked})"
        write(wrap(message.means, "", "", width) + wrap(message.do, "", "", width))
        write(_source(source, width))
    for rule in meaning.rules:
        write(f"{click.style(title(rule), bold=True)}\n{wrap_paragraphs(rule.doc, width)}")
        write(_source(rule.evidence, width))
    if meaning.lines:
        print_line(f"The message names {_lines(meaning)}.")


def _lines(meaning: Meaning) -> str:
    """Return the lines that a message names, as text."""
    return f"line{'s' * (len(meaning.lines) > 1)} {', '.join(map(str, meaning.lines))}"


def _source(source: str, width: int | None) -> str:
    return wrap(f"Source: {source}", "", "", width, dim=True) + "\n"


def _print_nearest(nearest: tuple[Rule, ...]) -> None:
    """Print what to do about a message that is not known."""
    print_line("This message is not known to ftkit. To check a file, run: ftkit validate FILE")
    if nearest:
        print_line("The nearest rules, by the words of the message:")
    names = max((len(rule.name) for rule in nearest), default=0)
    for rule in nearest:
        head = f"  {rule.code}  {rule.name:<{names}}  "
        write(wrap(rule.summary, head, " " * len(head), terminal_width()))
    print_line("Please report the message in a new issue of ftkit's repository.")


def _print_findings(report: FileReport, findings: list[Finding], meaning: Meaning) -> None:
    """Print the findings, or that the file has none that the message is about."""
    for finding, fold in _folded(report, findings, meaning):
        place = f"{report.file}:{finding.line}" if finding.line else report.file
        note = f" ({places(fold, report)})" if fold else ""
        print_line(f"{place}: {finding.code} {finding.rule}: {finding.message}{note}")
    if meaning.rules and not findings:
        print_line(f"{report.file} has none of these errors ({report.examples} examples checked).")
    elif 0 < report.lines < max(meaning.lines, default=0):
        print_line(f"{report.file} has only {plural(report.lines, 'line')}.")
    elif meaning.lines and not findings:
        print_line(f"{report.file} has no findings on {_lines(meaning)}.")


def _folded(
    report: FileReport, findings: list[Finding], meaning: Meaning
) -> list[tuple[Finding, Fold | None]]:
    """Fold the findings of the message's rules, but not those on the lines that it names."""
    import msgspec

    named = [finding for finding in findings if finding.line in meaning.lines]
    others = [finding for finding in findings if finding.line not in meaning.lines]
    names = {finding.rule for finding in others}
    repeats = {name: repeats for name, repeats in report.repeats.items() if name in names}
    rest = msgspec.structs.replace(report, findings=tuple(others), repeats=repeats)
    return [*((finding, None) for finding in named), *fold_findings(rest)]


def _as_dict(
    meaning: Meaning, nearest: tuple[Rule, ...], findings: list[Finding]
) -> dict[str, Any]:
    from ftkit.cli.rules import as_dict

    return {
        "known": meaning.is_known,
        "rules": [as_dict(rule) for rule in meaning.rules],
        "other": [
            {"means": message.means, "do": message.do, "source": message.source}
            for message in meaning.known_messages
        ],
        "nearest": [rule.name for rule in nearest],
        "lines": list(meaning.lines),
        "findings": [finding.to_dict() for finding in findings],
    }
