"""Statistics of validation reports: the findings of each rule, counted over all files."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click
from msgspec import Struct

from ftkit._text import plural
from ftkit._version import __version__
from ftkit.report.columns import table
from ftkit.report.text import COLOURS
from ftkit.rules import RULES
from ftkit.summary import Report, Severity

HEAD = ("code", "rule", "severity", "findings", "files")


class RuleCount(Struct, frozen=True):
    """Findings of a rule that have the same severity.

    Attributes:
        count: Exact number of findings in all files.
        files: Number of files with findings.
    """

    code: str
    rule: str
    severity: Severity
    count: int
    files: int


def statistics(report: Report) -> list[RuleCount]:
    """Return the counts by rule and severity, the most frequent first."""
    findings, files = Counter[tuple[str, Severity]](), Counter[tuple[str, Severity]]()
    for file in report.files:
        for name, numbers in file.severities.items():
            for severity, number in numbers.items():
                findings[name, severity] += number
                files[name, severity] += 1
    counts = [
        RuleCount(RULES[name].code, name, severity, count, files[name, severity])
        for (name, severity), count in findings.items()
    ]
    return sorted(counts, key=lambda count: (-count.count, count.code, count.severity))


def render_statistics_text(report: Report, width: int | None = None) -> str:
    """Render the statistics of a report as a table with ANSI colours."""
    rows = [
        (
            count.code,
            count.rule,
            click.style(count.severity, fg=COLOURS[count.severity]),
            f"{count.count:,}",
            f"{count.files:,}",
        )
        for count in statistics(report)
    ]
    if not rows:
        return f"No findings in {plural(len(report.files), 'file')}.\n"
    return table([HEAD, *rows], left=3, width=width)


def render_statistics_json(report: Report) -> str:
    """Render the statistics of a report as JSON; see `docs/output.md` for the keys."""
    values: dict[str, Any] = {
        "ftkit": __version__,
        "ok": report.ok,
        "files": len(report.files),
        "statistics": [
            {field: getattr(count, field) for field in RuleCount.__struct_fields__}
            for count in statistics(report)
        ],
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
