"""What the commands that talk to a service share: finding it, printing lists as they come, asking."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ftkit._text import printable
from ftkit.cli import print_text
from ftkit.errors import UsageError
from ftkit.report.columns import fields, table

if TYPE_CHECKING:
    from ftkit.client.client import Client
    from ftkit.jobs.journal import Journal

T = TypeVar("T")

LAST = "@last"
"""The name of the model that the job made which was submitted last from here."""

TOGETHER = 100
"""Rows that are put into columns together; a longer list is printed in such pieces."""


def open_service(provider: str, base_url: str | None, facts: str | None) -> Client:
    """The service that the options name."""
    from ftkit.catalog import find_provider, load_catalog
    from ftkit.client.connect import connect
    from ftkit.client.credentials import find_address

    catalog = load_catalog(facts)
    api = find_provider(provider, catalog).api if provider in catalog.providers else None
    if api and api.embedded and not (base_url or find_address(provider, os.environ)):
        from ftkit._local import data_folder
        from ftkit.server.daemon import find_or_start

        base_url = find_or_start(
            data_folder(os.environ), lambda text: click.echo(text, err=True)
        ).url
    return connect(provider, base_url or "", catalog=catalog)


def open_journal() -> Journal:
    """The journal of this user."""
    from ftkit.jobs.journal import Journal, state_folder

    return Journal(state_folder(os.environ))


def named_model(client: Client, model: str) -> str:
    """The id of the model, which may be `LAST`."""
    if model != LAST:
        return model
    job = open_journal().last_job_id(client.account)
    if not job:
        raise UsageError(f"{LAST}: no job was submitted from here to {client.provider.title}")
    found = client.job(job)
    if not found.fine_tuned_model:
        raise UsageError(f"{LAST}: the job {job} is {found.status}, and has made no model")
    return found.fine_tuned_model


def print_list(
    items: Iterable[T],
    head: Sequence[str],
    row: Callable[[T], Sequence[str]],
    raw: Callable[[T], Any],
    output: str,
    long: Sequence[int] = (),
) -> None:
    """Print what a service lists, as it comes: rows in columns, or a JSON array of what the service sent.

    `long` are the columns that may be cut to fit a terminal.
    """
    if output == "json":
        first = True
        for item in items:
            print_text(("[\n" if first else ",\n") + json.dumps(raw(item), ensure_ascii=False))
            first = False
        print_text("[]\n" if first else "\n]\n")
        return
    rest, width, found = iter(items), terminal_width(), False
    while some := list(islice(rest, TOGETHER)):
        rows = [[printable(cell) for cell in row(item)] for item in some]
        print_text(table([head, *rows], left=len(head), width=width, long=long))
        found = True
    if not found:
        click.echo("ftkit: there are none", err=True)


def terminal_width() -> int | None:
    """The columns of the terminal that is printed on; None where there is none, and nothing is cut."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None


def print_fields(pairs: Iterable[tuple[str, str]], err: bool = False) -> None:
    """Print names and values in two columns; those without a value are left out. `err` sends them to standard error."""
    if err:
        click.echo(fields(pairs, shutil.get_terminal_size().columns), nl=False, err=True)
    else:
        print_text(fields(pairs, terminal_width()))


def is_terminal(stream: Any) -> bool:
    """Whether the stream is one, and open: a service manager may start a command with none."""
    return stream is not None and stream.isatty()


def print_one(raw: Any) -> None:
    """Print what the service sent."""
    print_text(json.dumps(raw, indent=2, ensure_ascii=False) + "\n")


def print_json_line(raw: Any) -> None:
    """Print one of several JSON documents, each on a line."""
    print_text(json.dumps(raw, ensure_ascii=False) + "\n")


def print_deleted(id: str, output: str) -> None:
    """Print that something is no longer at the service."""
    if output == "json":
        print_one({"id": id, "deleted": True})
    else:
        print_text(f"deleted {id}\n")


def consent(question: str, yes: bool) -> bool:
    """Ask on the terminal; raises `UsageError` where there is none and `--yes` was not given."""
    if yes:
        return True
    if not is_terminal(sys.stdin):
        raise UsageError(
            "this asks first, and there is no terminal to ask on; --yes goes on without"
        )
    return click.confirm(question, err=True)


def when(seconds: int | None) -> str:
    """A time as people write it, in UTC."""
    import datetime

    if not seconds:
        return "-"
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "-"


def minute(seconds: int | None) -> str:
    """A time to the minute, for lists."""
    return when(seconds)[:16]


def at_most(items: Iterable[T], limit: int | None) -> Iterable[T]:
    """The first `limit` of the items, or all."""
    return chain(items) if limit is None else islice(items, limit)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], object]]:
    """A progress bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total or None
        )
