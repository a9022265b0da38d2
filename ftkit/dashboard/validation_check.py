"""Validation of a stored file, with its HTML report."""

from __future__ import annotations

import datetime
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ftkit._private import open_private
from ftkit._text import plural, shell_join
from ftkit._version import __version__
from ftkit.catalog import load_catalog, with_others
from ftkit.dashboard.check_results import REPORT, RuleCount, Validated
from ftkit.dataset.formats import METHODS
from ftkit.estimation.estimate import Terms
from ftkit.report.data_collection import Collector
from ftkit.report.data_page import (
    FileData,
    Heading,
    RuleFindings,
    findings_by_rule,
    render_data_page,
)
from ftkit.report.data_verdict import Verdict, validation_verdict
from ftkit.rules import RULES
from ftkit.validation.scan import Progress
from ftkit.validation.validate import validate

PROVIDER = "local"
"""Provider whose rules and limits apply: this service."""

READS = 2
"""Number of reads of a file that report their progress."""

FIRST = 3
"""Number of findings of a rule that the page of a file shows."""

MESSAGE_LENGTH = 300
"""Maximum number of characters of a message of a finding."""


def validate_file(
    path: Path, output: Path, arguments: dict[str, Any], progress: Progress
) -> Validated:
    """Validate a file, and write the report.

    Args:
        path: The file.
        output: Beginning of the names of the files to write.
        arguments: The `name` to show for the file, and the `models` to count its tokens for.
        progress: Called with the bytes that were read.

    Raises:
        FtkitError: The file cannot be read.
    """
    name = arguments["name"]
    report = validate(path, provider=PROVIDER, workers=1, progress=progress)
    models = arguments["models"]
    catalog = with_others(load_catalog(), PROVIDER, models)
    terms = Terms(catalog, datetime.date.today(), PROVIDER)
    collector = Collector(terms, models, workers=1, reading=lambda _: nullcontext(progress))
    data = collector.collect(report.files[0], name)
    verdict = validation_verdict(replace(report, files=(data.report,)), name)
    with open_private(output.with_name(output.name + REPORT)) as file:
        file.write(_report(data, verdict).encode("utf-8", "replace"))
    return _result(data, replace(verdict, details=()))


def _report(data: FileData, verdict: Verdict) -> str:
    file = data.report
    facts = (
        file.format or "unknown format",
        plural(file.lines, "line"),
        f"{file.bytes:,} bytes",
        f"{datetime.date.today():%Y-%m-%d}",
        f"ftkit {__version__}",
    )
    command = ["ftkit", "validate", file.file, "--provider", PROVIDER, "--html", "report.html"]
    return render_data_page(Heading("validate", verdict, facts, shell_join(command)), [data])


def _result(data: FileData, verdict: Verdict) -> Validated:
    file, quote = data.report, data.quote
    return Validated(
        verdict=verdict,
        format=file.format,
        method=METHODS[file.format] if file.format else "",
        lines=file.lines,
        examples=file.examples,
        errors=file.errors,
        warnings=file.warnings,
        infos=file.infos,
        tokens=quote.tokens if quote else 0,
        trained=quote.trained if quote else 0,
        longest=round(quote.distributions["tokens"].max) if quote else 0,
        fixable=file.fixable.get("safe", 0),
        rules=tuple(map(_rule, findings_by_rule(file))),
    )


def _rule(rule: RuleFindings) -> RuleCount:
    definition = RULES[rule.name]
    summary = definition.doc.split("\n\n")[0].replace("\n", " ")
    first = [(finding.line, finding.message[:MESSAGE_LENGTH]) for finding in rule.findings[:FIRST]]
    return RuleCount(rule.name, definition.code, rule.severity, summary, rule.count, tuple(first))
