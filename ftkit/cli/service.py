"""What the commands that talk to a service share: finding it, printing lists as they come, asking."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ftkit.cli import print_text
from ftkit.errors import UsageProblem
from ftkit.report.columns import table

if TYPE_CHECKING:
    from ftkit.journal import Journal
    from ftkit.providers import Service

T = TypeVar("T")

TOGETHER = 100
"""Rows that are put into columns together; a longer list is printed in such pieces."""


def open_service(provider: str, base_url: str | None, facts: str | None) -> Service:
    """The service that the options name."""
    from ftkit.facts import find_provider, load_catalog
    from ftkit.providers import connect

    catalog = load_catalog(facts)
    api = find_provider(provider, catalog).api if provider in catalog.providers else None
    if api and api.embedded and not base_url:
        from ftkit.local import data_folder, find_or_start

        base_url = find_or_start(data_folder(os.environ), lambda text: click.echo(text, err=True)).url
    return connect(provider, base_url or "", catalog=catalog)


def open_journal() -> Journal:
    """The journal of this user."""
    from ftkit.journal import Journal, state_folder

    return Journal(state_folder(os.environ))


def print_list(
    items: Iterable[T], head: Sequence[str], row: Callable[[T], Sequence[str]], raw: Callable[[T], Any], output: str
) -> None:
    """Print what a service lists, as it comes: rows in columns, or a JSON array of what the service sent."""
    if output == "json":
        first = True
        for item in items:
            print_text(("[\n" if first else ",\n") + json.dumps(raw(item), ensure_ascii=False))
            first = False
        print_text("[]\n" if first else "\n]\n")
        return
    rest = iter(items)
    while some := list(islice(rest, TOGETHER)):
        print_text(table([head, *map(row, some)], left=len(head)))


def print_one(raw: Any) -> None:
    """Print what the service sent."""
    print_text(json.dumps(raw, indent=2, ensure_ascii=False) + "\n")


def consent(question: str, yes: bool) -> bool:
    """Ask on the terminal; raises `UsageProblem` where there is none and `--yes` was not given."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageProblem("this asks first, and there is no terminal to ask on; --yes goes on without")
    return click.confirm(question, err=True)


def when(seconds: int | None) -> str:
    """A time as people write it, in UTC."""
    import datetime

    if not seconds:
        return "-"
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def at_most(items: Iterable[T], limit: int | None) -> Iterable[T]:
    """The first `limit` of the items, or all."""
    return chain(items) if limit is None else islice(items, limit)
