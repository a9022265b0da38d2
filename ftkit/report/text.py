"""The report for people: a heading for each file, a line for each finding, a last line that counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from ftkit._text import printable
from ftkit.rules import RULES
from ftkit.summary import SEVERITIES, FileReport, Finding, Report

SHOWN = 10
"""Findings of one rule that are shown one by one; the lines of the others are listed after them."""

COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


def render_text(report: Report, shown: int = SHOWN, quiet: bool = False) -> str:
    """The report with ANSI colours, which the caller strips where they are not wanted.

    `shown` is the number of findings of each rule that are shown one by one. `quiet` leaves out headings and totals.
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
        facts += [_number(file.lines, "line"), _number(file.examples, "example")]
    return f"{click.style(printable(file.file), bold=True)}  {click.style(' · '.join(facts), dim=True)}\n"


def _findings(file: FileReport, shown: int) -> Iterator[str]:
    seen: dict[str, int] = {}
    folded: dict[str, list[int]] = {}
    for finding in file.findings:
        seen[finding.rule] = seen.get(finding.rule, 0) + 1
        if seen[finding.rule] > shown:
            folded.setdefault(finding.rule, []).append(finding.line)
        else:
            yield _finding(file.file, finding)
    for name, lines in folded.items():
        more = file.counts[name] - shown
        where = f"on line{'s' * (more > 1)} {ranges(lines)}{_beyond(more, lines)}"
        yield f"{printable(file.file)}: {_label(name)} {more:,} more, {where}"


def _beyond(more: int, lines: list[int]) -> str:
    return " and further ones" if more > len(lines) else ""


def _finding(file: str, finding: Finding) -> str:
    where = ":".join(
        str(part)
        for part in (printable(file), finding.line or None, finding.column or None)
        if part
    )
    path = "" if finding.path == "$" else click.style(f"  {finding.path}", dim=True)
    return f"{where}: {_label(finding.rule)} {printable(finding.message)}{path}"


def _label(name: str) -> str:
    rule = RULES[name]
    return (
        click.style(f"{rule.severity} {rule.code}", fg=COLOURS[rule.severity], bold=True)
        + f" {name}:"
    )


def ranges(numbers: Iterable[int], limit: int = 12) -> str:
    """Line numbers, runs joined: `3, 7-9, 12`; at most `limit` runs."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:limit]]
    return ", ".join(shown) + (", …" if len(runs) > limit else "")


def _totals(report: Report) -> str:
    counts = {severity: report.total(severity) for severity in SEVERITIES}
    files = _number(len(report.files), "file")
    examples = _number(sum(file.examples for file in report.files), "example")
    said = [
        click.style(_number(number, severity), fg=COLOURS[severity], bold=True)
        for severity, number in counts.items()
        if number
    ]
    if not said:
        return f"{click.style('All clear', fg='green', bold=True)}: {examples} in {files}.\n"
    hint = " `ftkit rule NAME` explains a rule." if counts["error"] or counts["warning"] else ""
    return f"Found {', '.join(said)} in {files} ({examples}).{hint}\n"


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
