"""Validation reports as text: a heading per file, a line per finding, and the totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import click

from ftkit._text import plural, printable, ranges
from ftkit.report.fix_hint import fix_hint
from ftkit.report.folding import SHOWN, Fold, fold_findings, places
from ftkit.rules import RULES
from ftkit.summary import SEVERITIES, FileReport, Finding, Report, Severity

COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}
"""Colour of each severity."""


def render_text(
    report: Report, shown: int | None = None, quiet: bool = False, fix_options: str = ""
) -> str:
    """Render a report as text with ANSI colours.

    Args:
        report: The report.
        shown: Maximum number of findings to show for each rule and file. If None, `SHOWN`, and
            findings that are repeated are shown as one.
        quiet: Leave out headings and totals.
        fix_options: Options of `ftkit fix`, as a shell reads them.
    """
    parts = [_file(file, shown, quiet) for file in report.files]
    if not quiet:
        parts.append(fix_hint(report, fix_options) + _totals(report))
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
    rows = [(row, None) for row in file.findings] if shown else fold_findings(file)
    limit = shown or SHOWN
    more = Counter(
        {
            (rule, severity): number
            for rule, numbers in file.severities.items()
            for severity, number in numbers.items()
        }
    )
    seen: dict[str, int] = {}
    hidden: dict[tuple[str, str], list[int]] = {}
    for finding, fold in rows:
        rule = finding.rule
        seen[rule] = seen.get(rule, 0) + (fold is None)
        if seen[rule] > limit and fold is None:
            hidden.setdefault((rule, finding.severity), []).append(finding.line)
            continue
        more[rule, finding.severity] -= fold.repeat.count if fold else 1
        yield _finding(file.file, finding) + (_note(fold, file) if fold else "")
    for (rule, severity), number in more.items():
        if number > 0:
            where = _on(hidden.get((rule, severity), []), number)
            yield f"{printable(file.file)}: {_label(rule, severity)} {number:,} more {where}"


def _on(lines: list[int], number: int) -> str:
    """Return the lines of findings that are not shown."""
    if not lines:
        return "on other lines"
    # A report holds a limited number of findings, but counts all.
    others = " and others" if number > len(lines) else ""
    return f"on line{'' if number == 1 else 's'} {ranges(lines)}{others}"


def _note(fold: Fold, file: FileReport) -> str:
    return click.style(f" ({places(fold, file)})", dim=True)


def _finding(file: str, finding: Finding) -> str:
    parts = (printable(file), finding.line or None, finding.column or None)
    location = ":".join(str(part) for part in parts if part)
    path = "" if finding.path == "$" else click.style(f"  {printable(finding.path)}", dim=True)
    label = _label(finding.rule, finding.severity)
    return f"{location}: {label} {printable(finding.message)}{path}"


def _label(name: str, severity: Severity) -> str:
    code = click.style(f"{severity} {RULES[name].code}", fg=COLOURS[severity], bold=True)
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
