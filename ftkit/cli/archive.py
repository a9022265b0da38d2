"""`ftkit archive`."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftkit.cli import print_text
from ftkit.cli.connection import open_client
from ftkit.cli.options import Configured, Day, Status, output_option, service_options
from ftkit.cli.output import consent, progress_bar
from ftkit.errors import UsageError

if TYPE_CHECKING:
    from ftkit.archive.record import Planned
    from ftkit.archive.sync import Wanted
    from ftkit.catalog import Catalog
    from ftkit.client.client import Client

ENDS = "Exit codes: 0 all is here that the service has, 1 run it again for the rest, 2 ftkit could not do it, 130 interrupted."
VERIFY_ENDS = "Exit codes: 0 all is as it was written, 1 it is not, or not all is here that can be had, 2 ftkit could not do it."


class WithVerify(Configured):
    """`ftkit archive DIR`, and `ftkit archive verify DIR`."""

    def make_context(
        self, info_name: str | None, args: list[str], *more: Any, **extra: Any
    ) -> click.Context:
        if args[:1] == ["verify"]:
            return verify.make_context(f"{info_name} verify", args[1:], *more, **extra)
        return super().make_context(info_name, args, *more, **extra)


@click.command(epilog=VERIFY_ENDS)
@click.argument("folder", metavar="DIR")
@output_option
def verify(folder: str, output: str) -> int:
    """Check every file of the archive in DIR by its hash, and say what is incomplete. Needs no network and no key."""
    from ftkit.archive.report import render_verified_json, render_verified_text
    from ftkit.archive.verify import verify as check

    with progress_bar() as told:
        found = check(folder, lambda done, total: told("checking", done, total))
    print_text((render_verified_json if output == "json" else render_verified_text)(found))
    return 0 if found.ok else 1


@click.command(cls=WithVerify, epilog=ENDS)
@click.argument("folder", metavar="DIR")
@service_options
@click.option(
    "--since", type=Day(), metavar="DATE", help="Only jobs created on that day (UTC) or later."
)
@click.option("--status", type=Status(), metavar="STATUS", help="Only jobs of this status.")
@click.option("--no-files", is_flag=True, help="Leave training and validation files out.")
@click.option(
    "--prompts", metavar="FILE", help="Record each tuned model's answers to these prompts."
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Record answers to N prompts of each job's own data.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
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
    """Save everything that the account holds about fine-tuning into DIR; run again, fetch what is new.

    Nothing is changed at the service. `ftkit archive verify DIR` checks an archive.
    """
    from ftkit.archive.report import render_saved_json, render_saved_text
    from ftkit.archive.sync import Wanted, save
    from ftkit.catalog import load_catalog
    from ftkit.compare.recordings import read_prompts

    if prompts and sample:
        raise UsageError("--prompts and --sample both say what to ask; give one of them")
    if prompts:
        read_prompts(prompts)
    if (prompts or sample) and not yes and not sys.stdin.isatty():
        consent("", yes)
    catalog, wanted = load_catalog(facts), Wanted(since, status, not no_files)
    client = open_client(provider, base_url, facts)
    with progress_bar() as told:
        saved = save(client, Path(folder), wanted, catalog=catalog, told=told)
    if (prompts or sample) and not _record(client, folder, wanted, catalog, prompts, sample, yes):
        click.echo("ftkit: no answers were recorded", err=True)
    saved = saved.again()
    print_text((render_saved_json if output == "json" else render_saved_text)(saved))
    return 1 if saved.unfinished or saved.damaged else 0


def _record(
    client: Client,
    folder: str,
    wanted: Wanted,
    catalog: Catalog,
    prompts: str | None,
    sample: int | None,
    yes: bool,
) -> bool:
    """Say what answers cost, ask, and record them; False where the user does not want it."""
    from ftkit.archive.record import plan, record

    planned = plan(client, Path(folder), catalog, wanted=wanted, prompts=prompts, sample=sample)
    for id in planned.skipped[:10]:
        click.echo(
            f"ftkit: no prompts for the job {id}: its data is not here, or holds none", err=True
        )
    if len(planned.skipped) > 10:
        click.echo(f"ftkit: and none for {len(planned.skipped) - 10:,} more jobs", err=True)
    if not planned.requests:
        return True
    click.echo(f"  ask  {_cost(planned)}", err=True)
    if not consent(f"Send {planned.requests:,} requests?", yes):
        return False
    done = 0
    with progress_bar() as told:

        def count() -> None:
            nonlocal done
            done += 1
            told("asking", done, planned.requests)

        record(client, Path(folder), planned, catalog, count)
    return True


def _cost(planned: Planned) -> str:
    """What asking takes, as far as it is known."""
    from ftkit._text import money

    bills = planned.bills
    parts = [f"{len(bills):,} models {planned.requests:,} prompts"]
    taken, made = (
        [getattr(each, name) for each in bills] for name in ("input_tokens", "output_tokens")
    )
    if None not in taken:
        parts += [
            f"about {sum(taken):,} tokens in, {'nobody knows how many' if None in made else f'{sum(made):,}'} out"
        ]
    known = [each for each in bills if each.usd is not None]
    sources = ", ".join(sorted({each.source for each in known}))
    parts += [f"about {money(sum(each.usd or 0 for each in known))} ({sources})"] if known else []
    parts += (
        [f"cost not known for {len(bills) - len(known):,} models"]
        if len(known) < len(bills)
        else []
    )
    return ", ".join(parts)
