"""The HTML report on a dataset: verdict, findings, tokens, roles, duplicates, cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from msgspec import Struct

from ftkit._text import money, plural, ranges
from ftkit.estimation.quote import Quote
from ftkit.pages.page import LISTS, render_page
from ftkit.report.data_verdict import Verdict
from ftkit.report.estimate import STATISTICS, TRAINED, price_notes
from ftkit.report.excerpts import Example, excerpt_of
from ftkit.report.histogram import Bars, histogram_bars
from ftkit.rules import RULES
from ftkit.summary import SEVERITIES, FileReport, Finding, Severity
from ftkit.tokens.stats import TokenStats
from ftkit.validation.survey import Survey

MAX_BYTES = 3_000_000
"""Maximum size of a report."""

MAX_FILES = 20
"""Maximum number of files with a section of their own: those with the most severe findings."""

MAX_ROWS, MAX_RULE_ROWS, MIN_RULE_ROWS = 2_500, 200, 10
"""Maximum number of findings in a report, and of each rule; minimum of each rule."""

MAX_EXAMPLES, MAX_RULE_EXAMPLES = 120, 4
"""Maximum number of excerpts of examples in a report, and for each rule."""

MESSAGE_LENGTH = 400
"""Maximum number of characters of a message of a finding."""

MAX_BARS = 12
"""Maximum number of roles, sequences of roles and languages that are shown."""

SCALES = (1.0, 0.5, 0.25, 0.1, 0.02, 0.0)
"""Factors of these maxima that are tried in order, until the report is small enough.

