"""`ftkit screen`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from ftkit._text import plural
from ftkit.cli.connection import open_client
from ftkit.cli.options import Configured, provider_options
from ftkit.cli.output import consent, print_fields, print_note, progress_bar
from ftkit.cli.preparing import preparing, print_findings, write_prepared
from ftkit.cli.terminal import preferences
from ftkit.errors import UsageError

if TYPE_CHECKING:
    from ftkit.prepare.prepared import Prepared
    from ftkit.prepare.screen.moderation import Moderation, ModerationPlan

KINDS = ("card", "iban", "phone", "email", "key")
OUTPUTS = ("output_file", "in_place", "map", "rejects")
"""Options for rows that are written."""

EXIT_CODES = (
    "Exit codes: 0 nothing found, or all of it redacted, 1 findings, or rows were rejected, "
    "2 error, 130 interrupted."
)


@click.command(cls=Configured, epilog=EXIT_CODES)
@preparing
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    help="Kind of values to find. Repeatable.  [default: all]",
)
@click.option(
    "--region",
    metavar="CC",
    help="Find telephone numbers as they are written in this country, too, such as DE.",
)
@click.option(
    "--redact",
    is_flag=True,
    help="Write the rows with each value replaced by what it is, such as [e-mail address].",
)
@click.option(
    "--moderation",
    is_flag=True,
    help="Send the texts to the provider's moderation model.",
)
@click.option(
    "--batch",
    is_flag=True,
    help="Send them as a batch, which has higher limits and takes up to a day.",
)
@click.option("--yes", "-y", is_flag=True, help="Skip the confirmation prompt.")
@provider_options
def screen(
    files: Sequence[str],
    kinds: Sequence[str],
    region: str | None,
    redact: bool,
    moderation: bool,
    batch: bool,
    yes: bool,
    provider: str,
    base_url: str | None,
    facts: str | None,
    **options: Any,
) -> int:
    """Find personal data and keys in FILES, and texts that are likely to be flagged.

    Payment cards, bank accounts, telephone numbers, e-mail addresses, API keys and tokens are found
    on this machine. The report shows only parts of them. Nothing is sent without --moderation.
    """
    _check_options(redact, moderation, batch or yes, options)
    with ExitStack() as stack:
        moderator = None
        if moderation:
            client = open_client(provider, base_url, facts)
            moderator = stack.enter_context(_moderation(client, batch, yes))

        def prepare(paths: list[str]) -> Prepared:
            from ftkit.prepare.screen.screen import screen as screen_files

            return screen_files(
                paths, kinds=kinds, region=region, redact=redact, moderation=moderator
            )

        if redact:
            return write_prepared(files, prepare, options)
        return print_findings(files, prepare, options["report"])


def _check_options(
    redact: bool, moderation: bool, is_sending: bool, options: dict[str, Any]
) -> None:
    """Raise `UsageError` if an option is given that has no effect."""
    for name in OUTPUTS:
        if options[name] and not redact:
            raise UsageError(f"`{name}` needs `redact`; without it nothing is written")
    if is_sending and not moderation:
        raise UsageError("`batch` and `yes` need `moderation`; without it nothing is sent")


@contextmanager
def _moderation(client: Any, batch: bool, yes: bool) -> Iterator[Moderation]:
    """Yield a moderation with a confirmation prompt, and then a progress bar."""
    from ftkit.prepare.screen.moderation import Moderation

    with ExitStack() as bar:
        update: Any = None

        def show(done: int, total: int) -> None:
            nonlocal update
            # Not before the first texts: a progress bar would be in the way of the prompt.
            update = update or bar.enter_context(progress_bar())
            update("moderating", done, total)

        yield Moderation(
            client=client,
            batch=batch,
            confirm=lambda plan: _confirm(plan, yes),
            on_progress=show,
            say=print_note,
        )


def _confirm(plan: ModerationPlan, yes: bool) -> bool:
    """Print what is to be sent, and ask for confirmation."""
    if not preferences.is_quiet:
        print_fields(_plan_fields(plan), err=True)
    return consent(f"Send {plural(plan.texts, 'text')} to {plan.client.provider.title}?", yes)


def _plan_fields(plan: ModerationPlan) -> list[tuple[str, str]]:
    api, address = plan.api, plan.client.address
    limit = api.input_characters.value
    size = f"{plural(plan.texts, 'text')} with {plan.characters:,} characters"
    cached = f"; the cache has {plan.cached:,} more" if plan.cached else ""
    rate = f"at the lowest limit of {api.tokens_per_minute.value:,} tokens a minute"
    return [
        ("send", f"{size}{cached}"),
        ("to", f"{api.model} at {plan.client.provider.title}, {address}"),
        ("cut", f"{plural(plan.cut, 'text')} after {limit:,} characters" if plan.cut else ""),
        ("requests", f"{plan.requests:,} {'in batches' if plan.is_batch else ''}".rstrip()),
        (
            "time",
            "up to 24 hours" if plan.is_batch else f"about {plural(plan.minutes, 'minute')} {rate}",
        ),
        ("cost", f"{api.cost} ({api.source}, {api.checked})"),
    ]
