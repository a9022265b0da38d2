"""Validation reports as text: a heading per file, a line per finding, and the totals."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ftkit._text import plural, printable, ranges
from ftkit.rules import RULES
from ftkit.summary import SEVERITIES, FileReport, Finding, Report

SHOWN = 10
"""Maximum number of findings of a rule that are shown; the others are summed up in one line."""

COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}
"""Colour of each severity."""


def render_text(report: Report, shown: int = SHOWN, quiet: bool = False) -> str:
    """Render a report as text with ANSI colours.

    Args:
        report: The report.
        shown: Maximum number of findings to show for each rule and file.
        quiet: Leave out headings and totals.
    """
    parts = [_file(file, shown, quiet) for file in report.files]
    if not quiet:
        parts.append(_totals(report))
    return "\n".join(part for part in parts if part)


def _file(file: FileReport, shown: int, quiet: bool) -> str:
    heading = "" if quiet else _heading(file)
    return heading + "".join(f"{line}\n" for line in _findings(file, shown))


def _heading(file: FileReport) -> str:
    facts = [file.format or "unknown format"]
    if file.lines:
        facts += [plural(file.lines, "line"), plural(file.examples, "example")]
    name = click.style(printable(file.file), bold=True)
    return f"{name}  {click.style(' · '.join(facts), dim=True)}\n"


def _findings(file: FileReport, shown: int) -> Iterator[str]:
    """Yield a line for each finding shown, and one for the others of each rule."""
    seen: dict[str, int] = {}
    hidden: dict[str, list[int]] = {}
    for finding in file.findings:
        seen[finding.rule] = seen.get(finding.rule, 0) + 1
        if seen[finding.rule] > shown:
            hidden.setdefault(finding.rule, []).append(finding.line)
        else:
            yield _finding(file.file, finding)
    for rule, lines in hidden.items():
        more = file.counts[rule] - shown
        # A report holds a limited number of findings, but counts all.
        others = " and others" if more > len(lines) else ""
        where = f"on line{'' if more == 1 else 's'} {ranges(lines)}{others}"
        yield f"{printable(file.file)}: {_label(rule)} {more:,} more {where}"


def _finding(file: str, finding: Finding) -> str:
    places = (printable(file), finding.line or None, finding.column or None)
    location = ":".join(str(place) for place in places if place)
    path = "" if finding.path == "$" else click.style(f"  {printable(finding.path)}", dim=True)
    return f"{location}: {_label(finding.rule)} {printable(finding.message)}{path}"


def _label(name: str) -> str:
    rule = RULES[name]
    code = click.style(f"{rule.severity} {rule.code}", fg=COLOURS[rule.severity], bold=True)
    return f"{code} {name}:"


def _totals(report: Report) -> str:
    counts = {severity: report.total(severity) for severity in SEVERITIES}
    files = plural(len(report.files), "file")
    examples = plural(sum(file.examples for file in report.files), "example")
    totals = [
        click.style(plural(number, severity), fg=COLOURS[severity], bold=True)
        for severity, number in counts.items()
        if number
    ]
    if not totals:
        return f"{click.style('All clear', fg='green', bold=True)}: {examples} in {files}.\n"
    hint = " `ftkit rule NAME` explains a rule." if counts["error"] or counts["warning"] else ""
    return f"Found {', '.join(totals)} in {files} ({examples}).{hint}\n"
