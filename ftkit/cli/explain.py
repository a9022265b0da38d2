"""`ftkit explain`."""

from __future__ import annotations

import json
from typing import Any

import click

from ftkit._text import printable
from ftkit.summary import FileReport, Finding
from ftkit.validation.service_messages import Meaning, meaning


@click.command()
@click.argument("message")
@click.argument("file", required=False)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def explain(message: str, file: str | None, output: str) -> int:
    """Find the rule behind a service's MESSAGE, and with FILE the lines it is about.

    Paste what the service said. Exit codes: 0 explained, 1 not known, 2 ftkit could not do it.
    """
    found = meaning(message)
    report = _check(file) if file else None
    findings = _about(found, report) if report else []
    if output == "json":
        click.echo(json.dumps(_as_dict(found, findings), indent=2, ensure_ascii=False))
    else:
        _print(found, file, report, findings)
    return 0 if found.known else 1


def _check(file: str) -> FileReport:
    from ftkit.validation.validate import validate

    return validate(file).files[0]


def _about(found: Meaning, report: FileReport) -> list[Finding]:
    """The findings of the file that the message is about: those of its rules, and all on the lines it names."""
    names = {rule.name for rule in found.rules}
    return [
        finding
        for finding in report.findings
        if finding.rule in names or finding.line in found.lines
    ]


def _print(
    found: Meaning, file: str | None, report: FileReport | None, findings: list[Finding]
) -> None:
    if not found.known:
        click.echo(
            "This message is not known to ftkit. `ftkit validate FILE` checks the file for everything it does know."
        )
    for saying in found.known_messages:
        click.echo(f"{saying.means}\n{saying.do}\n")
    for rule in found.rules:
        click.echo(click.style(f"{rule.name} ({rule.code}, {rule.severity})", bold=True))
        click.echo(f"{rule.doc}\n")
    if found.lines:
        click.echo(
            f"The message names line{'s' * (len(found.lines) > 1)} {', '.join(map(str, found.lines))}."
        )
    for finding in findings:
        where = f"{file}:{finding.line}" if finding.line else f"{file}"
        click.echo(f"{where}: {finding.code} {finding.rule}: {printable(finding.message)}")
    if report and not findings and found.rules:
        click.echo(f"{file} has none of these faults ({report.examples} examples checked).")


def _as_dict(found: Meaning, findings: list[Finding]) -> dict[str, Any]:
    from ftkit.cli.rules import as_dict
    from ftkit.report.json import finding_as_dict

    return {
        "known": found.known,
        "rules": [as_dict(rule) for rule in found.rules],
        "other": [
            {"means": saying.means, "do": saying.do, "source": saying.source}
            for saying in found.known_messages
        ],
        "lines": list(found.lines),
        "findings": [finding_as_dict(finding) for finding in findings],
    }
