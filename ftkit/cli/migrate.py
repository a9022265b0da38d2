"""`ftkit migrate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ftkit.cli import print_text
from ftkit.cli.files import uploading
from ftkit.cli.options import Configured, output_option, service_options
from ftkit.cli.service import consent, open_journal, open_service, print_one
from ftkit.errors import FileProblem, UsageProblem
from ftkit.report.columns import printable, table

if TYPE_CHECKING:
    from ftkit.journal import Journal
    from ftkit.migration.planning import Plan
    from ftkit.migration.translating import Old
    from ftkit.providers import Service

FATES = {"failed": "failed", "cancelled": "was cancelled"}
"""What is told of a new job that brought no model."""

REFUSED = (400, 404, 413, 422)
"""Statuses that speak of one job. Any other the next job would meet as well."""

ENDS = "Exit codes: 0 moved, 1 a job cannot go or failed, 2 ftkit could not do it, 130 interrupted."


@click.command(cls=Configured, epilog=ENDS)
@click.argument("job", metavar="JOB|DIR/JOB", required=False)
@click.option("--to", "to", required=True, metavar="PROVIDER", help="Where the job is to go.")
@click.option("--to-base-url", metavar="URL", help="Its address, if it is not the provider's own.")
@click.option("--all", "everything", metavar="DIR", help="All jobs of this archive that succeeded.")
@click.option("--model", metavar="BASE", help="Train on this base instead.")
@click.option("--suffix", metavar="TEXT", help="Name the new model so.")
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Train for so many epochs instead.")
@service_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--watch", "follow", is_flag=True, help="Follow the new job until it is over.")
@output_option
def migrate(
    job: str | None, to: str, to_base_url: str | None, everything: str | None, model: str | None, suffix: str | None,
    epochs: int | None, provider: str, base_url: str | None, facts: str | None, yes: bool, follow: bool, output: str,
) -> int:  # fmt: skip
    """Do the same job elsewhere: from the service (JOB), or from an archive (DIR/JOB).

    The same command again finds the new job that is there.
    """
    from ftkit.facts import load_catalog
    from ftkit.migration.planning import Asked, Planner

    if (job is None) == (everything is None):
        raise UsageProblem("name a job, or an archive with --all")
    if everything and follow:
        raise UsageProblem("--watch follows one job, and --all moves many; see `ftkit jobs list`")
    olds = _archived(everything) if everything else [_find(job or "", provider, base_url, facts)]
    target, journal = open_service(to, to_base_url, facts), open_journal()
    planner = Planner(target, journal, _folder(), load_catalog(facts), Asked(model, suffix, epochs))
    plans = [planner.plan(old) for old in olds]
    if output == "text":
        print_text(_table(plans, target) if everything else _one(plans[0], target))
    going = [plan for plan in plans if plan.can_go and (not plan.moved or not everything)]
    if going and not consent(f"Move {'this job' if len(going) == 1 else f'these {len(going)} jobs'} to {target.facts.title}?", yes):
        click.echo("ftkit: nothing was sent", err=True)
        return 2
    try:
        code = max([_move(plan, target, journal, follow, output, alone=not everything) for plan in going], default=0)
    finally:
        if output == "json":
            print_one([_told(plan) for plan in plans])
    return max(code, int(not all(plan.can_go for plan in plans)))


def _find(job: str, provider: str, base_url: str | None, facts: str | None) -> Old:
    """The job at the service, or in an archive, whose folder is then part of its name."""
    from ftkit.archive.read import find_job
    from ftkit.migration.planning import archived, fetched

    found = find_job(job)
    if found:
        return archived(found)
    if os.sep in job:
        raise FileProblem(f"{job} is in no archive: there is no manifest.json above it")
    return fetched(open_service(provider, base_url, facts), job, _folder())


def _archived(folder: str) -> list[Old]:
    from ftkit.archive.read import open_archive
    from ftkit.migration.planning import archived

    found = [archived(each) for each in open_archive(folder).jobs() if each.job.status == "succeeded"]
    if not found:
        raise UsageProblem(f"no job in {folder} has succeeded; there is nothing to move")
    return found


def _folder() -> Path:
    from ftkit.journal import state_folder

    return state_folder(os.environ) / "migrations"


def _move(plan: Plan, target: Service, journal: Journal, follow: bool, output: str, alone: bool) -> int:
    """Move a job. Where it is not `alone` and the service refuses just this one, that is told, and the others go on."""
    from ftkit.migration.planning import move
    from ftkit.providers import ServiceProblem

    order = plan.translation.order
    try:
        with uploading([order.training, *([order.validation] if order.validation else [])]) as progress:
            done = move(plan, target, journal, say=_say, progress=progress)
    except (FileProblem, ServiceProblem) as problem:
        if alone or getattr(problem, "status", 400) not in REFUSED:
            raise
        _say(printable(f"ftkit: {plan.old.job.id}: {problem}"))
        return 1
    if output == "text":
        there = f" was there already, and is {done.job.status}" if done.adopted else " created"
        print_text(printable(f"{plan.old.job.id} -> {done.job.id}{there}") + "\n")
    if not follow:
        return 0
    from ftkit.cli.jobs import follow_job

    return follow_job(target, done.job.id, output)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _usd(usd: float | None) -> str:
    from ftkit.report.estimate import money

    return "-" if usd is None else money(usd)


def _one(plan: Plan, target: Service) -> str:
    order, text = plan.translation.order, printable(f"{plan.old.name} to {target.facts.title}") + "\n"
    rows: list[tuple[str, object]] = [("model", order.model), ("method", order.method), ("epochs", order.epochs)]
    rows += [("batch size", order.batch_size)]
    rows += [("learning rate", order.lr_multiplier), ("beta", order.beta), ("seed", order.seed), ("suffix", order.suffix)]
    lines = [f"{name:<13}  {value}" for name, value in (*rows, ("cost", _usd(plan.usd))) if value is not None]
    lines += [
        f"{change.what}: {change.before} -> {change.after or 'left behind'} ({change.why})" for change in plan.translation.changes
    ]
    lines += [f"cannot go: {obstacle}" for obstacle in plan.translation.obstacles]
    return text + "".join(f"  {printable(line)}\n" for line in lines)


def _table(plans: list[Plan], target: Service) -> str:
    rows = [("job", "model", "goes to", "cost", "what becomes of it")]
    for plan in plans:
        made = plan.translation
        goes = f"goes with {len(made.changes)} changes" if made.changes else "goes as it is"
        fate = _is(plan) if plan.moved else f"cannot go: {made.obstacles[0]}" if made.obstacles else goes
        rows.append((plan.old.job.id, plan.old.job.model, "-" if made.obstacles else made.order.model, _usd(plan.usd), fate))
    total = sum(plan.usd or 0 for plan in plans if not plan.moved)
    shown = [[printable(cell) for cell in row] for row in rows]
    return table(shown, left=len(rows[0])) + f"\nto {target.facts.title}, for {_usd(total)} where the price is known\n"


def _is(plan: Plan) -> str:
    return f"is {plan.moved}{f', which {FATES[plan.status]}' if plan.status in FATES else ''}"


def _told(plan: Plan) -> dict[str, Any]:
    made = plan.translation
    return {
        "job": plan.old.name,
        "to": plan.moved or None,
        "order": msgspec.to_builtins(made.order),
        "changes": msgspec.to_builtins(made.changes),
        "obstacles": list(made.obstacles),
        "usd": plan.usd,
    }
