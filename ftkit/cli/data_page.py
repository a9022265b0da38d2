"""The HTML report of `ftkit validate` and `ftkit estimate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ftkit._text import plural
from ftkit.cli.inputs import progress
from ftkit.cli.pages import command_line, origin
from ftkit.errors import FtkitError, UsageError

if TYPE_CHECKING:
    from ftkit.estimation.estimate import Terms
    from ftkit.estimation.quote import Quote
    from ftkit.report.data_page import FileData
    from ftkit.report.data_verdict import Verdict
    from ftkit.summary import FileReport, Report
    from ftkit.validation.survey import Detect


class Collector:
    """Collects what a report says about files, each with two more reads of its file."""

    def __init__(self, terms: Terms, models: Sequence[str], workers: int | None) -> None:
        self._terms = terms
        self._models = models
        self._workers = workers
        self._detect = _detector()

    def collect(self, report: FileReport, name: str, share: float = 1.0) -> FileData:
        """Return what a report says about a file.

        Args:
            report: Result of the validation, with the path to read.
            name: Name to show for the file.
            share: Share of the excerpts that the file may have.
        """
        from ftkit.estimation.quote import quote_with_stats
        from ftkit.report.data_page import FileData, excerpts, group_lines, lines_to_show
        from ftkit.validation.survey import read_lines, survey

        path = report.file
        data = FileData(msgspec.structs.replace(report, file=name))
        chosen = lines_to_show(report, share)
        if report.format:
            try:
                data.quote, data.stats = quote_with_stats(
                    path, self._models, self._terms, report.format, workers=self._workers
                )
            except FtkitError as error:
                data.note = str(error).replace(path, name)
            duplicates = ("duplicate-example", "duplicate-conflict")
            with progress([path], quiet=False, action="reading") as advance:
                data.survey = survey(
                    path,
                    report.format,
                    examples=report.examples,
                    detect=self._detect,
                    has_duplicates=not report.counts.keys().isdisjoint(duplicates),
                    progress=advance,
                )
            chosen = group_lines(data.survey) | chosen
        else:
            data.note = "The file has no format that can be trained on."
        data.examples = excerpts(read_lines(path), chosen)
        return data


def _detector() -> Detect | None:
    """Return the language detector, or None if it is not installed."""
    from ftkit.prepare.filter.filter import language_detector

    try:
        return language_detector()
    except UsageError:
        return None


def page_of_validation(
    report: Report, names: dict[str, str], collector: Collector, fix_options: str
) -> str:
    """Return the page of a validation.

    Args:
        report: The report, with the paths to read.
        names: Names to show for paths that are temporary.
        collector: Collects the data of each file.
        fix_options: Options of `ftkit fix`, as a shell reads them.
    """
    from ftkit.report.data_page import MAX_FILES
    from ftkit.report.data_verdict import validation_verdict

    worst = sorted(report.files, key=lambda file: (-file.errors, -file.warnings))[:MAX_FILES]
    shown = [file for file in report.files if file in worst] if len(report.files) > 1 else worst
    files = [
        collector.collect(file, names.get(file.file, file.file), 1 / len(shown)) for file in shown
    ]
    named = msgspec.structs.replace(
        report,
        files=tuple(
            msgspec.structs.replace(file, file=names.get(file.file, file.file))
            for file in report.files
        ),
    )
    first = files[0]
    title = first.report.file if len(report.files) == 1 else plural(len(report.files), "file")
    verdict = validation_verdict(named, title, fix_options)
    return _page("validate", verdict, files, len(report.files) - len(files))


def page_of_estimate(data: FileData, quote: Quote) -> str:
    """Return the page of an estimate."""
    from ftkit.report.data_verdict import estimate_verdict

    data.quote = quote
    return _page("estimate", estimate_verdict(quote, data.report.file), [data], 0)


def _page(purpose: Any, verdict: Verdict, files: Sequence[FileData], others: int) -> str:
    from ftkit.report.data_page import Heading, render_data_page

    facts = list(_facts(files[0].report)) if len(files) == 1 and not others else []
    heading = Heading(purpose, verdict, (*facts, *origin()), command_line())
    return render_data_page(heading, files, others)


def _facts(file: FileReport) -> list[str]:
    return [file.format or "unknown format", plural(file.lines, "line"), f"{file.bytes:,} bytes"]
