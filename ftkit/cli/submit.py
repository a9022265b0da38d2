"""`ftkit submit`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftkit.cli import print_text
from ftkit.cli.connection import open_client, open_journal
from ftkit.cli.inputs import must_be_plain, uploading
from ftkit.cli.options import Configured, Epochs, option, output_option, service_options
from ftkit.cli.output import (
    consent,
    is_terminal,
    print_fields,
    print_json,
    print_json_line,
)
from ftkit.errors import FileError, UsageError

if TYPE_CHECKING:
    import datetime

    from ftkit.catalog import Catalog
    from ftkit.client.client import Client
    from ftkit.errors import ProviderError
    from ftkit.estimation.quote import Quote
    from ftkit.jobs.spec import JobSpec
    from ftkit.jobs.submit import Submitted

ENDS = "Exit codes: 0 submitted, 1 the file has errors or the job failed, 2 ftkit could not do it, 130 interrupted."
METHODS = ("supervised", "dpo", "reinforcement")


@click.command(cls=Configured, epilog=ENDS)
@click.argument("file", metavar="FILE")
@option("--model", required=True, metavar="NAME", help="The model to train.")
@option("--validation-file", metavar="FILE", help="A file to measure the training by.")
@service_options
@option("--suffix", metavar="TEXT", help="Becomes part of the model's name.")
@option(
    "--method",
    type=click.Choice(METHODS),
    help="How to train; as the file's format needs if not given.",
)
@option(
    "--epochs",
    type=Epochs(),
    default="auto",
    show_default=True,
    help="How often to train on each example.",
)
@option("--batch-size", type=click.IntRange(1), metavar="N", help="Examples of a step.")
@option("--lr-multiplier", type=float, metavar="X", help="Factor of the learning rate.")
@option("--beta", type=float, metavar="X", help="How closely dpo keeps to the model as it was.")
@option("--grader", metavar="FILE", help="The grader's JSON, for reinforcement.")
@option("--seed", type=click.IntRange(0), metavar="N", help="Makes training repeatable.")
@click.option(
    "--metadata",
    multiple=True,
    metavar="KEY=VALUE",
    help="Kept with the job; may be given several times.",
)
@option(
    "--wandb-project", metavar="NAME", help="Send the metrics to this project of Weights & Biases."
)
@option(
    "--training-type",
    metavar="NAME",
    help="Where and at which price to train, e.g. Developer; at Azure.",
)
@option(
    "--max-cost",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Stop if training is estimated to cost more.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show the requests, and send none.")
@click.option("--watch", "follow", is_flag=True, help="Follow the job until it is over.")
@click.option("--force", is_flag=True, help="Submit in spite of errors in the file.")
@click.option("--again", is_flag=True, help="Make a new job even if the same was submitted before.")
@output_option
def submit(
    file: str,
    model: str,
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
    **given: Any,
) -> int:
    """Check FILE, say what training on it costs, ask, upload it, and create the job.

    The same command again finds the job that is there: nothing is uploaded or paid twice.
    """
    from ftkit.catalog import load_catalog
    from ftkit.jobs.spec import JobSpec, check
    from ftkit.jobs.uploads import hash_file

    must_be_plain(file, validation_file)
    catalog = load_catalog(facts)
    hashes = hash_file(file), hash_file(validation_file) if validation_file else None
    format, clean = _validated(file, model, validation_file, provider, grader, catalog, output)
    if not clean and not force:
        click.echo(
            "ftkit: the file has errors; mend them, or submit it anyway with --force", err=True
        )
        return 1
    if not clean:
        click.echo("ftkit: the file has errors, and is submitted anyway", err=True)
    spec = JobSpec(
        model=model,
        training=file,
        validation=validation_file,
        method=_method(format, method, force),
        metadata=_pairs(metadata),
        grader=_grader(grader),
        **given,
    )
    quote = _quoted(spec, provider, format, catalog)
    _hold(quote, model, max_cost)
    if dry_run:
        return _show(spec, provider, hashes, catalog)
    client = open_client(provider, base_url, facts)
    check(spec, client.api, client.provider.title)
    asks = not yes and is_terminal(sys.stdin)
    if output == "text" or asks:
        _show_plan(
            spec, client, quote, err=output == "json" or (asks and not is_terminal(sys.stdout))
        )
    if not consent(_question(spec, client, quote, catalog), yes):
        click.echo("ftkit: nothing was sent", err=True)
        return 2
    done = _sent(spec, client, hashes, again, catalog, yes, base_url)
    if output == "json":
        told = {"job": done.job.raw, "adopted": done.adopted, "submission": done.submission}
        (print_json_line if follow else print_json)(told)
    else:
        there = (
            f" was there already, and is {done.job.status}; --again makes another"
            if done.adopted
            else " created"
        )
        print_text(f"job {done.job.id}{there}\n")
    if not follow:
        return 0
    from ftkit.cli.jobs import follow_job

    return follow_job(client, done.job.id, output)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _validated(
    file: str,
    model: str,
    validation_file: str | None,
    provider: str,
    grader: str | None,
    catalog: Catalog,
    output: str,
) -> tuple[str, bool]:
    """The format of the file, and whether it has no errors; the findings go where they can be read."""
    from ftkit.catalog import base_model
    from ftkit.validation.validate import validate

    known = model if base_model(model) in catalog.models else None
    report = validate(
        file,
        model=known,
        provider=provider,
        validation_file=validation_file,
        grader=grader,
        catalog=catalog,
    )
    from ftkit.report import render_text

    if any(each.errors or each.warnings for each in report.files):
        click.echo(render_text(report, 10, quiet=True), nl=False, err=True)
    return report.files[0].format or "chat", report.ok


def _method(format: str, method: str | None, force: bool) -> str:
    """The method that was asked for, or that of the format; raises `UsageError` where they do not fit."""
    from ftkit.dataset.formats import METHODS

    fits = METHODS[format]
    if method not in (None, fits) and not force:
        raise UsageError(
            f"the file has {format} examples, which are for --method {fits}, not {method}; --force sends it anyway"
        )
    return method or fits


def _pairs(metadata: tuple[str, ...]) -> dict[str, str]:
    odd = next((pair for pair in metadata if "=" not in pair), None)
    if odd is not None:
        raise UsageError(f"--metadata {odd!r} is not KEY=VALUE")
    return dict(pair.split("=", 1) for pair in metadata)


def _grader(path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        found: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read the grader {path}: {error}") from error
    if not isinstance(found, dict):
        raise FileError(f"cannot use the grader {path}: it is no JSON object")
    return found


def _quoted(spec: JobSpec, provider: str, format: str, catalog: Catalog) -> Quote | None:
    """What training costs; None where nobody knows."""
    from ftkit.estimation.quote import quote

    try:
        return quote(
            spec.training,
            [spec.model],
            provider=provider,
            format=format,
            epochs=spec.epochs,
            validation_file=spec.validation,
            catalog=catalog,
        )
    except UsageError as problem:
        click.echo(f"ftkit: no estimate: {problem}", err=True)
        return None


def _hold(quote: Quote | None, model: str, most: float | None) -> None:
    """Raise `UsageError` if training costs more than `most`, or if that cannot be told."""
    if most is None:
        return
    cost = quote.models[0].cost if quote else None
    if most != most:
        raise UsageError("--max-cost is no number")
    if cost is None:
        raise UsageError(f"--max-cost cannot be held: the cost of {model} is not known")
    if cost.usd > most:
        from ftkit._text import money

        raise UsageError(
            f"training is estimated to cost {money(cost.usd)}, more than {money(most)}; nothing was sent"
        )


def _show_plan(spec: JobSpec, client: Client, quote: Quote | None, err: bool) -> None:
    from ftkit._text import money

    told = quote.models[0] if quote else None
    rows = [
        ("train", f"{spec.model} at {client.provider.title}"),
        ("method", spec.method),
        ("file", spec.training),
    ]
    rows.append(("validation", spec.validation or ""))
    if told:
        about = "" if told.exact else "about "
        rows.append(
            (
                "epochs",
                f"{told.epochs}{'' if spec.epochs else ', if the service chooses as it is known to'}",
            )
        )
        rows.append(("tokens", f"{about}{told.billed_tokens:,}"))
        price = (
            f"{about}{money(told.cost.usd)} ({told.cost.source}, {told.cost.as_of})"
            if told.cost
            else told.cost_note
        )
        rows.append(("cost", price))
    print_fields(rows, err)


def _question(spec: JobSpec, client: Client, quote: Quote | None, catalog: Catalog) -> str:
    """What to ask before anything is sent; says so if the model is known not to be trained so."""
    import datetime

    from ftkit.estimation.estimate import candidates

    over = _over(spec.model, client, quote, datetime.date.today())
    if not over:
        return f"Submit {spec.model}?"
    others = candidates(
        quote.format if quote else "chat", client.name, datetime.date.today(), catalog
    )
    named = ", ".join(name for name in others if name != spec.model)
    can = (
        f"what can still be trained: {named}"
        if named
        else "nothing that ftkit knows can still be trained there"
    )
    click.echo(f"ftkit: {over}; {can}", err=True)
    return "Try it all the same?"


def _over(model: str, client: Client, quote: Quote | None, today: datetime.date) -> str:
    """Why the model cannot be trained so, by the service's word or else the catalog's; empty if it can."""
    told = quote.models[0] if quote else None
    ends = client.shutdown_date(model)
    if ends and ends <= today.isoformat():
        return f"{model} can no longer be trained at {client.provider.title}, which shut it down on {ends}"
    return told.trainable_note if told else ""


def _sent(
    spec: JobSpec,
    client: Client,
    hashes: tuple[str, str | None],
    again: bool,
    catalog: Catalog,
    yes: bool,
    base_url: str | None,
) -> Submitted:
    """Submit, and explain the refusal that ends it for many."""
    from ftkit.errors import ProviderError
    from ftkit.jobs.submit import submit

    files = [spec.training, *([spec.validation] if spec.validation else [])]
    try:
        with uploading(files) as told:
            return submit(
                spec, client, open_journal(), hashes=hashes, again=again, say=_say, progress=told
            )
    except KeyboardInterrupt:
        _say("ftkit: the same command goes on from here, and takes the job if there is one by now")
        raise
    except ProviderError as problem:
        if problem.code != "training_not_available":
            raise
        raise _closed(
            problem, client, catalog, base_url, ask=not yes and is_terminal(sys.stdin)
        ) from problem


def _closed(
    problem: ProviderError, client: Client, catalog: Catalog, base_url: str | None, ask: bool
) -> UsageError:
    """What to say where the account may not train; the files that were uploaded for nothing are offered for deletion."""
    files = " ".join(problem.uploaded)
    if (
        problem.uploaded
        and ask
        and click.confirm(
            f"ftkit: {problem}\nDelete {files}, uploaded just now?", default=False, err=True
        )
    ):
        for id in problem.uploaded:
            client.delete_file(id)
        kept = f"{files} was deleted"
    elif problem.uploaded:
        where = f" --provider {client.name}" + (f" --base-url {base_url}" if base_url else "")
        commands = " and ".join(f"`ftkit files delete {id}{where}`" for id in problem.uploaded)
        kept = f"the uploaded file stays: {commands} removes it"
    else:
        kept = "files of earlier uploads stay: `ftkit files list` shows them, `ftkit files delete` removes them"
    others = [name for name, each in catalog.providers.items() if each.api and name != client.name]
    return UsageError(
        f"{client.provider.title} takes no new jobs from this account ({problem.said}); {kept}. "
        f"Others that speak the protocol: {', '.join(others)}"
    )


def _show(spec: JobSpec, provider: str, hashes: tuple[str, str | None], catalog: Catalog) -> int:
    """Print the requests that would be sent."""
    from ftkit.catalog import find_provider
    from ftkit.jobs.spec import check, request
    from ftkit.jobs.uploads import upload_requests

    client = find_provider(provider, catalog)
    if client.api is None:
        raise UsageError(f"nothing is known of how to reach {client.title}")
    check(spec, client.api, client.title)
    files = [spec.training, *([spec.validation] if spec.validation else [])]
    requests = [
        each
        for file, sha256 in zip(files, hashes, strict=False)
        if sha256
        for each in upload_requests(file, sha256, client)
    ]
    second = "<id of the validation file>" if spec.validation else None
    body = request(spec, client.api, "<id of the training file>", second, "<id of the submission>")
    requests.append({"method": "POST", "path": "/fine_tuning/jobs", "body": body})
    print_json(requests)
    sys.stdout.flush()
    return 0
