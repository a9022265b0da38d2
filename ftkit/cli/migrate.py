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
from ftkit.errors import FileProblem, FtkitError, UsageProblem
from ftkit.report.columns import table

if TYPE_CHECKING:
    from ftkit.archive.read import ArchivedJob
    from ftkit.facts import Catalog
    from ftkit.migration import Old, Translation
    from ftkit.providers import Service

ENDS = "Exit codes: 0 moved, 1 a job cannot go or failed, 2 ftkit could not do it, 130 interrupted."


class Plan(msgspec.Struct):
    """A job that is to move: what becomes of it, what it costs, and the job that it has become already, if any."""

    old: Old
    translation: Translation
    usd: float | None
    moved: str


@click.command(cls=Configured, epilog=ENDS)
@click.argument("job", metavar="JOB|DIR/JOB", required=False)
@click.option("--to", "to", required=True, metavar="PROVIDER", help="Where the job is to go.")
@click.option("--to-base-url", metavar="URL", help="Its address, if it is not the provider's own.")
@click.option("--all", "everything", metavar="DIR", help="All jobs of this archive that succeeded.")
@click.option("--model", metavar="BASE", help="Train on this base instead.")
@service_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--watch", "follow", is_flag=True, help="Follow the new job until it is over.")
@output_option
def migrate(
    job: str | None, to: str, to_base_url: str | None, everything: str | None, model: str | None, provider: str,
    base_url: str | None, facts: str | None, yes: bool, follow: bool, output: str,
) -> int:  # fmt: skip
    """Do the same job elsewhere: from the service (JOB), or from an archive (DIR/JOB).

    The same command again finds the new job that is there.
    """
    from ftkit.facts import load_catalog

    if (job is None) == (everything is None):
        raise UsageProblem("name a job, or an archive with --all")
    catalog = load_catalog(facts)
    target = open_service(to, to_base_url, facts)
    olds = _archived(everything) if everything else [_find(job or "", provider, base_url, facts)]
    plans = [_plan(old, target, model, catalog) for old in olds]
    if output == "text":
        print_text(_table(plans, target) if everything else _one(plans[0], target))
    going = [plan for plan in plans if not plan.translation.obstacles and (not plan.moved or not everything)]
    code = int(any(plan.translation.obstacles for plan in plans))
    if going and not consent(f"Move {'this job' if len(going) == 1 else f'these {len(going)} jobs'} to {target.facts.title}?", yes):
        click.echo("ftkit: nothing was sent", err=True)
        return 2
    for plan in going:
        code = max(code, _move(plan, target, follow and not everything, output))
    if output == "json":
        print_one([_told(plan) for plan in plans])
    return code


def _find(job: str, provider: str, base_url: str | None, facts: str | None) -> Old:
    """The job at the service, or in an archive, whose folder is then part of its name."""
    folder = next((parent for parent in Path(job).parents if (parent / "manifest.json").is_file()), None)
    if folder:
        from ftkit.archive.read import open_archive

        return _old(open_archive(folder).job(Path(job).name))
    if os.sep in job:
        raise FileProblem(f"{job} is in no archive: there is no manifest.json above it")
    return _fetched(open_service(provider, base_url, facts), job)


def _archived(folder: str) -> list[Old]:
    from ftkit.archive.read import open_archive

    found = [each for each in open_archive(folder).jobs() if each.job.status == "succeeded"]
    if not found:
        raise UsageProblem(f"no job in {folder} has succeeded; there is nothing to move")
    return [_old(each) for each in found]


def _old(each: ArchivedJob) -> Old:
    from ftkit.migration import Old

    training = str(each.training) if each.training else ""
    validation = str(each.validation) if each.validation else None
    return Old(each.archive.provider, each.job, each.method, each.hyperparameters, training, validation)


def _fetched(service: Service, id: str) -> Old:
    """The job at a service, its files fetched to this machine."""
    from ftkit.archive.read import hyperparameters, method_of
    from ftkit.migration import Old

    job = service.job(id)
    folder = _folder() / "fetched"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths = []
    for file in (job.training_file, job.validation_file):
        path = folder / f"{_safe(service.account)}-{_safe(file)}.jsonl"
        if file and not path.exists():
            service.download(file, path)
        paths.append(str(path) if file else None)
    return Old(service.name, job, method_of(job.raw), hyperparameters(job.raw), paths[0] or "", paths[1])


