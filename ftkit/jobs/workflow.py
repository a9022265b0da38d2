"""The workflow from a file to a job, as one call.

    inspect (validate, measure, hash) → errors? → method → cost limit → provider's limits
        → consent → upload → create

`plan_job` takes the steps before consent and sends nothing; `start_job` takes all of them. Text for
the user goes through `Callbacks`: nothing is printed here.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from ftkit._text import money
from ftkit.catalog import DEFAULT_PROVIDER, Catalog, find_provider, load_catalog
from ftkit.client.client import Client
from ftkit.dataset.formats import METHODS
from ftkit.errors import FileError, ProviderError, UsageError
from ftkit.estimation.estimate import candidates
from ftkit.estimation.quote import Quote
from ftkit.jobs.inspection import Inspection, JobFiles, inspect
from ftkit.jobs.journal import Journal
from ftkit.jobs.spec import AUTO_METHOD, JobSpec, check, request
from ftkit.jobs.submit import Submitted, submit
from ftkit.jobs.uploads import Progress, Say, upload_requests
from ftkit.summary import Report

ACCOUNT_CLOSED = "training_not_available"
"""Error code of a provider that takes no new jobs from the account."""


class StartOptions(Struct, frozen=True):
    """Options of `plan_job` and `start_job`.

    Attributes:
        force: Submit even if a file has errors or its format does not fit the method.
        again: Create a new job even if an identical one exists.
        max_cost: Highest estimated cost in US dollars, or None for no limit.
        catalog: Models, providers and prices; those that come with ftkit if None.
        workers: Number of processes for large files; one per processor if None.
    """

    force: bool = False
    again: bool = False
    max_cost: float | None = None
    catalog: Catalog | None = None
    workers: int | None = None


class Callbacks(Struct, frozen=True):
    """Functions that are called during a submission.

    Attributes:
        report: Called with the validation report, before anything is decided by it.
        say: Called with a line of text about a step.
        scanned: Called with a file's name and the bytes scanned since the last call.
        uploaded: Called with a file's name and the bytes uploaded since the last call.
        discard: Called if the provider takes no new jobs from the account; returns True to delete
            the files that were just uploaded, which are in the error's `uploaded`.
    """

    report: Callable[[Report], None] = lambda report: None
    say: Say = lambda text: None
    scanned: Progress | None = None
    uploaded: Progress = lambda name, size: None
    discard: Callable[[ProviderError], bool] = lambda error: False


class JobPlan(Struct, frozen=True):
    """A job that is ready to be submitted, or the report on why it is not.

    Attributes:
        spec: The job spec, with its method.
        provider: Name of the provider.
        inspection: Findings, price quote and hashes of the files.
        options: The options that it was planned with.
        warning: Why the provider is expected to refuse the model, or "".
        alternatives: Models that the provider can train on such a file, if there is a warning.
    """

    spec: JobSpec
    provider: str
    inspection: Inspection
    options: StartOptions
    warning: str = ""
    alternatives: tuple[str, ...] = ()

    @property
    def report(self) -> Report:
        """The validation report."""
        return self.inspection.report

    @property
    def quote(self) -> Quote | None:
        """The price quote, or None if the job cannot be priced."""
        return self.inspection.quote

    @property
    def is_valid(self) -> bool:
        """True if the files have no errors, or are to be submitted anyway."""
        return self.report.ok or self.options.force

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests that create the job at a provider that has none of its files.

        Raises:
            UsageError: The provider cannot be reached, or would refuse the job.
        """
        spec, provider = self.spec, find_provider(self.provider, self.options.catalog)
        if provider.api is None:
            raise UsageError(f"the API of {provider.title} is not known")
        check(spec, provider.api, provider.title)
        files = zip((spec.training, spec.validation), self.inspection.hashes, strict=True)
        uploads = [
            upload
            for path, sha256 in files
            if path and sha256
            for upload in upload_requests(path, sha256, provider)
        ]
        second = "<id of the validation file>" if spec.validation else None
        body = request(
            spec, provider.api, "<id of the training file>", second, "<id of the submission>"
        )
        return [*uploads, {"method": "POST", "path": "/fine_tuning/jobs", "body": body}]


class Outcome(Struct, frozen=True):
    """Result of `start_job`.

    Attributes:
        plan: The plan that was followed.
        submitted: The job, or None if nothing was sent: the files have errors
            (`plan.is_valid` is False), or consent was not given.
    """

    plan: JobPlan
    submitted: Submitted | None = None


