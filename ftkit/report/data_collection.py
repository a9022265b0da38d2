"""Collection of what the HTML report on a dataset says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import msgspec

from ftkit.errors import FtkitError, UsageError
from ftkit.estimation.estimate import Terms
from ftkit.estimation.quote import quote_with_stats
from ftkit.prepare.filter.filter import language_detector
from ftkit.report.data_page import FileData, excerpts, group_lines, lines_to_show
from ftkit.summary import FileReport
from ftkit.validation.scan import Progress
from ftkit.validation.survey import Detect, read_lines, survey

DUPLICATES = ("duplicate-example", "duplicate-conflict")
"""Rules whose findings the groups of duplicates belong to."""

Reading = Callable[[str], AbstractContextManager[Progress | None]]
"""Returns a context manager for reading a file; its value is the progress callback, or None."""


class Collector:
    """Collects what a report says about files, each with two more reads of its file.

    Args:
        terms: Everything but the file and the models that the estimate depends on.
        models: Exact names of models; all that can be trained on the file's format if empty.
        workers: Number of processes for large files; one per processor if None.
        reading: Context of the second read; none by default.
    """

    def __init__(
        self,
        terms: Terms,
        models: Sequence[str],
        workers: int | None,
        reading: Reading = lambda path: nullcontext(),
    ) -> None:
        self._terms = terms
        self._models = models
        self._workers = workers
        self._reading = reading
        self._detect = _detector()

    def collect(self, report: FileReport, name: str, share: float = 1.0) -> FileData:
        """Return what a report says about a file.

        Args:
            report: Result of the validation, with the path to read.
            name: Name to show for the file.
            share: Share of the excerpts that the file may have.
        """
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
            with self._reading(path) as advance:
                data.survey = survey(
                    path,
                    report.format,
                    examples=report.examples,
                    detect=self._detect,
                    has_duplicates=not report.counts.keys().isdisjoint(DUPLICATES),
                    progress=advance,
                )
            chosen = group_lines(data.survey) | chosen
        else:
            data.note = "The file has no format that can be trained on."
        data.examples = excerpts(read_lines(path), chosen)
        return data


def _detector() -> Detect | None:
    """Return the language detector, or None if it is not installed."""
    try:
        return language_detector()
    except UsageError:
        return None
