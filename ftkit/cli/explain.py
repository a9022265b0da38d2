"""`ftkit explain`."""

from __future__ import annotations

from typing import Any

import click

from ftkit.cli.output import print_json, print_line
from ftkit.cli.terminal import write
from ftkit.summary import FileReport, Finding
from ftkit.validation.provider_messages import Meaning, interpret


@click.command()
@click.argument("message")
@click.argument("file", required=False)
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Output format.",
)
def explain(message: str, file: str | None, output: str) -> int:
    """Find the rules behind a provider's error MESSAGE, and the lines of FILE it is about.

    Exit codes: 0 explained, 1 the message is unknown, 2 error.
    """
    meaning = interpret(message)
    report = _validate(file) if file else None
    findings = _related(meaning, report) if report else []
    if output == "json":
        print_json(_as_dict(meaning, findings))
    else:
        _print_explanation(meaning)
        if report:
            _print_findings(report, findings, expected=bool(meaning.rules))
    return 0 if meaning.is_known else 1


def _validate(file: str) -> FileReport:
    from ftkit.validation.validate import validate

    return validate(file).files[0]


def _related(meaning: Meaning, report: FileReport) -> list[Finding]:
    """Return the findings of the message's rules, and all on the lines that it names."""
    names = {rule.name for rule in meaning.rules}
    return [
        finding
        for finding in report.findings
        if finding.rule in names or finding.line in meaning.lines
    ]


def _print_explanation(meaning: Meaning) -> None:
    from ftkit.cli.rules import title

    if not meaning.is_known:
        print_line("This message is not known to ftkit. To check a file, run: ftkit validate FILE")
    for message in meaning.known_messages:
        write(f"{message.means}\n{message.do}\n\n")
    for rule in meaning.rules:
        write(f"{click.style(title(rule), bold=True)}\n{rule.doc}\n\n")
    if meaning.lines:
        plural = "s" * (len(meaning.lines) > 1)
        print_line(f"The message names line{plural} {', '.join(map(str, meaning.lines))}.")


def _print_findings(report: FileReport, findings: list[Finding], expected: bool) -> None:
    """Print the findings, or that the file has none of those that were expected."""
    for finding in findings:
        place = f"{report.file}:{finding.line}" if finding.line else report.file
        print_line(f"{place}: {finding.code} {finding.rule}: {finding.message}")
    if expected and not findings:
        print_line(f"{report.file} has none of these errors ({report.examples} examples checked).")


def _as_dict(meaning: Meaning, findings: list[Finding]) -> dict[str, Any]:
    from ftkit.cli.rules import as_dict

    return {
        "known": meaning.is_known,
        "rules": [as_dict(rule) for rule in meaning.rules],
        "other": [
            {"means": message.means, "do": message.do, "source": message.source}
            for message in meaning.known_messages
        ],
        "lines": list(meaning.lines),
        "findings": [finding.to_dict() for finding in findings],
    }
