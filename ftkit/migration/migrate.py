"""Migration of a job to another provider, as one call."""

from __future__ import annotations

import os
from collections.abc import Callable

from ftkit.archive.read import find_job
from ftkit.catalog import Catalog, load_catalog
from ftkit.client.client import Client
from ftkit.errors import UsageError
from ftkit.jobs.journal import Journal
from ftkit.jobs.uploads import Progress, Say
from ftkit.migration.plan import Move, Overrides, Planner, move
from ftkit.migration.source import SourceJob, from_archive, from_provider


def migrate(  # noqa: PLR0913 # public keyword-only API
    job: str | os.PathLike[str],
    target: Client,
    journal: Journal,
    *,
    confirm: Callable[[Move], bool],
    source: Client | None = None,
    model: str | None = None,
    suffix: str | None = None,
    epochs: int | None = None,
    again: bool = False,
    catalog: Catalog | None = None,
    say: Say = lambda text: None,
    progress: Progress = lambda name, size: None,
) -> Move:
    """Recreate a fine-tuning job at another provider, unless that has been done before.

    Args:
        job: Id of a job of `source`, or the path ARCHIVE/JOB of a job in an archive.
        target: Client of the provider to train at.
        journal: The record of migrations, and the place of the files that were downloaded.
        confirm: Called with the plan if the job can be migrated; returns True to create the job.
        source: Client of the provider that has the job; not needed for a job of an archive.
        model: Base model; that of the job if None.
        suffix: Suffix of the new model's name; that of the job if None.
        epochs: Number of epochs; that of the job if None.
        again: Create another job even if the job was migrated before.
        catalog: Models and providers; those that come with ftkit if None.
        say: Called with a line of text about each step.
        progress: Called with a file's name and the bytes uploaded since the last call.

    Returns:
        The plan. Its `new_id` is the id of the new job, or "" if nothing was created: there are
        obstacles in `translation`, or `confirm` returned False.

    Raises:
        FileError: The archive is damaged, or a file cannot be written.
        UsageError: `source` is missing, or the target would refuse the job.
        ProviderError: A provider refused a request or could not be reached.
    """
    old = _find(os.fspath(job), source, journal)
    overrides = Overrides(model, suffix, epochs)
    facts, folder = catalog or load_catalog(), journal.folder / "migrations"
    planner = Planner(target.name, target.account, journal, folder, facts, overrides, target)
    plan = planner.plan(old)
    if plan.is_possible and (again or not plan.new_id) and confirm(plan):
        move(plan, target, journal, again=again, say=say, progress=progress)
    return plan


def _find(job: str, source: Client | None, journal: Journal) -> SourceJob:
    archived = find_job(job)
    if archived:
        return from_archive(archived)
    if source is None:
        raise UsageError(f"{job} is not in an archive; set `source` to the client that has the job")
    return from_provider(source, job, journal.folder / "migrations")
