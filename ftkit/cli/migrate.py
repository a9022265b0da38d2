"""`ftkit migrate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ftkit._text import printable
from ftkit.cli import print_text
from ftkit.cli.connection import open_client, open_journal
from ftkit.cli.inputs import uploading
from ftkit.cli.options import Configured, output_option, service_options
from ftkit.cli.output import (
    consent,
    print_json,
    print_json_line,
    progress_bar,
    terminal_width,
)
from ftkit.errors import FileError, UsageError
from ftkit.report.columns import table

if TYPE_CHECKING:
    from ftkit.client.client import Client
    from ftkit.jobs.journal import Journal
    from ftkit.migration.plan import Move, Planner
    from ftkit.migration.translate import Old

FATES = {"failed": "failed", "cancelled": "was cancelled"}
"""What is told of a new job that brought no model."""

OF_THE_JOB = (400, 404, 409, 413, 422)
"""Statuses of a refusal that speaks of one job. Any other the next job would meet as well."""

ENDS = "Exit codes: 0 moved, 1 a job cannot go or failed, 2 ftkit could not do it, 130 interrupted."


@click.command(cls=Configured, epilog=ENDS)
@click.argument("job", metavar="JOB|DIR/JOB", required=False)
@click.option("--to", "to", required=True, metavar="PROVIDER", help="Where the job is to go.")
@click.option("--to-base-url", metavar="URL", help="Its address, if it is not the provider's own.")
@click.option("--all", "everything", metavar="DIR", help="All jobs of this archive that succeeded.")
@click.option("--model", metavar="BASE", help="Train on this base instead.")
@click.option("--suffix", metavar="TEXT", help="Name the new model so.")
@click.option(
    "--epochs", type=click.IntRange(1), metavar="N", help="Train for so many epochs instead."
)
@service_options
@click.option(
    "--again",
    is_flag=True,
    help="Make a new job even where there is one; with --all, where that failed.",
)
@click.option(
    "--dry-run", is_flag=True, help="Show the plan, and send nothing; needs no key of the target."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--watch", "follow", is_flag=True, help="Follow the new job until it is over.")
@output_option
def migrate(
    job: str | None,
    to: str,
    to_base_url: str | None,
    everything: str | None,
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
    """Do the same job elsewhere: from the service (JOB), or from an archive (DIR/JOB).

    The same command again finds the new job that is there.
    """
    from ftkit.catalog import find_provider, load_catalog
    from ftkit.client.connect import account_of
    from ftkit.migration.plan import Asked, Planner

    if (job is None) == (everything is None):
        raise UsageError("name a job, or an archive with --all")
    if everything and follow:
        raise UsageError("--watch follows one job, and --all moves many; see `ftkit jobs list`")
    olds = _archived(everything) if everything else [_find(job or "", provider, base_url, facts)]
    catalog, journal = load_catalog(facts), open_journal()
    target = None if dry_run else open_client(to, to_base_url, facts)
    account = target.account if target else account_of(to, to_base_url or "", catalog)
    planner = Planner(
        to, account, journal, _folder(), catalog, Asked(model, suffix, epochs), target
    )
    title, plans = find_provider(to, catalog).title, _plans(planner, olds)
    going = [plan for plan in plans if plan.can_go and _is_open(plan, again, alone=not everything)]
    if output == "text":
        print_text(_table(plans, going, title) if everything else _one(plans[0], title))
    if output == "text" and target and plans[0].moved and not (everything or going):
        print_text(
            printable(f"{plans[0].old.job.id} -> {plans[0].moved}{_there(plans[0].status)}") + "\n"
        )
    code = 0
    if target and going and not consent(_question(going, title), yes):
        click.echo("ftkit: nothing was sent", err=True)
        return 2
    try:
        if target:
            code = max(
                [
                    _move(plan, target, journal, output, again, alone=not everything)
                    for plan in going
                ],
                default=0,
            )
    finally:
        if output == "json":
            (print_json_line if follow else print_json)([_told(plan) for plan in plans])
    if target and follow and plans[0].moved:
        from ftkit.cli.jobs import follow_job

        return follow_job(target, plans[0].moved, output)
    return max(code, int(any(map(_fails, plans))))


def _fails(plan: Move) -> bool:
    """Whether the job has become one that brought no model, or none, since it cannot go."""
    return plan.status in FATES if plan.moved else not plan.can_go


def _there(status: str) -> str:
    return f" was there already, and is {status}; --again makes another"


def _is_open(plan: Move, again: bool, alone: bool) -> bool:
    """Whether the job has become none yet, or is to be done again: one of many only if that brought no model."""
    return not plan.moved or (again and (alone or plan.status in FATES))


def _question(going: list[Move], title: str) -> str:
    return f"Move {'this job' if len(going) == 1 else f'these {len(going):,} jobs'} to {title}?"


def _plans(planner: Planner, olds: list[Old]) -> list[Move]:
    plans = []
    with progress_bar() as told:
        for number, old in enumerate(olds, 1):
            plans.append(planner.plan(old))
            told("planning", number, len(olds))
    return plans


def _find(job: str, provider: str, base_url: str | None, facts: str | None) -> Old:
    """The job at the service, or in an archive, whose folder is then part of its name."""
    from ftkit.archive.layout import MANIFEST
    from ftkit.archive.read import find_job
    from ftkit.migration.plan import archived, fetched

    found = find_job(job)
    if found:
        return archived(found)
    if os.path.isfile(os.path.join(job, MANIFEST)):
        raise UsageError(
            f"{job} is an archive; name a job in it, as {os.path.join(job, 'ftjob-...')}, or all with --all {job}"
        )
    if os.sep in job:
        raise FileError(f"{job} is in no archive: there is no manifest.json above it")
    return fetched(open_client(provider, base_url, facts), job, _folder())


def _archived(folder: str) -> list[Old]:
    from ftkit.archive.read import open_archive
    from ftkit.migration.plan import archived

    found = [
        archived(each) for each in open_archive(folder).jobs() if each.job.status == "succeeded"
    ]
    if not found:
        raise UsageError(f"no job in {folder} has succeeded; there is nothing to move")
    return found


def _folder() -> Path:
    from ftkit.jobs.journal import state_folder

    return state_folder(os.environ) / "migrations"


def _move(
    plan: Move, target: Client, journal: Journal, output: str, again: bool, alone: bool
) -> int:
    """Make the move. Where it is not `alone` and the service refuses just this one, that is told, and the others go on."""
    from ftkit.errors import ProviderError
    from ftkit.migration.plan import move

    order = plan.translation.spec
    try:
        with uploading(
            [order.training, *([order.validation] if order.validation else [])]
        ) as progress:
            done = move(plan, target, journal, again=again, say=_say, progress=progress)
    except (FileError, ProviderError) as problem:
        if alone or getattr(problem, "status", 400) not in OF_THE_JOB:
            raise
        _say(printable(f"ftkit: {plan.old.job.id} was not moved: {problem}"))
        return 1
    if output == "text":
        there = _there(done.job.status) if done.adopted else " created"
        print_text(printable(f"{plan.old.job.id} -> {done.job.id}{there}") + "\n")
    return 0


def _say(text: str) -> None:
    click.echo(text, err=True)


def _usd(usd: float | None) -> str:
    from ftkit._text import money

    return "-" if usd is None else money(usd)


def _one(plan: Move, title: str) -> str:
    order, made = plan.translation.spec, plan.translation
    rows: list[tuple[str, object]] = [
        ("model", order.model),
        ("method", order.method),
        ("epochs", order.epochs),
        ("batch size", order.batch_size),
        ("learning rate", order.lr_multiplier),
        ("beta", order.beta),
        ("seed", order.seed),
        ("suffix", order.suffix),
        ("cost", _usd(plan.usd)),
        ("moved before", _is(plan) if plan.moved else None),
    ]
    lines = [f"{name:<13}  {value}" for name, value in rows if value is not None]
    lines += [
        f"{each.what}: {each.before} -> {each.after or 'left behind'} ({each.why})"
        for each in made.changes
    ]
    lines += [f"cannot go: {obstacle}" for obstacle in made.obstacles]
    return (
        printable(f"{plan.old.name} to {title}")
        + "\n"
        + "".join(f"  {printable(line)}\n" for line in lines)
    )


def _table(plans: list[Move], going: list[Move], title: str) -> str:
    rows, chosen = [("job", "model", "goes to", "cost", "what becomes of it")], set(map(id, going))
    for plan in plans:
        made, count = plan.translation, len(plan.translation.changes)
        goes = f"goes with {count} change{'s' * (count > 1)}" if count else "goes as it is"
        fate = f"cannot go: {made.obstacles[0]}" if made.obstacles else goes
        if plan.moved:
            fate = f"{_is(plan)}{'; goes again' if id(plan) in chosen else ''}"
        rows.append(
            (
                plan.old.job.id,
                plan.old.job.model,
                "-" if made.obstacles else made.spec.model,
                _usd(plan.usd),
                fate,
            )
        )
    total = sum(plan.usd or 0 for plan in going)
    shown = table(
        [[printable(cell) for cell in row] for row in rows],
        left=len(rows[0]),
        width=terminal_width(),
        long=[4],
    )
    return f"{shown}\nto {title}, for {_usd(total)} where the price is known\n"


def _is(plan: Move) -> str:
    return f"is {plan.moved}{f', which {FATES[plan.status]}' if plan.status in FATES else ''}"


def _told(plan: Move) -> dict[str, Any]:
    made = plan.translation
    return {
        "job": plan.old.name,
        "to": plan.moved or None,
        "order": msgspec.to_builtins(made.spec),
        "changes": msgspec.to_builtins(made.changes),
        "obstacles": list(made.obstacles),
        "usd": plan.usd,
    }