def plan_job(
    spec: JobSpec,
    provider: str = DEFAULT_PROVIDER,
    options: StartOptions | None = None,
    callbacks: Callbacks | None = None,
) -> JobPlan:
    """Validate, measure and price the files of a job, and check it against the provider's limits.

    Each file is read once. Nothing is sent, and no key is needed.

    Args:
        spec: The job spec. If its method is "auto", the method is chosen by the file's format.
        provider: Name of the provider.
        options: Whether to go on in spite of errors, and the highest cost.
        callbacks: Called with the report and with notes.

    Returns:
        The plan. If a file has errors and `options.force` is not set, `is_valid` is False, and no
        further check is made.

    Raises:
        FileError: A file cannot be read.
        UsageError: The file's format does not fit the method, the cost is above `max_cost` or
            unknown, or the provider would refuse the job.
    """
    options, callbacks = options or StartOptions(), callbacks or Callbacks()
    limit = options.max_cost
    if limit is not None and (math.isnan(limit) or limit < 0):
        raise UsageError(f"`max_cost` must be a number of US dollars, not {limit}")
    files = JobFiles(spec.training, spec.validation, spec.model, provider, spec.epochs, spec.grader)
    inspection = inspect(
        files, catalog=options.catalog, workers=options.workers, progress=callbacks.scanned
    )
    callbacks.report(inspection.report)
    plan = JobPlan(spec, provider, inspection, options)
    if not plan.is_valid:
        return plan
    if not inspection.report.ok:
        callbacks.say("the file has errors, and is submitted anyway")
    method = _choose_method(inspection.format, spec.method, options.force)
    plan = msgspec.structs.replace(plan, spec=msgspec.structs.replace(spec, method=method))
    if isinstance(inspection.quote_error, FileError):
        raise inspection.quote_error
    if inspection.quote_error:
        callbacks.say(f"no estimate: {inspection.quote_error}")
    _check_cost(inspection, spec.model, limit)
    provider_facts = find_provider(provider, options.catalog)
    if provider_facts.api:
        check(plan.spec, provider_facts.api, provider_facts.title)
    return plan


def start_job(
    client: Client,
    job: JobSpec | JobPlan,
    journal: Journal,
    *,
    confirm: Callable[[JobPlan], bool],
    options: StartOptions | None = None,
    callbacks: Callbacks | None = None,
) -> Outcome:
    """Take a file all the way to a job: inspect, ask for consent, upload, create.

    Before consent, the only request is one that looks up when the model is shut down. The same
    call can be repeated after any failure and still ends with exactly one job; see `submit`.

    Args:
        client: A connection to the provider.
        job: The job spec, or the plan that `plan_job` returned for one.
        journal: The record of submissions.
        confirm: Called with the plan; returns True to submit the job.
        options: Options of `plan_job`; those of the plan if `job` is one.
        callbacks: Called with the report, with notes and with the progress of uploads.

    Raises:
        FileError: A file cannot be read, or has changed since it was inspected.
        UsageError: The job cannot be planned (see `plan_job`), or the provider would refuse it.
        UnknownOutcomeError: The provider did not respond; repeat the call to go on.
        ProviderError: The provider refused. Its `uploaded` names the new files that are left.
    """
    callbacks = callbacks or Callbacks()
    plan = job if isinstance(job, JobPlan) else plan_job(job, client.name, options, callbacks)
    if not plan.is_valid:
        return Outcome(plan)
    check(plan.spec, client.api, client.provider.title)
    plan = _with_warning(plan, client)
    if not confirm(plan):
        return Outcome(plan)
    try:
        submitted = submit(
            plan.spec,
            client,
            journal,
            hashes=plan.inspection.hashes,
            again=plan.options.again,
            say=callbacks.say,
            progress=callbacks.uploaded,
        )
    except ProviderError as error:
        if error.code == ACCOUNT_CLOSED and error.uploaded and callbacks.discard(error):
            for id in error.uploaded:
                client.delete_file(id)
            error.uploaded = ()
        raise
    return Outcome(plan, submitted)


def _choose_method(format: str, method: str, force: bool) -> str:
    """Return the method of a job on files of a format.

    Raises:
        UsageError: The method does not fit the format, and is not forced.
    """
    fitting = METHODS[format]
    if method == AUTO_METHOD:
        return fitting
    if method != fitting and not force:
        raise UsageError(
            f"the file has {format} examples, which need `method` {fitting}, not {method}; "
            "use `force` to submit anyway"
        )
    return method


def _check_cost(inspection: Inspection, model: str, limit: float | None) -> None:
    """Raise `UsageError` if training costs more than the limit, or if the cost is unknown."""
    if limit is None:
        return
    if inspection.usd is None:
        raise UsageError(f"`max_cost` cannot be checked: the cost of {model} is unknown")
    if inspection.usd > limit:
        raise UsageError(
            f"training is estimated to cost {money(inspection.usd)}, more than {money(limit)}; "
            "nothing was sent"
        )


def _with_warning(plan: JobPlan, client: Client) -> JobPlan:
    """Return the plan with a warning if the model can no longer be trained.

    The provider's own shutdown date goes before the catalog's.
    """
    today, model = datetime.date.today(), plan.spec.model
    shutdown = client.shutdown_date(model)
    if shutdown and shutdown <= today.isoformat():
        title = client.provider.title
        warning = f"{model} can no longer be trained at {title}, which shut it down on {shutdown}"
    else:
        warning = plan.quote.models[0].trainable_note if plan.quote else ""
    if not warning:
        return plan
    format = plan.quote.format if plan.quote else "chat"
    catalog = plan.options.catalog or load_catalog()
    names = candidates(format, client.name, today, catalog)
    alternatives = tuple(name for name in names if name != model)
    return msgspec.structs.replace(plan, warning=warning, alternatives=alternatives)
