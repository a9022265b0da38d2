"""`ftkit migrate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ftkit._text import printable
from ftkit.cli.command import with_options
from ftkit.cli.connection import (
    command_line,
    open_client,
    open_client_for,
    open_journal,
    recording_ids,
)
from ftkit.cli.inputs import uploading
from ftkit.cli.options import Configured, output_option, provider_options
from ftkit.cli.output import (
    consent,
    print_json,
    print_json_line,
    print_note,
    print_warning,
    progress_bar,
    terminal_width,
)
from ftkit.cli.terminal import write
from ftkit.errors import FileError, UsageError
from ftkit.report.columns import table, wrap

if TYPE_CHECKING:
    from ftkit.client.client import Client
    from ftkit.jobs.journal import Journal
    from ftkit.migration.plan import Move, Planner
    from ftkit.migration.source import SourceJob

UNSUCCESSFUL = ("failed", "cancelled")
"""Statuses of a job that ended without a model."""

JOB_ERRORS = (400, 404, 409, 413, 422)
"""HTTP statuses of errors that concern one job. Any other error would concern all jobs."""

EXIT_CODES = (
    "Exit codes: 0 migrated, 1 a job cannot be migrated or failed, 2 error, 130 interrupted."
)


@click.command(cls=Configured, epilog=EXIT_CODES)
@click.argument("job", metavar="[JOB|DIR/JOB]", required=False)
@click.option("--to", "to", required=True, metavar="PROVIDER", help="Target provider.")
@click.option("--to-base-url", metavar="URL", help="Base URL of the target provider.")
@click.option("--archive", metavar="DIR", help="Migrate all succeeded jobs of the archive in DIR.")
@click.option(
    "--model", "-m", metavar="NAME", help="Base model to fine-tune.  [default: as before]"
)
@click.option(
    "--suffix", metavar="TEXT", help="Suffix for the fine-tuned model's name.  [default: as before]"
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    metavar="N",
    help="Number of training epochs.  [default: as before]",
)
@provider_options
@click.option(
    "--again",
    is_flag=True,
    help="Create a new job even if one was migrated before; with --archive, only if that failed.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan without sending anything.")
@click.option("--yes", "-y", is_flag=True, help="Skip the confirmation prompt.")
@click.option("--watch", "follow", is_flag=True, help="Follow the new job until it finishes.")
@output_option
def migrate(
    job: str | None,
    to: str,
    to_base_url: str | None,
    archive: str | None,
    model: str | None,
    suffix: str | None,
    epochs: int | None,
    provider: str,
    base_url: str | None,
    facts: str | None,
    again: bool,
    dry_run: bool,
    yes: bool,
    follow: bool,
    output: str,
) -> int:
    """Repeat a fine-tuning job at another provider.

    The job is read from a provider (JOB) or from an archive (DIR/JOB). A job that was migrated
    before is not migrated again.
    """
    from ftkit.catalog import find_provider, load_catalog
    from ftkit.client.connect import account_of
    from ftkit.migration.plan import Overrides, Planner

    if (job is None) == (archive is None):
        raise UsageError("give either a job, or an archive with --archive")
    if archive and follow:
        raise UsageError("--watch follows one job, not those of --archive; use `ftkit jobs list`")
    sources = _archived_jobs(archive) if archive else [_find(job or "", provider, base_url, facts)]
    catalog, journal = load_catalog(facts), open_journal()
    target = None if dry_run else open_client(to, to_base_url, facts)
    account = target.account if target else account_of(to, to_base_url or "", catalog)
    overrides = Overrides(model, suffix, epochs)
    planner = Planner(to, account, journal, _folder(), catalog, overrides, target)
    title, plans = find_provider(to, catalog).title, _plan(planner, sources)
    selected = [plan for plan in plans if _is_selected(plan, again, alone=not archive)]
    if output == "text":
        write(_table(plans, selected, title) if archive else _details(plans[0], title))
        if target and plans[0].new_id and not (archive or selected):
            write(f"{_exists(plans[0])}\n")
    if target and selected and not consent(_question(selected, title), yes):
        print_warning("nothing was sent")
        return 2
    failures = 0
    try:
        for plan in selected if target else ():
            assert target
            failures += not _migrate(plan, target, journal, output, again, alone=not archive)
    finally:
        if output == "json":
            (print_json_line if follow else print_json)([_as_dict(plan) for plan in plans])
    if target and follow and plans[0].new_id:
        from ftkit.cli.follow import follow_job

        return follow_job(target, plans[0].new_id, output)
    if target and selected and job and plans[0].new_id:
        print_note(f"Follow it: {command_line('jobs', 'watch', plans[0].new_id)}")
    return 1 if failures or any(map(_has_failed, plans)) else 0


def _has_failed(plan: Move) -> bool:
    """Return True if the new job ended without a model, or the job cannot be migrated."""
    return plan.status in UNSUCCESSFUL if plan.new_id else not plan.is_possible


def _is_selected(plan: Move, again: bool, alone: bool) -> bool:
    """Return True if the job is to be migrated now.

    With `again`, a job that was migrated before is selected if it is alone, or if the new job
    ended without a model.
    """
    if not plan.is_possible:
        return False
    return not plan.new_id or (again and (alone or plan.status in UNSUCCESSFUL))


def _question(selected: list[Move], title: str) -> str:
    jobs = "this job" if len(selected) == 1 else f"these {len(selected):,} jobs"
    return f"Migrate {jobs} to {title}?"


def _plan(planner: Planner, sources: list[SourceJob]) -> list[Move]:
    plans = []
    with progress_bar() as on_progress:
        for number, source in enumerate(sources, 1):
            plans.append(planner.plan(source))
            on_progress("planning", number, len(sources))
    return plans


def _find(job: str, provider: str, base_url: str | None, facts: str | None) -> SourceJob:
    """Return the job in an archive if `job` is a path, else the job at the provider."""
    from ftkit.archive.layout import MANIFEST
    from ftkit.archive.read import find_job
    from ftkit.migration.source import from_archive, from_provider

    archived = find_job(job)
    if archived:
        return from_archive(archived)
    if os.path.isfile(os.path.join(job, MANIFEST)):
        example = os.path.join(job, "ftjob-...")
        raise UsageError(
            f"{job} is an archive; give one of its jobs, as {example}, or all with --archive {job}"
        )
    if os.sep in job:
        raise FileError(f"{job} is not in an archive: no folder above it has a {MANIFEST}")
    return from_provider(*open_client_for("job", job, provider, base_url, facts), _folder())


def _archived_jobs(folder: str) -> list[SourceJob]:
    """Return the succeeded jobs of an archive."""
    from ftkit.archive.read import open_archive
    from ftkit.migration.source import from_archive

    jobs = [job for job in open_archive(folder).jobs() if job.job.status == "succeeded"]
    if not jobs:
        raise UsageError(f"{folder} has no job that succeeded")
    return [from_archive(job) for job in jobs]


def _folder() -> Path:
    from ftkit._local import state_folder

    return state_folder(os.environ) / "migrations"


def _migrate(
    plan: Move, target: Client, journal: Journal, output: str, again: bool, alone: bool
) -> bool:
    """Migrate a job; return False if only this one of several jobs failed."""
    from ftkit.errors import ProviderError
    from ftkit.migration.plan import move

    spec, old_id = plan.translation.spec, plan.old.job.id
    files = [spec.training, *([spec.validation] if spec.validation else [])]
    try:
        with uploading(files) as progress:
            submitted = move(plan, target, journal, again=again, say=print_note, progress=progress)
    except (FileError, ProviderError) as error:
        if alone or getattr(error, "status", 400) not in JOB_ERRORS:
            raise
        print_warning(f"job {old_id} was not migrated: {error}")
        return False
    list(recording_ids(target, "job", [submitted.job]))
    if output == "text":
        created = f"Created job {submitted.job.id} from {old_id}."
        write((_exists(plan) if submitted.adopted else printable(created)) + "\n")
    return True


def _exists(plan: Move) -> str:
    return printable(
        f"Job {plan.old.job.id} was already migrated to {plan.new_id} ({plan.status})."
        " Use --again to create another job."
    )


def _cost(usd: float | None) -> str:
    from ftkit._text import money

    return "-" if usd is None else money(usd)


def _details(plan: Move, title: str) -> str:
    """Return the plan of one job as text."""
    translation, spec = plan.translation, plan.translation.spec
    rows: list[tuple[str, object]] = [
        ("model", spec.model),
        ("method", spec.method),
        ("epochs", spec.epochs),
        ("batch size", spec.batch_size),
        ("learning rate", spec.lr_multiplier),
        ("beta", spec.beta),
        ("seed", spec.seed),
        ("suffix", spec.suffix),
        ("cost", _cost(plan.usd)),
        ("migrated to", _new_job(plan) if plan.new_id else None),
    ]
    lines = [f"{plan.old.name} to {title}"]
    lines += [f"  {name:<13}  {value}" for name, value in rows if value is not None]
    lines += [
        f"  {change.what}: {change.before} -> {change.after or 'dropped'} ({change.why})"
        for change in translation.changes
    ]
    lines += [f"  cannot be migrated: {obstacle}" for obstacle in _obstacles(plan)]
    return "".join(wrap(printable(line), "", "    ", terminal_width()) for line in lines)


def _table(plans: list[Move], selected: list[Move], title: str) -> str:
    """Return the plans of several jobs as a table, with the total cost."""
    rows = [("job", "model", "new model", "cost", "plan")]
    for plan in plans:
        translation = plan.translation
        new_model = "-" if translation.obstacles else translation.spec.model
        outcome = _outcome(plan, any(plan is other for other in selected))
        rows.append((plan.old.job.id, plan.old.job.model, new_model, _cost(plan.usd), outcome))
    cells = [[printable(cell) for cell in row] for row in rows]
    width = terminal_width()
    text = table(cells, left=len(rows[0]), width=width)
    total = sum(plan.usd or 0 for plan in selected)
    unknown = sum(plan.usd is None for plan in selected)
    note = f" (without {unknown:,} of {len(selected):,} jobs, whose cost is unknown)"
    line = f"total cost at {title}: {_cost(total)}{note if unknown else ''}"
    return f"{text}\n{wrap(line, '', '  ', width)}"


def _outcome(plan: Move, is_selected: bool) -> str:
    translation = plan.translation
    if plan.new_id:
        again = "; will be migrated again" if is_selected else ""
        return f"migrated to {_new_job(plan)}{again}"
    if translation.obstacles:
        return f"cannot be migrated: {_obstacles(plan)[0]}"
    count = len(translation.changes)
    return f"{count} change{'s' * (count > 1)}" if count else "no changes"


def _obstacles(plan: Move) -> list[str]:
    """Return why the job cannot be migrated, with the names of options."""
    command = click.get_current_context().command
    return [with_options(obstacle, command) for obstacle in plan.translation.obstacles]


def _new_job(plan: Move) -> str:
    return f"{plan.new_id} ({plan.status})" if plan.status else plan.new_id


def _as_dict(plan: Move) -> dict[str, Any]:
    translation = plan.translation
    return {
        "job": plan.old.name,
        "to": plan.new_id or None,
        "order": msgspec.to_builtins(translation.spec),
        "changes": msgspec.to_builtins(translation.changes),
        "obstacles": _obstacles(plan),
        "usd": plan.usd,
    }