def _safe(name: str) -> str:
    import hashlib

    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _folder() -> Path:
    from ftkit.journal import state_folder

    return state_folder(os.environ) / "migrations"


def _plan(old: Old, target: Service, model: str | None, catalog: Catalog) -> Plan:
    from ftkit.migration import obstacles_in, prepare, translate

    moved = open_journal().moved_to(old.name, target.account)
    made = translate(old, target.name, model, catalog)
    if not old.training:
        made = _with(made, obstacles=("its training file could not be had",))
        return Plan(old, made, None, moved)
    order = made.order
    for field in ("training", "validation"):
        path = getattr(order, field)
        if path:
            path, changes = prepare(path, target.name, _folder(), catalog)
            order = msgspec.structs.replace(order, **{field: path})
            obstacles = obstacles_in(path, order.model, target.name, catalog)
            made = _with(msgspec.structs.replace(made, order=order), changes, obstacles)
    return Plan(old, made, _cost(made, target, catalog), moved)


def _with(made: Translation, changes: tuple[Any, ...] = (), obstacles: tuple[str, ...] = ()) -> Translation:
    return msgspec.structs.replace(made, changes=(*made.changes, *changes), obstacles=(*made.obstacles, *obstacles))


def _cost(made: Translation, target: Service, catalog: Catalog) -> float | None:
    """What training costs in US dollars; None where nobody knows."""
    from ftkit.quote import quote

    if made.obstacles:
        return None
    order = made.order
    try:
        told = quote(order.training, [order.model], provider=target.name, epochs=order.epochs, catalog=catalog)
    except FtkitError:
        return None
    return told.models[0].cost.usd if told.models[0].cost else None


def _move(plan: Plan, target: Service, follow: bool, output: str) -> int:
    from ftkit.submission import submit

    journal = open_journal()
    order = plan.translation.order
    with uploading([order.training, *([order.validation] if order.validation else [])]) as progress:
        done = submit(order, target, journal, say=_say, progress=progress)
    journal.moved(plan.old.name, target.account, done.job.id)
    plan.moved = done.job.id
    if output == "text":
        there = f" was there already, and is {done.job.status}" if done.adopted else " created"
        print_text(f"{plan.old.job.id} -> {done.job.id}{there}\n")
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
    order, text = plan.translation.order, f"{plan.old.name} to {target.facts.title}\n"
    rows: list[tuple[str, object]] = [("model", order.model), ("method", order.method), ("epochs", order.epochs)]
    rows += [("batch size", order.batch_size)]
    rows += [("learning rate", order.lr_multiplier), ("beta", order.beta), ("seed", order.seed), ("suffix", order.suffix)]
    text += "".join(f"  {name:<13}  {value}\n" for name, value in rows if value is not None)
    text += f"  {'cost':<13}  {_usd(plan.usd)}\n"
    for change in plan.translation.changes:
        text += f"  {change.what}: {change.before} -> {change.after or 'left behind'} ({change.why})\n"
    text += "".join(f"  cannot go: {obstacle}\n" for obstacle in plan.translation.obstacles)
    return text


def _table(plans: list[Plan], target: Service) -> str:
    rows = [("job", "model", "goes to", "cost", "what becomes of it")]
    for plan in plans:
        made = plan.translation
        goes = f"goes with {len(made.changes)} changes" if made.changes else "goes as it is"
        fate = f"is {plan.moved}" if plan.moved else f"cannot go: {made.obstacles[0]}" if made.obstacles else goes
        rows.append((plan.old.job.id, plan.old.job.model, "-" if made.obstacles else made.order.model, _usd(plan.usd), fate))
    total = sum(plan.usd or 0 for plan in plans if not plan.moved)
    return table(rows, left=len(rows[0])) + f"\nto {target.facts.title}, for {_usd(total)} where the price is known\n"


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
