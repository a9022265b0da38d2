"""`ftkit archive`."""

from __future__ import annotations

import datetime
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ftkit._text import plural, shell_join
from ftkit.cli.connection import open_client
from ftkit.cli.options import Day, Group, Status, open_option, output_option, provider_options
from ftkit.cli.output import (
    consent,
    open_page,
    print_note,
    print_warning,
    print_warnings,
    progress_bar,
)
from ftkit.cli.terminal import write, write_json
from ftkit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from ftkit.archive.record import RecordingPlan
    from ftkit.archive.sync import Selection
    from ftkit.catalog import Catalog
    from ftkit.client.client import Client

EXIT_CODES = (
    "Exit codes: 0 the archive is complete, 1 run the command again for the rest, 2 error,"
    " 130 interrupted."
)
VERIFY_EXIT_CODES = (
    "Exit codes: 0 all files are intact, 1 files differ or another run can fetch more, 2 error."
)


class ArchiveGroup(Group):
    """Group that also takes `ftkit archive DIR` for `ftkit archive save DIR`.

    DIR must be a path with a separator, or exist. Any other word may be a misspelled command, which
    must not create a folder of that name.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the command `save` before a folder."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            options = click.Command.make_context(save, "save", list(args), resilient_parsing=True)
            folder = options.params["folder"]
            if folder is not None and not is_path(folder):
                suggestion = did_you_mean(folder, self.commands)
                advice = f"{suggestion} To" if suggestion else "; to"
                command = shell_join(["ftkit", "archive", "save", folder])
                raise UsageError(
                    f"there is no command {folder!r}{advice} save an archive to a new folder of "
                    f"that name, run: {command}"
                )
            args = ["save", *args]
        return super().parse_args(ctx, args)


def is_path(name: str) -> bool:
    """Return True if a name can only be a path."""
    return os.path.exists(name) or bool({"/", os.sep} & set(name))


@click.group(cls=ArchiveGroup)
def archive() -> None:
    """Save an account's jobs, files and results to a folder, and verify it."""


@archive.command(epilog=EXIT_CODES)
@click.argument("folder", metavar="DIR")
@provider_options
@click.option(
    "--since", type=Day(), metavar="DATE", help="Only jobs created on that day (UTC) or later."
)
@click.option("--status", type=Status(), metavar="STATUS", help="Only jobs with that status.")
@click.option("--no-files", is_flag=True, help="Leave out training and validation files.")
@click.option(
    "--prompts",
    metavar="FILE",
    help="Record the answers of each fine-tuned model to these prompts.",
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Record the answers of each fine-tuned model to N prompts of its own data.",
)
@open_option
@click.option("--yes", "-y", is_flag=True, help="Skip the confirmation prompt.")
@output_option
def save(
    folder: str,
    provider: str,
    base_url: str | None,
    facts: str | None,
    since: datetime.date | None,
    status: str | None,
    no_files: bool,
    prompts: str | None,
    sample: int | None,
    opens: bool,
    yes: bool,
    output: str,
) -> int:
    """Save all jobs, files and models of an account to DIR, or update the archive in DIR.

    All requests are read-only.
    """
    from ftkit.archive.layout import INDEX
    from ftkit.archive.report import render_sync_json, render_sync_text
    from ftkit.archive.sync import Selection, sync
    from ftkit.catalog import load_catalog
    from ftkit.compare.recordings import read_prompts

    if prompts and sample:
        raise UsageError("--prompts and --sample cannot be combined")
    if prompts:
        read_prompts(prompts)
    if (prompts or sample) and not yes and not sys.stdin.isatty():
        consent("", yes)
    catalog, selection = load_catalog(facts), Selection(since, status, not no_files)
    client = open_client(provider, base_url, facts)
    with progress_bar() as on_progress:
        result = sync(client, Path(folder), selection, catalog=catalog, on_progress=on_progress)
    if prompts or sample:
        plan = _plan_recording(client, folder, selection, catalog, prompts, sample)
        if plan.requests and not _record(client, folder, plan, catalog, yes):
            print_warning("no answers were recorded")
    result = result.reload()
    if output == "json":
        write_json(render_sync_json(result))
    else:
        write(render_sync_text(result))
    if opens:
        open_page(Path(folder) / INDEX)
    return 1 if result.retryable or result.damaged else 0


@archive.command(epilog=VERIFY_EXIT_CODES)
@click.argument("folder", metavar="DIR")
@output_option
def verify(folder: str, output: str) -> int:
    """Check every file of the archive in DIR by its hash, and report what is missing.

    Needs neither a network connection nor an API key.
    """
    from ftkit.archive.report import render_verify_json, render_verify_text
    from ftkit.archive.verify import verify as check

    with progress_bar() as on_progress:
        result = check(folder, partial(on_progress, "checking"))
    if output == "json":
        write_json(render_verify_json(result))
    else:
        write(render_verify_text(result))
    return 0 if result.ok else 1


def _plan_recording(
    client: Client,
    folder: str,
    selection: Selection,
    catalog: Catalog,
    prompts: str | None,
    sample: int | None,
) -> RecordingPlan:
    """Plan the requests, and report the jobs without prompts."""
    from ftkit.archive.record import plan_recording

    plan = plan_recording(
        client, Path(folder), catalog, selection=selection, prompts=prompts, sample=sample
    )
    print_warnings(
        [f"no prompts for job {id}: its data is missing or has none" for id in plan.skipped],
        lambda more: f"no prompts for {plural(more, 'more job')}",
    )
    return plan


def _record(client: Client, folder: str, plan: RecordingPlan, catalog: Catalog, yes: bool) -> bool:
    """Print the cost, ask for confirmation, and record; return False if the user declines."""
    from ftkit.archive.record import record

    print_note(f"  recording  {_cost(plan)}")
    if not consent(f"Send {plan.requests:,} requests?", yes):
        return False
    answered = 0
    with progress_bar() as on_progress:

        def on_answer() -> None:
            nonlocal answered
            answered += 1
            on_progress("recording answers", answered, plan.requests)

        record(client, Path(folder), plan, catalog, on_answer)
    return True


def _cost(plan: RecordingPlan) -> str:
    """Return the numbers of models, prompts and tokens, and the price, as far as they are known."""
    from ftkit._text import money

    bills = plan.bills
    parts = [f"{plan.requests:,} prompts to {len(bills):,} models"]
    input_tokens = [bill.input_tokens for bill in bills if bill.input_tokens is not None]
    output_tokens = [bill.output_tokens for bill in bills if bill.output_tokens is not None]
    if len(input_tokens) == len(bills):
        is_known = len(output_tokens) == len(bills)
        output = f"{sum(output_tokens):,}" if is_known else "an unknown number of"
        parts.append(f"about {sum(input_tokens):,} input tokens and {output} output tokens")
    prices = [bill.usd for bill in bills if bill.usd is not None]
    if prices:
        sources = sorted({bill.source for bill in bills if bill.usd is not None})
        parts.append(f"about {money(sum(prices))} ({', '.join(sources)})")
    if len(prices) < len(bills):
        parts.append(f"cost unknown for {len(bills) - len(prices):,} models")
    return ", ".join(parts)
