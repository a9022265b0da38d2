"""`ftkit jobs open`: the page of a job from a provider or an archive."""

from __future__ import annotations

import datetime
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource as Source

from ftkit.cli.connection import CONNECTION, open_client_for, open_journal, recording_ids
from ftkit.cli.options import Configured, provider_options
from ftkit.cli.output import open_page
from ftkit.cli.pages import check_page, origin, write_page
from ftkit.errors import FtkitError, UsageError

if TYPE_CHECKING:
    from ftkit.archive.read import ArchivedJob
    from ftkit.catalog import Catalog
    from ftkit.client.client import Client
    from ftkit.client.resources import Event, Job
    from ftkit.report.job_page import DataFile, JobDetails

MAX_READ = 20_000
"""Maximum number of events that are read, newest first."""


@click.command("open", cls=Configured)
@click.argument("id")
@provider_options
@click.option(
    "--archive", metavar="DIR", help="Archive to read the job from, instead of its provider."
)
@click.option(
    "--html",
    "page",
    metavar="FILE",
    help="Write the page to this file, without opening it.  [default: a temporary file]",
)
def open_(
    id: str,
    provider: str,
    base_url: str | None,
    facts: str | None,
    archive: str | None,
    page: str | None,
) -> None:
    """Open the page of a job in the web browser: losses, events, checkpoints and settings.

    The page is one file that needs no network. It shows the job as it is now.
    """
    from ftkit.catalog import load_catalog
    from ftkit.report.job_page import render_job_page

    if page:
        check_page(page, opens=False, inputs=[facts])
        if archive and Path(archive).resolve() in Path(page).resolve().parents:
            raise UsageError(f"--html {page} is in the archive; name a file outside of it")
    catalog = load_catalog(facts)
    if archive:
        _check_no_connection()
        details, place = _from_archive(archive, id, catalog), f"archive {archive}"
    else:
        client, id = open_client_for("job", id, provider, base_url, facts)
        details, place = _from_provider(client, id, catalog), client.provider.title
    text = render_job_page(details, [f"{place}, read on {' with '.join(origin())}"])
    if page:
        write_page(page, text, opens=False)
    else:
        write_page(path := _temporary(details.job), text, opens=False)
        open_page(path)


def _check_no_connection() -> None:
    """Raise an error for options that select a provider, which an archive does not need."""
    context = click.get_current_context()
    for name in CONNECTION:
        if context.get_parameter_source(name) is Source.COMMANDLINE:
            raise UsageError(f"--archive cannot be used with --{name.replace('_', '-')}")


def _temporary(job: Job) -> str:
    """Return the path of a page in a new folder, which only its owner can read."""
    name = re.sub("[^A-Za-z0-9-]", "-", job.id)[:80] or "job"
    return str(Path(tempfile.mkdtemp(prefix="ftkit-"), f"{name}.html"))


def _from_archive(folder: str, id: str, catalog: Catalog) -> JobDetails:
    from ftkit.archive.figures import cost_of
    from ftkit.archive.read import open_archive

    archived = open_archive(folder, lenient=True).job(id)
    cost = cost_of(archived.job, archived.archive.provider, catalog)
    return _details(
        archived.job,
        archived.events[::-1],
        metrics=archived.metrics(),
        checkpoints=archived.checkpoints,
        files=list(_archived_files(archived)),
        cost=cost,
    )


def _archived_files(archived: ArchivedJob) -> Iterator[DataFile]:
    from ftkit.report.job_page import DataFile

    paths = {"training": archived.training, "validation": archived.validation}
    for kind, id in _file_ids(archived.job):
        file, path = archived.archive.files.get(id), paths[kind]
        note = str(path) if path else "not in the archive"
        size = path.stat().st_size if path else None
        yield DataFile(kind, id, file.name if file else "", size, note=note)


def _file_ids(job: Job) -> list[tuple[str, str]]:
    ids = (("training", job.training_file), ("validation", job.validation_file))
    return [(kind, id) for kind, id in ids if id]


def _from_provider(client: Client, id: str, catalog: Catalog) -> JobDetails:
    from ftkit.archive.figures import cost_of
    from ftkit.jobs.metrics import Metrics, job_metrics
    from ftkit.report.job_page import OWN_MACHINE

    (job,) = recording_ids(client, "job", [client.job(id)])
    lacks = client.api.lacks
    events = list(islice(client.events(id), MAX_READ)) if "events" not in lacks else []
    metrics = Metrics(("step",), ())
    with suppress(UsageError):  # there are none yet
        metrics = job_metrics(client, job)
    cost = ("none", OWN_MACHINE)
    return _details(
        job,
        events,
        metrics=metrics,
        checkpoints=list(client.checkpoints(id)) if "checkpoints" not in lacks else [],
        files=list(_remote_files(client, job)),
        requested=_requested(client, job),
        cost=cost if client.api.embedded else cost_of(job, client.name, catalog),
    )


def _remote_files(client: Client, job: Job) -> Iterator[DataFile]:
    from ftkit.report.job_page import DataFile

    for kind, id in _file_ids(job):
        try:
            file = client.file(id)
            yield DataFile(kind, id, file.name, file.size)
        except FtkitError:  # for example deleted
            yield DataFile(kind, id, note=f"not found at {client.provider.title}")


def _requested(client: Client, job: Job) -> dict[str, Any]:
    """Return the hyperparameters of the request, if the job was submitted from this machine."""
    from ftkit.client.resources import Job
    from ftkit.jobs.journal import journal_path

    if not journal_path(os.environ).exists():
        return {}
    with suppress(FtkitError):  # for example a damaged journal
        submission = open_journal().submission_of_job(client.account, job.id)
        if submission:
            chosen = Job.read(submission.request).hyperparameters
            return dict.fromkeys(job.hyperparameters, "auto") | chosen
    return {}


def _details(
    job: Job, newest_first: Sequence[Event], *, cost: tuple[float | str | None, str], **more: Any
) -> JobDetails:
    """Return a job for its page, with what its events tell of it."""
    from ftkit._text import money
    from ftkit.report.job_page import MAX_EVENTS, JobDetails
    from ftkit.server.reports import STARTED

    messages = [event for event in newest_first if event.type != "metrics"]
    started = [event.created_at for event in messages if event.message == STARTED]
    amount, note = cost
    text = f"about {money(amount)}" if isinstance(amount, float) else amount or ""
    return JobDetails(
        job=job,
        now=datetime.datetime.now(datetime.UTC),
        total_steps=_total_steps(newest_first, more["metrics"].rows),
        events=messages[:MAX_EVENTS],
        started_at=started[-1] if started else None,
        cost=text or ("unknown" if note else ""),
        cost_note=note,
        **more,
    )


def _total_steps(events: Iterable[Event], rows: Sequence[dict[str, Any]]) -> int:
    """Return the number of steps of the training, or 0 if it is unknown."""
    from ftkit.jobs.metrics import total_steps

    total = next(filter(None, (total_steps(event.data) for event in events)), 0)
    return max(total, int(rows[-1]["step"] or 0) if rows else 0)
