"""Validation reports as text: a heading per file, a line per finding, and the totals."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ftkit._text import plural, printable, ranges
from ftkit.report.folding import SHOWN, Fold, folds, where
from ftkit.rules import RULES
from ftkit.summary import SEVERITIES, FileReport, Finding, Report, Severity

COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}
"""Colour of each severity."""


def render_text(report: Report, shown: int | None = None, quiet: bool = False) -> str:
    """Render a report as text with ANSI colours.

    Args:
        report: The report.
        shown: Maximum number of findings to show for each rule and file. If None, `SHOWN`, and
            findings that are repeated are shown as one.
        quiet: Leave out headings and totals.
    """
    parts = [_file(file, shown, quiet) for file in report.files]
    if not quiet:
        parts.append(_totals(report))
    return "\n".join(part for part in parts if part)


def _file(file: FileReport, shown: int | None, quiet: bool) -> str:
    heading = "" if quiet else _heading(file)
    return heading + "".join(f"{line}\n" for line in _findings(file, shown))


def _heading(file: FileReport) -> str:
    facts = [file.format or "unknown format"]
    if file.lines:
        facts += [plural(file.lines, "line"), plural(file.examples, "example")]
    name = click.style(printable(file.file), bold=True)
    return f"{name}  {click.style(' · '.join(facts), dim=True)}\n"


def _findings(file: FileReport, shown: int | None) -> Iterator[str]:
    """Yield a line for each finding shown, and one for the others of each rule."""
    folded = {} if shown else {(fold.repeat.first.rule, fold.message): fold for fold in folds(file)}
    limit = shown or SHOWN
    seen: dict[str, int] = {}
    hidden: dict[str, list[int]] = {}
    rows = [(fold.repeat.first, _fold(file, fold)) for fold in folded.values()]
    for finding in file.findings:
        rule = finding.rule
        if folded.keys() & {(rule, finding.message), (rule, None)}:
            continue
        seen[rule] = seen.get(rule, 0) + 1
        if seen[rule] > limit:
            hidden.setdefault(rule, []).append(finding.line)
        else:
            rows.append((finding, _finding(file.file, finding)))
    rows.sort(key=lambda row: (row[0].line, row[0].column))
    yield from (text for _, text in rows)
    others = dict(file.counts)
    for fold in folded.values():
        others[fold.repeat.first.rule] -= fold.repeat.count
    for rule, number in others.items():
        more = number - min(seen.get(rule, 0), limit)
        if more:
            yield f"{printable(file.file)}: {_label(rule)} {more:,} more {_on(hidden, rule, more)}"


def _on(hidden: dict[str, list[int]], rule: str, more: int) -> str:
    """Return the lines of the findings of a rule that are not shown."""
    lines = hidden.get(rule, [])
    if not lines:
        return "on other lines"
    # A report holds a limited number of findings, but counts all.
    others = " and others" if more > len(lines) else ""
    return f"on line{'' if more == 1 else 's'} {ranges(lines)}{others}"


def _fold(file: FileReport, fold: Fold) -> str:
    note = click.style(f" ({where(fold, file.filled)})", dim=True)
    return _finding(file.file, fold.repeat.first) + note


def _finding(file: str, finding: Finding) -> str:
    places = (printable(file), finding.line or None, finding.column or None)
    location = ":".join(str(place) for place in places if place)
    path = "" if finding.path == "$" else click.style(f"  {printable(finding.path)}", dim=True)
    label = _label(finding.rule, finding.severity)
    return f"{location}: {label} {printable(finding.message)}{path}"


def _label(name: str, severity: Severity | None = None) -> str:
    rule = RULES[name]
    severity = severity or rule.severity
    code = click.style(f"{severity} {rule.code}", fg=COLOURS[severity], bold=True)
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
