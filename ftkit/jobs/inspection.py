"""Inspecting the files of a job: findings, price quote and hashes from one read of each file."""

from __future__ import annotations

import datetime
import os
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.catalog import (
    DEFAULT_PROVIDER,
    Catalog,
    base_model,
    find_limits,
    load_catalog,
    with_others,
)
from ftkit.dataset.files import check_regular
from ftkit.dataset.reader import SinglePass
from ftkit.errors import FileError, FtkitError, UsageError
from ftkit.estimation.estimate import Terms
from ftkit.estimation.measure import Measured, counting_methods, not_a_dataset, wrong_format
from ftkit.estimation.quote import Quote, empty_file, quote_measured, with_validation
from ftkit.rules import ScanPlan, choose_rules
from ftkit.rules.reinforcement import fields_read
from ftkit.summary import Report
from ftkit.validation.engines import open_engine
from ftkit.validation.scan import Engine, Progress
from ftkit.validation.validate import Purpose, ScannedFile, is_ok


class Inspection(Struct, frozen=True):
    """The findings, the price and the hashes of the files of a job.

    Attributes:
        report: The validation report on the training file, then on the validation file.
        quote: The price quote, or None if the job cannot be priced.
        quote_error: The reason why the job cannot be priced.
        hashes: SHA-256 of the training file and the validation file as they were read.
    """

    report: Report
    quote: Quote | None
    quote_error: FtkitError | None
    hashes: tuple[str, str | None]

    @property
    def format(self) -> str:
        """The format of the training file."""
        return self.report.files[0].format or "chat"

    @property
    def usd(self) -> float | None:
        """The estimated cost in US dollars, or None if it is unknown."""
        cost = self.quote.models[0].cost if self.quote else None
        return cost.usd if cost else None


class JobFiles(Struct, frozen=True):
    """The files of a job, and what they are to be inspected for.

    Attributes:
        training: Path of the training file.
        validation: Path of the validation file, or None.
        model: The model to train. It need not be in the catalog.
        provider: The provider to train at.
        epochs: Number of epochs; as the provider chooses if None.
        grader: A grader, whose fields must be on every line of a reinforcement file.
    """

    training: str
    validation: str | None
    model: str
    provider: str = DEFAULT_PROVIDER
    epochs: int | None = None
    grader: dict[str, Any] | None = None


def inspect(
    files: JobFiles,
    *,
    catalog: Catalog | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Validate, measure and hash the files of a job, reading each file once.

    Args:
        files: The files, the model and the provider.
        catalog: Models and prices; those that come with ftkit if None.
        workers: Number of processes for large files; one per processor if None.
        progress: Called with a file's name and the bytes scanned since the last call.

    Raises:
        FileError: A file cannot be read, is compressed, or is not a regular file.
        UnknownNameError: No provider has that name.
    """
    catalog = catalog or load_catalog()
    paths = [files.training, *([files.validation] if files.validation else [])]
    for path in paths:
        check_regular(path)
        if path.endswith(".gz"):
            raise FileError(f"providers take plain .jsonl files: unpack {path} first")
    terms = Terms(
        with_others(catalog, files.provider, [files.model]),
        datetime.date.today(),
        files.provider,
        files.epochs,
    )
    error: FtkitError | None
    plan, error = _scan_plan(files, catalog, terms)
    with open_engine(workers, list(map(os.path.getsize, paths)), progress) as engine:
        training, training_hash = _scan_once(files.training, plan, "training", engine)
        validation, validation_hash = (
            _scan_once(files.validation, plan, "validation", engine)
            if files.validation
            else (None, None)
        )
    reports = [training.report(validation), *([validation.report()] if validation else [])]
    quote = None
    if error is None:
        try:
            quote = _quote(files.model, training, validation, terms)
        except FtkitError as problem:
            error = problem
    report = Report(is_ok(reports), files.provider, plan.limits.model, tuple(reports))
    return Inspection(report, quote, error, (training_hash, validation_hash))


def _scan_plan(
    files: JobFiles, catalog: Catalog, terms: Terms
) -> tuple[ScanPlan, UsageError | None]:
    """Return the plan to validate and measure the files, and why they cannot be measured."""
    is_known = base_model(files.model) in catalog.models
    plan = ScanPlan(
        find_limits(files.provider, files.model if is_known else None, catalog),
        rules=choose_rules(),
        grader_fields=fields_read(files.grader) if files.grader else (),
    )
    try:
        methods = counting_methods([files.model], files.provider, "billing", terms.catalog)
    except UsageError as error:
        return plan, error
    return msgspec.structs.replace(plan, counting_methods=methods), None


def _scan_once(
    path: str, plan: ScanPlan, purpose: Purpose, engine: Engine
) -> tuple[ScannedFile, str]:
    """Scan and hash a file in one read."""
    with SinglePass(path) as source:
        scanned = ScannedFile(source, plan, purpose, engine)
        return scanned, source.sha256()


def _quote(
    model: str, training: ScannedFile, validation: ScannedFile | None, terms: Terms
) -> Quote:
    """Return the price quote for scanned files, exactly as `estimation.quote` gives it."""
    quote = quote_measured(_measured(training), [model], terms)
    if validation is None:
        return quote
    if validation.plan.format != training.plan.format:
        raise wrong_format(validation.path, validation.plan.format, training.plan.format)
    return with_validation(quote, _measured(validation), terms)


def _measured(scanned: ScannedFile) -> Measured:
    if scanned.is_empty:
        raise empty_file(scanned.path)
    if scanned.fatal:
        raise not_a_dataset(scanned.path, scanned.fatal.message)
    return Measured(os.fspath(scanned.path), scanned.plan.format, scanned.summary)
