"""`ftkit jobs`."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftkit._text import format_minute, format_time
from ftkit.cli.connection import (
    open_client,
    open_client_for,
    open_journal,
    recording_ids,
)
from ftkit.cli.follow import event_line, follow_job
from ftkit.cli.jobs_open import open_
from ftkit.cli.options import (
    Group,
    Status,
    open_option,
    output_format,
    output_option,
    provider_options,
)
from ftkit.cli.output import (
    Columns,
    first,
    open_page,
    print_fields,
    print_json,
    print_line,
    print_list,
    print_note,
    terminal_width,
)
from ftkit.cli.pages import origin, write_page
from ftkit.cli.terminal import write, write_untrusted
from ftkit.errors import UsageError

if TYPE_CHECKING:
    from ftkit.client.resources import Checkpoint, Job
    from ftkit.jobs.diagnose import Diagnosis
    from ftkit.jobs.metrics import Metrics, Verdict

HYPERPARAMETER_LABELS = {
    "n_epochs": "epochs",
    "batch_size": "batch size",
    "learning_rate_multiplier": "lr multiplier",
}
"""Labels of hyperparameters, after the options of `ftkit submit`."""


@click.group(cls=Group)
def jobs() -> None:
    """List, watch and manage fine-tuning jobs.

    ID is a job's id, or @last: the job that was submitted last from this machine. Its provider is
    looked up in the journal. An id can be shortened to a beginning that is unique there, except for
    cancel, pause and resume.
    """


def _job_row(job: Job) -> tuple[str, ...]:
    return job.id, job.status, format_minute(job.created_at), job.fine_tuned_model or job.model


jobs.add_command(open_)


@jobs.command("list")
@provider_options
@click.option("--status", type=Status(), metavar="STATUS", help="Only jobs with this status.")
@click.option("--model", "-m", metavar="NAME", help="Only jobs with this base model.")
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="N",
    help="Maximum number of jobs.",
)
@click.option("--after", metavar="ID", default="", help="Start after this job.")
@click.option("--all", "every", is_flag=True, help="List all jobs, ignoring --limit.")
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
    if after:
        client, after = open_client_for("job", after, provider, base_url, facts)
    else:
        client = open_client(provider, base_url, facts)
    matches = (
        job
        for job in client.jobs(after)
        if status in (None, job.status) and model in (None, job.model)
    )
    listed = recording_ids(client, "job", first(matches, None if every else limit))
    columns = Columns(("id", "status", "created (UTC)", "model"), _job_row)
    print_list(listed, columns, output, "jobs")


@jobs.command()
@click.argument("id")
@provider_options
@output_option
def show(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> None:
    """Show a job."""
    client, id = open_client_for("job", id, provider, base_url, facts)
    (job,) = recording_ids(client, "job", [client.job(id)])
    if output == "json":
        print_json(job.raw)
        return
    error = f"{job.error} ({job.error_code})" if job.error and job.error_code else ""
    print_fields(
        [
            ("job", job.id),
            ("status", job.status),
            ("model", job.model),
            ("fine-tuned", job.fine_tuned_model),
            *_settings(job),
            ("created", format_time(job.created_at)),
            ("expected", "" if job.is_over else format_time(job.estimated_finish)),
            ("finished", format_time(job.finished_at)),
            ("training", job.training_file),
            ("validation", job.validation_file),
            ("trained", f"{job.trained_tokens:,} tokens" if job.trained_tokens else ""),
            ("results", ", ".join(job.result_files)),
            ("metadata", ", ".join(map("=".join, job.metadata.items()))),
            ("error", error or job.error or job.error_code),
        ]
    )


def _settings(job: Job) -> list[tuple[str, str]]:
    """Return the method, hyperparameters, suffix and seed of a job, as the provider chose them."""
    settings = {
        HYPERPARAMETER_LABELS.get(name, name): value for name, value in job.hyperparameters.items()
    }
    settings |= {"suffix": job.raw.get("user_provided_suffix"), "seed": job.raw.get("seed")}
    return [
        ("method", job.method),
        *((name, str(value)) for name, value in settings.items() if value is not None),
    ]


@jobs.command()
@click.argument("id")
@provider_options
@output_option
def watch(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> int:
    """Follow a job until it ends.

    Exit codes: 0 it succeeded, 1 it failed or was cancelled, 2 error, 130 interrupted (the job
    continues).
    """
    return follow_job(*open_client_for("job", id, provider, base_url, facts), output)


@jobs.command()
@click.argument("id")
@provider_options
@output_option
def events(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> None:
    """List the events of a job, oldest first."""
    from ftkit.jobs.watch import NewEvents

    client, id = open_client_for("job", id, provider, base_url, facts)
    oldest_first = NewEvents().select(client.events(id))
    if output == "json":
        print_json([event.raw for event in oldest_first])
        return
    for event in oldest_first:
        print_line(event_line(event))
    if not oldest_first:
        print_note("No events.")


def _add_action(name: str) -> None:
    @jobs.command(name, help=f"{name.capitalize()} a job.")
    @click.argument("id")
    @provider_options
    @output_option
    def act(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> None:
        client, id = open_client_for("job", id, provider, base_url, facts, is_exact=True)
        job = client.act(id, name)
        if output == "json":
            print_json(job.raw)
        else:
            print_line(f"job {job.id} is {job.status}")


for _name in ("cancel", "pause", "resume"):
    _add_action(_name)


@jobs.command()
@click.argument("id")
@provider_options
@output_option
def checkpoints(
    id: str, provider: str, base_url: str | None, facts: str | None, output: str
) -> None:
    """List the checkpoints of a job, newest first."""
    head = ("step", "train loss", "valid loss", "model")
    columns = Columns(head, _checkpoint_row)
    client, id = open_client_for("job", id, provider, base_url, facts)
    print_list(client.checkpoints(id), columns, output, "checkpoints")


def _checkpoint_row(checkpoint: Checkpoint) -> tuple[str, ...]:
    from ftkit.jobs.metrics import TRAIN, VALID

    losses = [
        next((checkpoint.metrics[name] for name in names if name in checkpoint.metrics), None)
        for names in (TRAIN, VALID)
    ]
    cells = ("-" if loss is None else f"{loss:.4g}" for loss in losses)
    return (f"{checkpoint.step}", *cells, checkpoint.model)


@jobs.command()
@click.argument("id")
@provider_options
@click.option(
    "--plot",
    metavar="FILE",
    help="Plot the losses to a .png or .svg file, or all metrics to an .html file.",
)
@open_option
@output_format("text", "csv", "json")
def metrics(
    id: str,
    provider: str,
    base_url: str | None,
    facts: str | None,
    plot: str | None,
    opens: bool,
    output: str,
) -> None:
    """Show the losses of a job and its best checkpoint by validation loss."""
    from ftkit.jobs.metrics import assess, job_metrics
    from ftkit.report.metrics import draw, render_metrics_text
    from ftkit.report.metrics_page import render_metrics_html

    if opens and not plot:
        raise UsageError("--open needs --plot")
    client, id = open_client_for("job", id, provider, base_url, facts)
    job_data = job_metrics(client, client.job(id))
    if not job_data.rows:
        raise UsageError(f"the job {id} has no metrics yet")
    if plot and plot.lower().endswith(".html"):
        write_page(plot, render_metrics_html(job_data, id, origin()), opens)
    elif plot:
        draw(job_data, id, Path(plot))
        print_note(f"wrote {plot}")
        if opens:
            open_page(plot)
    if output == "text":
        write(render_metrics_text(job_data, assess(job_data), width=terminal_width()))
    elif output == "csv":
        write_untrusted(_metrics_csv(job_data))
    else:
        print_json(_metrics_as_dict(job_data, assess(job_data)))


def _metrics_csv(metrics: Metrics) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, metrics.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(metrics.rows)
    return text.getvalue()


def _metrics_as_dict(metrics: Metrics, verdict: Verdict) -> dict[str, Any]:
    from ftkit.jobs.metrics import is_plottable

    rows = [
        {name: value if is_plottable(value) else None for name, value in row.items()}
        for row in metrics.rows
    ]
    assessment = {
        "best_step": verdict.best_step,
        "best_loss": verdict.best_loss,
        "parts_at": verdict.overfits_from,
    }
    return {"columns": metrics.columns, "rows": rows, "verdict": assessment}


@jobs.command()
@click.argument("id")
@provider_options
@output_option
def doctor(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> int:
    """Explain why a job failed or is stuck.

    Shows the provider's message, the rule behind it, the lines of the local file, and what to do.

    Exit codes: 0 nothing is wrong, 1 something is wrong, 2 error.
    """
    from ftkit.jobs.diagnose import diagnose

    client, id = open_client_for("job", id, provider, base_url, facts)
    diagnosis = diagnose(client.job(id), client, open_journal())
    if output == "json":
        print_json(_diagnosis_as_dict(diagnosis))
    else:
        _print_diagnosis(diagnosis)
    return int(diagnosis.is_problem)


def _diagnosis_as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "job": diagnosis.job.id,
        "status": diagnosis.job.status,
        "says": diagnosis.message,
        "rules": diagnosis.rules,
        "file": diagnosis.path,
        "findings": [finding.to_dict() for finding in diagnosis.findings],
        "advice": diagnosis.advice,
    }


def _print_diagnosis(diagnosis: Diagnosis) -> None:
    job = diagnosis.job
    if not diagnosis.is_problem:
        print_line(f"{job.id}: {diagnosis.message}; {diagnosis.advice}")
        return
    print_line(f"{job.id} ({job.status}): {diagnosis.message}")
    for finding in diagnosis.findings:
        rule = f"{finding.code} {finding.rule}"
        print_line(f"{diagnosis.path}:{finding.line}: {rule}: {finding.message}")
    print_line(diagnosis.advice)
