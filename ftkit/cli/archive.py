"""`ftkit archive`."""

from __future__ import annotations

import datetime
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftkit.cli.command import Command
from ftkit.cli.connection import open_client
from ftkit.cli.options import Configured, Day, Status, output_option, provider_options
from ftkit.cli.output import consent, print_note, print_warning, progress_bar
from ftkit.cli.terminal import write, write_json
from ftkit.errors import UsageError

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

MAX_SKIPPED = 10
"""Maximum number of jobs without prompts that are listed."""


class ArchiveCommand(Configured):
    """`ftkit archive DIR`, with the subcommand `ftkit archive verify DIR`."""

    def make_context(
        self, info_name: str | None, args: list[str], *more: Any, **extra: Any
    ) -> click.Context:
        """Parse the arguments of the subcommand if it is named, else those of the command."""
        if args[:1] == ["verify"]:
            return verify.make_context(f"{info_name} verify", args[1:], *more, **extra)
        return super().make_context(info_name, args, *more, **extra)


@click.command(cls=Command, epilog=VERIFY_EXIT_CODES)
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


@click.command(cls=ArchiveCommand, epilog=EXIT_CODES)
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
@click.option("--yes", "-y", is_flag=True, help="Skip the confirmation prompt.")
@output_option
def archive(
    folder: str,
    provider: str,
    base_url: str | None,
    facts: str | None,
    since: datetime.date | None,
    status: str | None,
    no_files: bool,
    prompts: str | None,
    sample: int | None,
    yes: bool,
    output: str,
) -> int:
    """Save all jobs, files and models of an account to DIR, or update the archive in DIR.

    All requests are read-only. `ftkit archive verify DIR` checks an archive.
    """
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
    return 1 if result.retryable or result.damaged else 0


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
    for id in plan.skipped[:MAX_SKIPPED]:
        print_warning(f"no prompts for job {id}: its data is missing or has none")
    if len(plan.skipped) > MAX_SKIPPED:
        more = len(plan.skipped) - MAX_SKIPPED
        print_warning(f"no prompts for {more:,} more jobs")
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
