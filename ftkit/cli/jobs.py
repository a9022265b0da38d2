"""`ftkit jobs`."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ftkit._text import printable
from ftkit.cli import print_text
from ftkit.cli.options import Group, Status, output_option, service_options
from ftkit.cli.service import (
    at_most,
    minute,
    open_journal,
    open_service,
    print_fields,
    print_json_line,
    print_list,
    print_one,
    when,
)
from ftkit.errors import UsageError

if TYPE_CHECKING:
    from ftkit.client.client import Client
    from ftkit.client.resources import Checkpoint, Event, Job
    from ftkit.jobs.metrics import Metrics
    from ftkit.jobs.watch import Update

HEAD = ("id", "status", "created (UTC)", "model")
PLAIN = {
    "n_epochs": "epochs",
    "batch_size": "batch size",
    "learning_rate_multiplier": "lr multiplier",
}
"""Hyperparameters as the options of `ftkit submit` call them."""


@click.group(cls=Group)
def jobs() -> None:
    """List, watch, steer and understand fine-tuning jobs."""


def _row(job: Job) -> tuple[str, ...]:
    return job.id, job.status, minute(job.created_at), job.fine_tuned_model or job.model


@jobs.command("list")
@service_options
@click.option("--status", type=Status(), metavar="STATUS", help="Only jobs of this status.")
@click.option("--model", metavar="NAME", help="Only jobs on this model.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="N",
    help="At most so many.",
)
@click.option("--after", metavar="ID", default="", help="Begin after this job.")
@click.option("--all", "every", is_flag=True, help="All of them, however many.")
@output_option
def list_(
    provider: str,
    base_url: str | None,
    facts: str | None,
    status: str | None,
    model: str | None,
    limit: int,
    after: str,
    every: bool,
    output: str,
) -> None:
    """List jobs, newest first."""
    client = open_service(provider, base_url, facts)
    found = (
        job
        for job in client.jobs(after)
        if status in (None, job.status) and model in (None, job.model)
    )
    print_list(
        at_most(found, None if every else limit), HEAD, _row, lambda job: job.raw, output, long=[3]
    )


@jobs.command()
@click.argument("id")
@service_options
@output_option
def show(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> None:
    """Show the job ID."""
    job = open_service(provider, base_url, facts).job(id)
    if output == "json":
        print_one(job.raw)
        return
    told = (
        f"{job.error} ({job.error_code})"
        if job.error and job.error_code
        else job.error or job.error_code
    )
    print_fields(
        [
            ("job", job.id),
            ("status", job.status),
            ("model", job.model),
            ("fine-tuned", job.fine_tuned_model),
            *_chosen(job),
            ("created", when(job.created_at)),
            ("finish", when(job.estimated_finish)),
            ("finished", when(job.finished_at)),
            ("training", job.training_file),
            ("validation", job.validation_file),
            ("trained", f"{job.trained_tokens:,} tokens" if job.trained_tokens else ""),
            ("results", ", ".join(job.result_files)),
            ("metadata", ", ".join(map("=".join, job.metadata.items()))),
            ("error", told),
        ]
    )


def _chosen(job: Job) -> list[tuple[str, str]]:
    """How the job trains, as the service has resolved it."""
    given = {PLAIN.get(name, name): value for name, value in job.hyperparameters.items()}
    given |= {"suffix": job.raw.get("user_provided_suffix"), "seed": job.raw.get("seed")}
    return [
        ("method", job.method),
        *((name, str(value)) for name, value in given.items() if value is not None),
    ]


@jobs.command()
@click.argument("id")
@service_options
@output_option
def watch(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> int:
    """Follow the job ID until it is over.

    Exit codes: 0 it succeeded, 1 it failed or was cancelled, 2 ftkit could not do it, 130 interrupted; the job goes on.
    """
    return follow_job(open_service(provider, base_url, facts), id, output)


def follow_job(client: Client, id: str, output: str) -> int:
    """Show what happens to a job until it is over, and return the exit code."""
    from ftkit.jobs.watch import watch as look

    try:
        if output == "json":
            last = _show_json(look(client, id))
        elif sys.stdout.isatty():
            from ftkit.cli.live import show_live

            last = show_live(look(client, id))
        else:
            last = _show_lines(look(client, id))
    except KeyboardInterrupt:
        click.echo(f"ftkit: the job goes on; `ftkit jobs watch {id}` follows it again", err=True)
        raise
    if last.status != "succeeded":
        click.echo(
            f"ftkit: the job {printable(last.status)}; `ftkit jobs doctor {id}` says why", err=True
        )
        return 1
    if output == "text":
        print_text(f"model {printable(last.fine_tuned_model)}\n")
    return 0


def _show_json(looks: Iterable[Update]) -> Job:
    """A JSON document on a line for each event, and for the job when it has changed, as the service sent them."""
    job: Job | None = None
    for look in looks:
        if look.error:
            print_json_line({"trouble": look.error})
        for event in look.events:
            print_json_line({"event": event.raw})
        if look.job and (job is None or look.job.raw != job.raw):
            print_json_line({"job": look.job.raw})
        job = look.job or job
    assert job
    return job


def _show_lines(looks: Iterable[Update]) -> Job:
    """A line for each event and each change of the status."""
    job: Job | None = None
    for look in looks:
        if look.error:
            click.echo(f"ftkit: {look.error}; trying again", err=True)
        for event in look.events:
            print_text(_event_line(event))
        if look.job and (job is None or look.job.status != job.status):
            print_text(f"{when(int(time.time()))}  status: {printable(look.job.status)}\n")
        job = look.job or job
    assert job
    return job


def _event_line(event: Event) -> str:
    level = "" if event.level == "info" else f"{event.level}: "
    return f"{when(event.created_at)}  {level}{printable(event.message)}\n"


@jobs.command()
@click.argument("id")
@service_options
@output_option
def events(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> None:
    """List the events of the job ID, oldest first."""
    from ftkit.jobs.watch import NewEvents

    found = NewEvents().select(open_service(provider, base_url, facts).events(id))
    if output == "json":
        print_one([event.raw for event in found])
    else:
        print_text("".join(map(_event_line, found)))


def _acting(name: str, what: str) -> None:
    @jobs.command(name, help=f"{what} the job ID.")
    @click.argument("id")
    @service_options
    @output_option
    def act(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> None:
        job = open_service(provider, base_url, facts).act(id, name)
        if output == "json":
            print_one(job.raw)
        else:
            print_text(f"job {job.id} is {printable(job.status)}\n")


for _name, _what in (("cancel", "Cancel"), ("pause", "Pause"), ("resume", "Go on with")):
    _acting(_name, _what)


def _checkpoint_row(checkpoint: Checkpoint) -> tuple[str, ...]:
    from ftkit.jobs.metrics import TRAIN, VALID

    losses = [
        next((checkpoint.metrics[name] for name in names if name in checkpoint.metrics), None)
        for names in (TRAIN, VALID)
    ]
    return (
        f"{checkpoint.step}",
        *("-" if loss is None else f"{loss:.4g}" for loss in losses),
        checkpoint.model,
    )


@jobs.command()
@click.argument("id")
@service_options
@output_option
def checkpoints(
    id: str, provider: str, base_url: str | None, facts: str | None, output: str
) -> None:
    """List the checkpoints of the job ID, newest first."""
    found = open_service(provider, base_url, facts).checkpoints(id)
    head = ("step", "train loss", "valid loss", "model")
    print_list(found, head, _checkpoint_row, lambda checkpoint: checkpoint.raw, output, long=[3])


@jobs.command()
@click.argument("id")
@service_options
@click.option("--plot", metavar="FILE", help="Draw the losses into a .png, .svg or .html file.")
@click.option(
    "--output",
    type=click.Choice(["text", "csv", "json"]),
    default="text",
    show_default=True,
    help="How to report.",
)
def metrics(
    id: str, provider: str, base_url: str | None, facts: str | None, plot: str | None, output: str
) -> None:
    """Show the losses of the job ID, and the best checkpoint by validation loss."""
    from ftkit.jobs.metrics import is_finite, job_metrics, judge
    from ftkit.report.metrics import draw, render_metrics_text

    client = open_service(provider, base_url, facts)
    found = job_metrics(client, client.job(id))
    if not found.rows:
        raise UsageError(f"the job {id} has no metrics yet")
    if plot:
        draw(found, id, Path(plot))
        click.echo(f"drawn into {plot}", err=True)
    if output == "text":
        print_text(render_metrics_text(found, judge(found)))
    elif output == "csv":
        print_text(_as_csv(found))
    else:
        verdict = judge(found)
        told = {"best_step": verdict.best_step, "best_loss": verdict.best_loss, "parts_at": verdict.overfits_from}
        rows = [
            {name: value if is_finite(value) else None for name, value in row.items()}
            for row in found.rows
        ]
        print_one({"columns": found.columns, "rows": rows, "verdict": told})


def _as_csv(found: Metrics) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, found.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.rows)
    return text.getvalue()


@jobs.command()
@click.argument("id")
@service_options
@output_option
def doctor(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> int:
    """Find out why the job ID failed or is stuck: the rule, the lines of the local file, what to do.

    Exit codes: 0 nothing is wrong, 1 something is, 2 ftkit could not do it.
    """
    from ftkit.jobs.diagnose import diagnose
    from ftkit.report.json import finding_as_dict

    client = open_service(provider, base_url, facts)
    job = client.job(id)
    found = diagnose(job, client, open_journal())
    if output == "json":
        findings = [finding_as_dict(finding) for finding in found.findings]
        told = {
            "job": job.id,
            "status": job.status,
            "says": found.says,
            "rules": found.rules,
            "file": found.path,
        }
        print_one({**told, "findings": findings, "advice": found.advice})
        return int(found.wrong)
    if not found.wrong:
        print_text(f"{job.id}: {printable(found.says)}; {found.advice}\n")
        return 0
    print_text(f"{job.id} ({job.status}): {printable(found.says)}\n")
    for finding in found.findings:
        print_text(
            f"{found.path}:{finding.line}: {finding.code} {finding.rule}: {finding.message}\n"
        )
    print_text(f"{found.advice}\n")
    return 1
