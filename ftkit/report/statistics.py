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
from ftkit.summary import Report

HEAD = ("code", "rule", "severity", "findings", "files")


class RuleCount(Struct, frozen=True):
    """Findings of a rule.

    Attributes:
        count: Exact number of findings in all files.
        files: Number of files with findings.
    """

    code: str
    rule: str
    severity: str
    count: int
    files: int


def statistics(report: Report) -> list[RuleCount]:
    """Return the counts of all rules that have findings, the most frequent first."""
    findings, files = Counter[str](), Counter[str]()
    for file in report.files:
        findings.update(file.counts)
        files.update(name for name, count in file.counts.items() if count)
    counts = [
        RuleCount(RULES[name].code, name, RULES[name].severity, count, files[name])
        for name, count in findings.items()
        if count
    ]
    return sorted(counts, key=lambda count: (-count.count, count.code))


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
