"""`ftkit submit`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from ftkit.cli.connection import command_line, open_client, open_journal, recording_ids
from ftkit.cli.inputs import must_be_plain, uploading
from ftkit.cli.options import Configured, Epochs, option, output_option, provider_options
from ftkit.cli.output import (
    consent,
    print_fields,
    print_json,
    print_json_line,
    print_line,
    print_note,
    print_warning,
)
from ftkit.cli.terminal import confirm, is_terminal, write_error
from ftkit.errors import FileError, ProviderError, UsageError

if TYPE_CHECKING:
    from ftkit.catalog import Catalog
    from ftkit.client.client import Client
    from ftkit.jobs.submit import Submitted
    from ftkit.jobs.uploads import Progress
    from ftkit.jobs.workflow import Callbacks, JobPlan
    from ftkit.summary import Report

EXIT_CODES = (
    "Exit codes: 0 submitted, 1 the file has errors or the job failed, 2 error, 130 interrupted."
)
METHODS = ("supervised", "dpo", "reinforcement")


@click.command(cls=Configured, epilog=EXIT_CODES)
@click.argument("file", metavar="FILE")
@option("--model", "-m", required=True, metavar="NAME", help="Base model to fine-tune.")
@option("--validation-file", metavar="FILE", help="Validation dataset.")
@provider_options
@option("--suffix", metavar="TEXT", help="Suffix for the fine-tuned model's name.")
@option(
    "--method",
    type=click.Choice(METHODS),
    help="Fine-tuning method.  [default: the one for the file's format]",
)
@option(
    "--epochs",
    type=Epochs(),
    metavar="N|auto",
    default="auto",
    show_default=True,
    help="Number of training epochs: 1 to 50, or auto.",
)
@option("--batch-size", type=click.IntRange(1), metavar="N", help="Batch size.")
@option("--lr-multiplier", type=float, metavar="X", help="Learning rate multiplier.")
@option(
    "--beta",
    type=float,
    metavar="X",
    help="DPO beta: strength of the penalty for drifting from the base model.",
)
@option("--grader", metavar="FILE", help="JSON file with the grader, for reinforcement.")
@option("--seed", type=click.IntRange(0), metavar="N", help="Random seed.")
@click.option(
    "--metadata",
    multiple=True,
    metavar="KEY=VALUE",
    help="Metadata to store with the job. Repeatable.",
)
@option("--wandb-project", metavar="NAME", help="Weights & Biases project to send metrics to.")
@option(
    "--training-type",
    metavar="NAME",
    help="Training tier at Azure, e.g. Developer.",
)
@option(
    "--max-cost",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Abort if the estimated cost is higher.",
)
@click.option("--yes", "-y", is_flag=True, help="Skip the confirmation prompt.")
@click.option("--dry-run", is_flag=True, help="Print the requests without sending them.")
@click.option("--watch", "follow", is_flag=True, help="Follow the job until it finishes.")
@click.option("--force", is_flag=True, help="Submit even if the file has errors.")
@click.option("--again", is_flag=True, help="Create a new job even if an identical one exists.")
@output_option
def submit(
    file: str,
    validation_file: str | None,
    provider: str,
    base_url: str | None,
    facts: str | None,
    method: str | None,
    grader: str | None,
    metadata: tuple[str, ...],
    max_cost: float | None,
    yes: bool,
    dry_run: bool,
    follow: bool,
    force: bool,
    again: bool,
    output: str,
    **fields: Any,
) -> int:
    """Validate FILE, estimate the cost, ask for confirmation, upload it and create the job.

    Running the same command again finds the existing job: nothing is uploaded or paid twice.
    """
    from ftkit.catalog import load_catalog
    from ftkit.jobs.spec import AUTO_METHOD, JobSpec
    from ftkit.jobs.workflow import Callbacks, StartOptions, plan_job, start_job

    must_be_plain(file, validation_file)
    catalog = load_catalog(facts)
    spec = JobSpec(
        training=file,
        validation=validation_file,
        method=method or AUTO_METHOD,
        metadata=_parse_metadata(metadata),
        grader=_read_grader(grader),
        **fields,
    )
    options = StartOptions(force=force, again=again, max_cost=max_cost, catalog=catalog)
    plan = plan_job(spec, provider, options, Callbacks(report=_show_findings, say=print_warning))
    if not plan.is_valid:
        print_warning("the file has errors; fix them, or use --force to submit anyway")
        return 1
    if dry_run:
        print_json(plan.requests())
        return 0
    client = open_client(provider, base_url, facts)
    dialog = _Dialog(client, yes, output)
    with _closed_account_explained(dialog, catalog, base_url), dialog.callbacks(plan) as callbacks:
        outcome = start_job(
            client, plan, open_journal(), confirm=dialog.confirm, callbacks=callbacks
        )
    if outcome.submitted is None:
        print_warning("nothing was sent")
        return 2
    (job,) = recording_ids(client, "job", [outcome.submitted.job])
    _show_job(outcome.submitted, output, follow)
    if not follow:
        print_note(f"Follow it: {command_line('jobs', 'watch', job.id)}")
        return 0
    from ftkit.cli.follow import follow_job

    return follow_job(client, job.id, output)


def _parse_metadata(metadata: tuple[str, ...]) -> dict[str, str]:
    for pair in metadata:
        if "=" not in pair:
            raise UsageError(f"--metadata {pair!r} is not KEY=VALUE")
    return dict(pair.split("=", 1) for pair in metadata)


def _read_grader(path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    from ftkit.validation.validate import read_grader

    grader = read_grader(path)
    if not isinstance(grader, dict):
        raise FileError(f"{path} is not a grader: it is not a JSON object")
    return grader


def _show_findings(report: Report) -> None:
    """Print the errors and warnings to standard error."""
    from ftkit.report import render_text

    if any(file.errors or file.warnings for file in report.files):
        write_error(render_text(report, quiet=True))


def _show_job(submitted: Submitted, output: str, follow: bool) -> None:
    job = submitted.job
    if output == "json":
        result = {
            "job": job.raw,
            "adopted": submitted.adopted,
            "submission": submitted.submission,
        }
        (print_json_line if follow else print_json)(result)
    elif submitted.adopted:
        print_line(
            f"Job {job.id} already exists for these files and settings ({job.status}). "
            "Use --again to create another."
        )
    else:
        print_line(f"Created job {job.id} ({job.model}).")


class _Dialog:
    """Conversation with the user about one submission.

    Attributes:
        deleted: Ids of the uploaded files that the user chose to delete.
    """

    def __init__(self, client: Client, yes: bool, output: str) -> None:
        self.client = client
        self.deleted: tuple[str, ...] = ()
        self._yes, self._output = yes, output
        self._confirmed = False
        self._bar = ExitStack()

    def confirm(self, plan: JobPlan) -> bool:
        """Show the plan and ask for confirmation."""
        asks = not self._yes and is_terminal(sys.stdin)
        if self._output == "text" or asks:
            to_stderr = self._output == "json" or (asks and not is_terminal(sys.stdout))
            print_fields(_plan_fields(plan, self.client), to_stderr)
        question = f"Submit {plan.spec.model}?"
        if plan.warning:
            names = ", ".join(plan.alternatives)
            advice = (
                f"models that can still be trained: {names}"
                if names
                else "no known model can still be trained there"
            )
            print_warning(f"{plan.warning}; {advice}")
            question = "Submit anyway?"
        self._confirmed = consent(question, self._yes)
        return self._confirmed

    @contextmanager
    def callbacks(self, plan: JobPlan) -> Iterator[Callbacks]:
        """Yield callbacks that print steps and show a progress bar for uploads."""
        from ftkit.jobs.workflow import Callbacks

        files = [file for file in (plan.spec.training, plan.spec.validation) if file]
        advance: Progress | None = None

        def uploaded(name: str, size: int) -> None:
            nonlocal advance
            # Not before the first bytes: a progress bar would be in the way of the prompt.
            advance = advance or self._bar.enter_context(uploading(files))
            advance(name, size)

        try:
            with self._bar:
                yield Callbacks(say=print_note, uploaded=uploaded, discard=self.discard)
        except KeyboardInterrupt:
            if self._confirmed:
                print_warning("run the same command again to go on; an existing job is found")
            raise

    def discard(self, error: ProviderError) -> bool:
        """Ask whether to delete the files that were uploaded for nothing."""
        if self._yes or not is_terminal(sys.stdin):
            return False
        self._bar.close()
        files = " ".join(error.uploaded)
        print_warning(str(error))
        if not confirm(f"Delete {files}, uploaded just now?"):
            return False
        self.deleted = error.uploaded
        return True


def _plan_fields(plan: JobPlan, client: Client) -> list[tuple[str, str]]:
    from ftkit._text import money

    spec = plan.spec
    rows = [
        ("train", f"{spec.model} at {client.provider.title}"),
        ("method", spec.method),
        ("file", spec.training),
        ("validation", spec.validation or ""),
    ]
    if plan.quote is None:
        return rows
    estimate = plan.quote.models[0]
    about = "" if estimate.exact else "about "
    cost = estimate.cost
    price = (
        f"{about}{money(cost.usd)} ({cost.source}, {cost.as_of})" if cost else estimate.cost_note
    )
    return [
        *rows,
        (
            "epochs",
            f"{estimate.epochs}{'' if spec.epochs else ' (estimated; the provider chooses)'}",
        ),
        ("tokens", f"{about}{estimate.billed_tokens:,}"),
        ("cost", price),
    ]


@contextmanager
def _closed_account_explained(
    dialog: _Dialog, catalog: Catalog, base_url: str | None
) -> Iterator[None]:
    """Explain the refusal of a provider that takes no new jobs from the account."""
    from ftkit.jobs.workflow import ACCOUNT_CLOSED

    try:
        yield
    except ProviderError as error:
        if error.code != ACCOUNT_CLOSED:
            raise
        client, message = dialog.client, error.provider_message.replace("`", "'")
        names = [
            name for name, facts in catalog.providers.items() if facts.api and name != client.name
        ]
        raise UsageError(
            f"{client.provider.title} takes no new jobs from this account ({message}); "
            f"{_fate_of_files(error, dialog, base_url)}. "
            f"Other providers with this API: {', '.join(names)}"
        ) from error


def _fate_of_files(error: ProviderError, dialog: _Dialog, base_url: str | None) -> str:
    """Return what happened to the files that were uploaded, and how to delete them."""
    if dialog.deleted:
        return f"{' '.join(dialog.deleted)} was deleted"
    if not error.uploaded:
        return (
            "files of earlier uploads are still there: `ftkit files list` lists them, "
            "`ftkit files delete` deletes them"
        )
    where = f" --provider {dialog.client.name}" + (f" --base-url {base_url}" if base_url else "")
    commands = " and ".join(f"`ftkit files delete {id}{where}`" for id in error.uploaded)
    return f"the uploaded file is still there; delete it with {commands}"
