"""Validating files: scan each, then apply the rules on the whole file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from ftkit.catalog import DEFAULT_PROVIDER, Catalog, find_limits
from ftkit.dataset.detect import Head
from ftkit.dataset.formats import find_format
from ftkit.dataset.inputs import Examples, File, open_source, open_sources, sizes_of
from ftkit.dataset.reader import Source
from ftkit.errors import FileError, UsageError, check_choice, check_name, os_error_message
from ftkit.rules import RULES, ScanPlan, choose_rules
from ftkit.rules.fixes import find_fix
from ftkit.rules.nodes import Dataset
from ftkit.rules.reinforcement import fields_read
from ftkit.summary import (
    KEEP,
    FileReport,
    Finding,
    Report,
    Safety,
    Severity,
    Summary,
    first_per_rule,
)
from ftkit.validation.engines import LOCAL, open_engine
from ftkit.validation.repetition import RepeatCounter
from ftkit.validation.runner import Checks, finding
from ftkit.validation.scan import Engine, Progress, choose_format, summarize

Purpose = Literal["training", "validation"]

FailOn = Literal["error", "warning"]
"""Lowest severity that makes `Report.ok` false."""


def validate(  # noqa: PLR0913 # public keyword-only API
    files: File | Iterable[File] | Examples,
    *,
    format: str | None = None,
    model: str | None = None,
    provider: str = DEFAULT_PROVIDER,
    validation_file: File | Examples | None = None,
    grader: str | os.PathLike[str] | None = None,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    fail_on: FailOn = "error",
    max_findings: int = KEEP,
    catalog: Catalog | None = None,
    workers: int | None = None,
    engine: str = LOCAL,
    progress: Progress | None = None,
) -> Report:
    """Validate fine-tuning files and return the findings.

    Args:
        files: One or several paths or open files, or the examples themselves as dictionaries. A
            path may be a URL in object storage, or a pattern of URLs, such as
            `s3://bucket/*.jsonl`. A path that ends in `.gz` is read through gzip. An open file is
            read from its current position and stays open. The line of a finding in examples is
            their number from 1.
        format: `chat`, `completions`, `preference` or `reinforcement`; detected for each file if
            None.
        model: The exact name of the model to train, which sets the number of tokens an example
            may have (4,096 if None).
        provider: The provider the files are for, which sets the other limits.
        validation_file: A file, or examples, validated too; must not share examples with `files`.
        grader: A JSON file with a grader. Every `{{item.x}}` in it must be a field of every line
            of a reinforcement file.
        select: Rules to apply, by name, code or code prefix; all if empty.
        ignore: Rules to leave out, likewise.
        fail_on: The lowest severity that makes `Report.ok` false.
        max_findings: Maximum number of findings to keep for each rule and file. The counts are
            exact anyway.
        catalog: Models and providers; those that come with ftkit if None.
        workers: Number of processes for large files, or of tasks at a time in a cluster; one per
            processor if None.
        engine: `local` for processes of this machine; `ray`, or `ray=HOST:PORT`, for a Ray
            cluster that this machine belongs to and whose nodes can read the files.
        progress: Called with a file's name and the bytes scanned since the last call.

    Raises:
        FileError: A file cannot be read.
        FtkitError: The connection to the cluster was lost.
        UsageError: An argument is invalid.
        UnknownNameError: No format, model, provider or rule has that name.
    """
    check_choice("fail_on", fail_on, get_args(FailOn))
    if isinstance(max_findings, bool) or not isinstance(max_findings, int) or max_findings < 1:
        raise UsageError(f"`max_findings` must be a whole number from 1, not {max_findings!r}")
    check_name("provider", provider)
    if model is not None:
        check_name("model", model)
    if format is not None:
        check_name("format", format)
        find_format(format)
    plan = ScanPlan(
        find_limits(provider, model, catalog),
        requested_formats=(format,) if format else (),
        named_format=format,
        rules=choose_rules(select, ignore),
        keep=max_findings,
        grader_fields=fields_read(read_grader(grader)) if grader else (),
    )
    sources = open_sources(files, "files")
    second = None
    if validation_file is not None:
        second = open_source(validation_file, "validation_file")
    sizes = sizes_of([*sources, *([second] if second else [])])
    with open_engine(workers, sizes, progress, engine) as scan_engine:
        validation = ScannedFile(second, plan, "validation", scan_engine) if second else None
        reports = [
            ScannedFile(source, plan, "training", scan_engine).report(validation)
            for source in sources
        ]
        if validation:
            reports.append(validation.report())
    return Report(is_ok(reports, fail_on), provider, model, tuple(reports), fail_on)


def is_ok(reports: Sequence[FileReport], fail_on: FailOn = "error") -> bool:
    """Return True if no file has findings of severity `fail_on` or above."""
    return not any(file.errors or (fail_on == "warning" and file.warnings) for file in reports)


def read_grader(path: str | os.PathLike[str]) -> Any:
    """Return the JSON of a grader.

    Raises:
        FileError: The file cannot be read or is not JSON.
    """
    name = os.fspath(path)
    try:
        return msgspec.json.decode(Path(name).read_bytes())
    except OSError as error:
        raise FileError(f"cannot open {name}: {os_error_message(error)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileError(f"{name} is not JSON: {error}; a grader is a JSON object") from error


class ScannedFile:
    """A scanned file.

    Attributes:
        path: The file.
        plan: The plan of the scan, with the format that was chosen.
        fatal: The finding that made scanning pointless, such as a PDF document, or None.
        size: Bytes of the file if there is such a finding; else they are in the summary.
        is_empty: True if there is nothing but white space at the beginning.
        summary: The summary of all lines; empty if there is a fatal finding.
        fingerprints: The fingerprints of its examples.
    """

    def __init__(self, source: Source, plan: ScanPlan, purpose: Purpose, engine: Engine) -> None:
        self.path = source.path
        head = source.head()
        requested = plan.requested_formats or (plan.limits.formats if plan.limits.model else ())
        self.plan = msgspec.structs.replace(
            plan,
            format=choose_format(head, requested),
            requested_formats=requested,
            purpose=purpose,
        )
        self.fatal = next(
            (
                finding(rule, hit, 0, applied=find_fix(rule, Head, head))
                for rule in RULES.values()
                if Head in rule.checks and rule.name in plan.rules
                for hit in rule.checks[Head](head, self.plan)
            ),
            None,
        )
        self.size = source.size() if self.fatal else 0
        self.is_empty = not head.data.strip()
        del head  # it can be as large as the first line
        parts = [] if self.fatal else source.parts()
        self.summary = summarize(parts, self.plan, engine.map)
        self.fingerprints = engine.fingerprints(self.summary)

    def report(self, validation: ScannedFile | None = None) -> FileReport:
        """Return the report on the file, compared with its validation file if there is one.

        The fingerprints are closed, so report on a validation file after its training files.
        """
        if self.fatal:
            counts = Counter({(self.fatal.rule, self.fatal.severity): 1})
            fixes = {self.fatal.fix: 1} if self.fatal.fix else {}
            summary = Summary(size=self.size, fixable=fixes)
            return _file_report(self.path, None, summary, [self.fatal], counts)
        counts = Counter(
            {(name, RULES[name].severity): count for name, count in self.summary.counts.items()}
        )
        findings, repeats = list(self.summary.findings), RepeatCounter()
        fixable = Counter[Safety](self.summary.fixable)
        dataset = Dataset(
            self.summary,
            self.fingerprints,
            validation.path if validation else None,
            validation.fingerprints if validation else None,
        )
        totals = Counter(self.summary.counts)
        for row, hit in Checks(self.plan).dataset(dataset):
            counts[row.rule, row.severity] += hit.times
            if row.fix:
                fixable[row.fix] += hit.times
            totals[row.rule] += hit.times
            repeats.add(row, hit.times)
            if totals[row.rule] <= self.plan.keep:
                findings.append(row)
        summary = msgspec.structs.replace(
            self.summary,
            fixable=dict(fixable),
            repeats={**self.summary.repeats, **repeats.repeats()},
        )
        self.fingerprints.close()
        return _file_report(self.path, self.plan.format, summary, findings, counts)


def _file_report(
    path: str,
    format: str | None,
    summary: Summary,
    findings: list[Finding],
    counts: Counter[tuple[str, Severity]],
) -> FileReport:
    """Return the report on a file.

    Args:
        path: The file.
        format: Its format, or None if it could not be read.
        summary: The sum over all lines.
        findings: The findings to show.
        counts: Exact number of all findings by rule and severity.
    """
    totals, severities = Counter[str](), dict[str, dict[Severity, int]]()
    for (name, severity), number in sorted(counts.items()):
        if number:
            totals[severity] += number
            severities.setdefault(name, {})[severity] = number
    ordered = sorted(findings, key=lambda row: (row.line, row.column))
    return FileReport(
        path,
        format,
        summary.lines,
        summary.examples,
        summary.size,
        totals["error"],
        totals["warning"],
        totals["info"],
        {name: sum(numbers.values()) for name, numbers in severities.items()},
        tuple(first_per_rule(ordered, summary.keep)),
        {safety: summary.fixable.get(safety, 0) for safety in get_args(Safety)},
        filled=summary.lines - summary.blank.count,
        repeats=summary.repeats,
        severities=severities,
    )
