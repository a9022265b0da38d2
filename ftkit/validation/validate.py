"""Validate files: find out what each is, scan it, judge it as a whole."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from ftkit.catalog import DEFAULT_PROVIDER, Catalog, find_limits
from ftkit.dataset.detect import Head
from ftkit.dataset.formats import find_format
from ftkit.errors import FileError, os_error_message
from ftkit.rules import RULES, ScanPlan, choose_rules
from ftkit.rules.nodes import Dataset
from ftkit.rules.reinforcement import fields_read
from ftkit.summary import (
    KEEP,
    SEVERITIES,
    FileReport,
    Finding,
    Report,
    Severity,
    Summary,
    first_of_each,
)
from ftkit.validation.pool import Progress, scanning
from ftkit.validation.runner import Checks, finding
from ftkit.validation.scan import Map, choose_format, must_be_readable, read_head, split, summarize


def validate(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    format: str | None = None,
    model: str | None = None,
    provider: str = DEFAULT_PROVIDER,
    validation_file: str | os.PathLike[str] | None = None,
    grader: str | os.PathLike[str] | None = None,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    fail_on: Literal["error", "warning"] = "error",
    max_findings: int = KEEP,
    catalog: Catalog | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check fine-tuning files and say what is wrong with them, and where.

    Args:
        files: One path or several; a name that ends in `.gz` is read through gzip.
        format: `chat`, `completions`, `preference` or `reinforcement`; recognised from each file if None.
        model: The model to train, by its exact name; it sets the tokens an example may have (4,096 if None).
        provider: The service that the files are for; it sets the other limits.
        validation_file: A file that the examples must not be in; it is checked too.
        grader: A grader's JSON; every `{{item.x}}` in it must be on every line of reinforcement files.
        select: Rules to check, by name, code or beginning of codes; all if empty.
        ignore: Rules to leave out, likewise.
        fail_on: The lowest severity that makes `Report.ok` false.
        max_findings: Findings kept for each rule and file; their numbers are exact anyway.
        catalog: The models and providers to know; those that come with ftkit if None.
        workers: Processes that large files are scanned with; one for each processor if None.
        progress: Called with a file's name and the bytes scanned since the last call.

    Raises:
        FileError: A file cannot be read.
        UsageError: An argument makes no sense; `UnknownNameError` for names nobody knows.
    """
    paths = [
        os.fspath(path) for path in ([files] if isinstance(files, (str, os.PathLike)) else files)
    ]
    if format is not None:
        find_format(format)
    plan = ScanPlan(
        find_limits(provider, model, catalog),
        asked=(format,) if format else (),
        rules=choose_rules(select, ignore),
        keep=max_findings,
        grader_fields=read_grader(grader) if grader else (),
    )
    checked = [Path(path) for path in paths] + ([Path(validation_file)] if validation_file else [])
    for path in checked:
        must_be_readable(str(path))
    with scanning(workers, checked, progress) as map_:
        validating = (
            _Scanned(os.fspath(validation_file), plan, "validation", map_)
            if validation_file
            else None
        )
        reports = [_Scanned(path, plan, "training", map_).report(validating) for path in paths]
        if validating:
            reports.append(validating.report(None))
    ok = not any(file.errors or (fail_on == "warning" and file.warnings) for file in reports)
    return Report(ok, provider, model, tuple(reports))


def read_grader(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The fields of the item that the grader in this file asks for; raises `FileError` if it is not JSON."""
    try:
        return fields_read(msgspec.json.decode(Path(path).read_bytes()))
    except OSError as error:
        raise FileError(f"cannot open {os.fspath(path)}: {os_error_message(error)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileError(
            f"{os.fspath(path)} is not JSON: {error}; --grader takes the grader's JSON"
        ) from error


class _Scanned:
    """One file: what it is, and what its lines add up to."""

    def __init__(
        self, path: str, plan: ScanPlan, purpose: Literal["training", "validation"], map_: Map
    ) -> None:
        self.path = path
        head = read_head(path)
        asked = plan.asked or (plan.limits.formats if plan.limits.model else ())
        self.plan = msgspec.structs.replace(
            plan, format=choose_format(head, asked), asked=asked, purpose=purpose
        )
        rules = [rule for rule in RULES.values() if Head in rule.checks and rule.name in plan.rules]
        self.fatal = next(
            (finding(rule, hit, 0) for rule in rules for hit in rule.checks[Head](head, self.plan)),
            None,
        )
        del head
        shards = [] if self.fatal else split(path)
        self.summary = summarize(shards, self.plan, map_)

    def report(self, validating: _Scanned | None) -> FileReport:
        """Judge the file as a whole, beside the one that validates it."""
        if self.fatal:
            size = os.path.getsize(self.path)
            return _file_report(
                self.path, None, Summary(size=size, counts={self.fatal.rule: 1}), [self.fatal]
            )
        counts, found = Counter(self.summary.counts), list(self.summary.findings)
        others = validating.summary.fingerprints if validating else b""
        dataset = Dataset(self.summary, validating.path if validating else None, others)
        for each, times in Checks(self.plan).dataset(dataset):
            counts[each.rule] += times
            if counts[each.rule] <= self.plan.keep:
                found.append(each)
        return _file_report(
            self.path,
            self.plan.format,
            msgspec.structs.replace(self.summary, counts=dict(counts)),
            found,
        )


def _file_report(
    path: str, format: str | None, summary: Summary, found: list[Finding]
) -> FileReport:
    by_severity: dict[Severity, int] = dict.fromkeys(SEVERITIES, 0)
    for name, number in summary.counts.items():
        by_severity[RULES[name].severity] += number
    kept = first_of_each(sorted(found, key=lambda each: (each.line, each.column)), summary.keep)
    return FileReport(
        path,
        format,
        summary.lines,
        summary.examples,
        summary.size,
        by_severity["error"],
        by_severity["warning"],
        by_severity["info"],
        {name: number for name, number in sorted(summary.counts.items()) if number},
        tuple(kept),
    )
