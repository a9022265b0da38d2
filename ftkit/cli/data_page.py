"""The HTML report of `ftkit validate` and `ftkit estimate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ftkit._text import plural
from ftkit.cli.inputs import progress
from ftkit.cli.pages import command_line, origin

if TYPE_CHECKING:
    from ftkit.estimation.estimate import Terms
    from ftkit.estimation.quote import Quote
    from ftkit.report.data_collection import Collector
    from ftkit.report.data_page import FileData
    from ftkit.report.data_verdict import Verdict
    from ftkit.summary import FileReport, Report


def new_collector(terms: Terms, models: Sequence[str], workers: int | None) -> Collector:
    """Return a collector of the data of files, with a progress bar."""
    from ftkit.report.data_collection import Collector

    def reading(path: str) -> Any:
        return progress([path], quiet=False, action="reading")

    return Collector(terms, models, workers, reading)


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