At 0, a rule has its number of findings and none of them.
"""

OPEN_RULES = 3
"""Number of rules whose findings are shown at first."""

SCRIPTS = (LISTS,)
"""Scripts of a report."""

Purpose = Literal["validate", "estimate"]


class FileData(Struct):
    """Everything that a report says about a file.

    Attributes:
        report: Result of the validation.
        quote: Price quote, or None if the file cannot be quoted.
        stats: Token statistics for the first model of the quote.
        note: Reason why there is no quote.
        survey: Roles, languages and duplicates, or None if the file has no format.
        examples: Excerpts by line.
    """

    report: FileReport
    quote: Quote | None = None
    stats: TokenStats | None = None
    note: str = ""
    survey: Survey | None = None
    examples: dict[int, Example] = {}


class Heading(Struct, frozen=True):
    """Head of a report: the verdict, and what it is based on."""

    purpose: Purpose
    verdict: Verdict
    facts: tuple[str, ...]
    command: str


class RuleFindings(Struct, frozen=True):
    """Findings of a rule in a file."""

    name: str
    severity: Severity
    count: int
    findings: tuple[Finding, ...]


def findings_by_rule(file: FileReport) -> list[RuleFindings]:
    """Return the findings of a file by rule, the most severe and frequent first."""
    groups: dict[str, list[Finding]] = {}
    for finding in file.findings:
        groups.setdefault(finding.rule, []).append(finding)
    rows = [
        RuleFindings(
            name, _severity(file, name, rows), file.counts.get(name, len(rows)), tuple(rows)
        )
        for name, rows in groups.items()
    ]
    return sorted(rows, key=lambda row: (SEVERITIES.index(row.severity), -row.count))


def _severity(file: FileReport, name: str, findings: Sequence[Finding]) -> Severity:
    severities = {finding.severity for finding in findings} | set(file.severities.get(name, {}))
    return min(severities, key=SEVERITIES.index)


def lines_to_show(file: FileReport, share: float = 1.0) -> dict[int, list[Finding]]:
    """Return the lines that get an excerpt, each with its findings.

    Args:
        file: The report on the file.
        share: Share of `MAX_EXAMPLES` that the file may have.
    """
    rules = findings_by_rule(file)
    number = max(min(MAX_RULE_EXAMPLES, int(MAX_EXAMPLES * share) // max(len(rules), 1)), 1)
    chosen: dict[int, list[Finding]] = {}
    for rule in rules:
        for line in _typical_lines(rule.findings, number):
            chosen[line] = []
    for finding in file.findings:
        if finding.line in chosen:
            chosen[finding.line].append(finding)
    return chosen


def _typical_lines(findings: Sequence[Finding], number: int) -> list[int]:
    """Return the first lines with different messages, then the first of the others."""
    by_message: dict[str, int] = {}
    for finding in findings:
        if finding.line:
            by_message.setdefault(finding.message, finding.line)
    lines = [*by_message.values(), *(finding.line for finding in findings if finding.line)]
    return list(dict.fromkeys(lines))[:number]


def excerpts(
    lines: Iterator[tuple[int, bytes]], chosen: dict[int, list[Finding]]
) -> dict[int, Example]:
    """Return the excerpts of the chosen lines; the rest of the file is not read."""
    last, examples = max(chosen, default=0), {}
    for number, line in lines:
        if number > last:
            break
        if number in chosen:
            examples[number] = excerpt_of(line, number, chosen[number])
    return examples


def render_data_page(heading: Heading, files: Sequence[FileData], others: int = 0) -> str:
    """Return the report as a self-contained page of at most `MAX_BYTES`.

    Args:
        heading: The head of the report.
        files: What to report.
        others: Number of files that have no section of their own.
    """
    page = ""
    for scale in SCALES:
        page = render_page(
            "data.html",
            scripts=SCRIPTS,
            heading=heading,
            title=heading.verdict.title,
            files=[_file(file, scale / len(files)) for file in files],
            others=others,
            open_rules=OPEN_RULES,
        )
        if len(page.encode("utf-8", "replace")) <= MAX_BYTES:
            break
    return page


def _file(data: FileData, share: float) -> dict[str, Any]:
    """Return the values of a file for the template."""
    file, quote, survey = data.report, data.quote, data.survey
    return {
        "name": file.file,
        "report": file,
        "tiles": list(_tiles(data)),
        "rules": [_rule(rule, data, share) for rule in findings_by_rule(file)],
        "quote": quote,
        "note": data.note,
        "bars": _token_bars(data),
        "cut": _cut(data),
        "distributions": _distributions(quote) if quote else [],
        "statistics": STATISTICS,
        "trained": TRAINED.get(quote.format, "") if quote else "",
        "roles": _shares(survey.roles if survey else {}),
        "patterns": _shares(survey.patterns if survey else {}),
        "languages": _shares(survey.languages if survey else {}),
        "survey": survey,
        "groups": _duplicates(data),
        "largest": max((row.cost.usd for row in quote.models if row.cost), default=0)
        if quote
        else 0,
        "price_notes": price_notes(quote.models) if quote else [],
    }


def _tiles(data: FileData) -> Iterator[tuple[str, str, str]]:
    """Yield names, values and notes of the most important figures."""
    file, quote = data.report, data.quote
    yield "examples", f"{file.examples:,}", plural(file.lines, "line")
    if quote:
        longest = quote.distributions["tokens"].max
        yield "tokens", f"{quote.tokens:,}", "per epoch"
        if quote.trained:
            share = quote.trained / quote.tokens if quote.tokens else 0
            yield "trained tokens", f"{quote.trained:,}", f"{share:.0%} of them"
        if quote.models:
            limit = quote.models[0].tokens_per_example
            yield "longest example", f"{longest:,}", f"tokens; limit {limit:,}"
        costs = [(row.cost.usd, row.model) for row in quote.models if row.cost]
        if costs:
            usd, model = min(costs)
            yield "cost", ("from " if len(costs) > 1 else "") + money(usd), model


def _rule(rule: RuleFindings, data: FileData, share: float) -> dict[str, Any]:
    definition = RULES[rule.name]
    rules = len(data.report.counts) or 1
    rows = min(MAX_RULE_ROWS, int(MAX_ROWS * share) // rules)
    rows = max(rows, MIN_RULE_ROWS) if share else 0
    number = min(MAX_RULE_EXAMPLES, int(MAX_EXAMPLES * share) // rules) if share else 0
    lines = _typical_lines(rule.findings, max(number, 1 if share else 0))
    paragraphs = definition.doc.split("\n\n")
    return {
        "code": definition.code,
        "name": rule.name,
        "severity": rule.severity,
        "count": rule.count,
        "summary": paragraphs[0].replace("\n", " "),
        "doc": [paragraph.replace("\n", " ") for paragraph in paragraphs[1:]],
        "findings": [
            {
                "line": finding.line,
                "path": finding.path[:120] if finding.path != "$" else "",
                "message": finding.message[:MESSAGE_LENGTH],
            }
            for finding in rule.findings[:rows]
        ],
        "more": rule.count - min(rows, len(rule.findings)),
        "examples": [data.examples[line] for line in lines if line in data.examples],
    }


def _token_bars(data: FileData) -> Bars | None:
    return histogram_bars(data.stats.lengths, _limit(data)) if data.stats else None


def _limit(data: FileData) -> int | None:
    quote = data.quote
    return quote.models[0].tokens_per_example if quote and quote.models else None


def _cut(data: FileData) -> str:
    """Return a sentence on what is cut at the limit."""
    quote = data.quote
    if not quote or not quote.models:
        return ""
    first = quote.models[0]
    limit = f"{first.tokens_per_example:,} tokens ({first.model})"
    if not first.cut_examples:
        return f"No example is longer than the limit of {limit}, so nothing is cut."
    lost = ""
    if first.cut_trained_examples:
        lost = f" In {first.cut_trained_examples:,} of them, trained tokens are lost."
    share = first.cut_tokens / quote.tokens
    return (
        f"{plural(first.cut_examples, 'example')} longer than the limit of {limit}: "
        f"{plural(first.cut_tokens, 'token')} ({share:.1%}) would be cut.{lost}"
    )


def _distributions(quote: Quote) -> list[tuple[str, list[str]]]:
    return [
        (
            name.replace("_", " "),
            [f"{getattr(row, key):,.1f}".removesuffix(".0") for key in STATISTICS],
        )
        for name, row in quote.distributions.items()
        if row.max
    ]


def _shares(counts: dict[str, int]) -> list[tuple[str, int, float]]:
    """Return the largest counts with their shares of the total."""
    total = sum(counts.values())
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    shown = [(name, count, count / total) for name, count in rows[:MAX_BARS]]
    rest = sum(count for _, count in rows[MAX_BARS:])
    return [*shown, (f"{len(rows) - MAX_BARS:,} others", rest, rest / total)] if rest else shown


def _duplicates(data: FileData) -> list[dict[str, Any]]:
    survey = data.survey
    if survey is None:
        return []
    kinds = (
        ("equal examples", survey.copies),
        ("same prompt, different answers", survey.conflicts),
    )
    return [
        {
            "kind": kind,
            "count": group.count,
            "lines": ranges(group.first) + (", …" if group.count > len(group.first) else ""),
            "example": data.examples.get(group.first[0]),
        }
        for kind, groups in kinds
        for group in groups
    ]


def group_lines(survey: Survey | None) -> dict[int, list[Finding]]:
    """Return the first line of each group of duplicates, for `excerpts`."""
    groups = [*survey.copies, *survey.conflicts] if survey else []
    return {group.first[0]: [] for group in groups}
