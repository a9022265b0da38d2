"""`ftkit explain`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ftkit.cli.command import Command
from ftkit.cli.inputs import one_file
from ftkit.cli.options import output_option
from ftkit.cli.output import print_json, print_line
from ftkit.cli.terminal import write
from ftkit.errors import UsageError
from ftkit.report.folding import Fold, fold_findings, places
from ftkit.summary import FileReport, Finding
from ftkit.validation.provider_messages import (
    MESSAGE_LENGTH,
    Meaning,
    interpret,
    nearest_rules,
)

if TYPE_CHECKING:
    from ftkit.rules import Rule


@click.command(cls=Command)
@click.argument("message")
@click.argument("file", required=False)
@output_option
def explain(message: str, file: str | None, output: str) -> int:
    """Find the rules behind a provider's error MESSAGE, and the lines of FILE it is about.

    With - as MESSAGE or FILE, it is read from standard input.

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
    if output == "json":
        print_json(_as_dict(meaning, nearest, findings))
    else:
        _print_explanation(meaning, nearest)
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


def _related(meaning: Meaning, report: FileReport) -> list[Finding]:
    """Return the findings of the message's rules, and all on the lines that it names."""
    names = {rule.name for rule in meaning.rules}
    return [
        finding
        for finding in report.findings
        if finding.rule in names or finding.line in meaning.lines
    ]


def _print_explanation(meaning: Meaning, nearest: tuple[Rule, ...]) -> None:
    from ftkit.cli.rules import title

    if not meaning.is_known:
        _print_nearest(nearest)
    for message in meaning.known_messages:
        source = f"Source: {message.source} (checked {message.checked})"
        write(f"{message.means}\n{message.do}\n{click.style(source, dim=True)}\n\n")
    for rule in meaning.rules:
        source = click.style(f"Source: {rule.evidence}", dim=True)
        write(f"{click.style(title(rule), bold=True)}\n{rule.doc}\n{source}\n\n")
    if meaning.lines:
        plural = "s" * (len(meaning.lines) > 1)
        print_line(f"The message names line{plural} {', '.join(map(str, meaning.lines))}.")


def _print_nearest(nearest: tuple[Rule, ...]) -> None:
    """Print what to do about a message that is not known."""
    print_line("This message is not known to ftkit. To check a file, run: ftkit validate FILE")
    if nearest:
        print_line("The nearest rules, by the words of the message:")
    width = max((len(rule.name) for rule in nearest), default=0)
    for rule in nearest:
        print_line(f"  {rule.code}  {rule.name:<{width}}  {rule.summary}")
    print_line("Please report the message in a new issue of ftkit's repository.")


def _print_findings(report: FileReport, findings: list[Finding], meaning: Meaning) -> None:
    """Print the findings, or that the file has none that the rules of the message expect."""
    for finding, fold in _folded(report, findings, meaning):
        place = f"{report.file}:{finding.line}" if finding.line else report.file
        note = f" ({places(fold, report.filled)})" if fold else ""
        print_line(f"{place}: {finding.code} {finding.rule}: {finding.message}{note}")
    if meaning.rules and not findings:
        print_line(f"{report.file} has none of these errors ({report.examples} examples checked).")


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
