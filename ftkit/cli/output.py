"""Terminal output: lines, lists and fields, JSON, prompts, progress bars."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from ftkit._text import printable, without_nan
from ftkit.cli.terminal import (
    clean,
    confirm,
    console,
    is_terminal,
    preferences,
    write,
    write_error,
    write_json,
)
from ftkit.errors import UsageError
from ftkit.report.columns import fields, table

T = TypeVar("T")

ROWS_PER_TABLE = 100
"""Rows that are aligned together; a longer list is printed in such pieces."""

MAX_WARNINGS = 10
"""Maximum number of warnings of one kind that are printed."""

PROGRESS_SECONDS = 10.0
"""Seconds between two lines about the progress of a command, without a terminal."""


class Columns(Struct, frozen=True):
    """Columns of a list.

    Attributes:
        head: Titles.
        row: Returns the cells of an item.
    """

    head: Sequence[str]
    row: Callable[[Any], Sequence[str]]


def print_line(text: str) -> None:
    """Print a line to standard output."""
    write(f"{printable(text)}\n")


def print_note(text: str) -> None:
    """Print a line about the progress of a command to standard error, unless `--quiet` is set."""
    if not preferences.is_quiet:
        write_error(f"{printable(text)}\n")


def print_warning(text: str) -> None:
    """Print a line about a problem to standard error, with the name of the program."""
    write_error(f"{printable(f'ftkit: {text}')}\n")


def print_warnings(texts: Sequence[str], summary: Callable[[int], str]) -> None:
    """Print the first `MAX_WARNINGS` warnings, and a summary of the number of the others."""
    for text in texts[:MAX_WARNINGS]:
        print_warning(text)
    if len(texts) > MAX_WARNINGS:
        print_warning(summary(len(texts) - MAX_WARNINGS))


def print_list(items: Iterable[Any], columns: Columns, output: str, name: str) -> None:
    """Print resources of the API as they arrive, as a table or as a JSON array.

    Args:
        items: Resources, each with its JSON object as `raw`.
        columns: Columns of the table.
        output: "text" or "json".
        name: Plural of the items, for the message about an empty list.
    """
    if output == "json":
        print_json_array(item.raw for item in items)
        return
    remaining, width, is_empty = iter(items), terminal_width(), True
    while batch := list(islice(remaining, ROWS_PER_TABLE)):
        rows = [[printable(cell) for cell in columns.row(item)] for item in batch]
        head = columns.head
        write(table([head, *rows], left=len(head), width=width))
        is_empty = False
    if is_empty:
        print_note(f"No {name}.")


def print_fields(pairs: Iterable[tuple[str, str]], err: bool = False) -> None:
    """Print names and values in two columns, without the empty values.

    Args:
        pairs: Names and values.
        err: Print to standard error.
    """
    if err:
        write_error(fields(pairs, shutil.get_terminal_size().columns))
    else:
        write(fields(pairs, terminal_width()))


def print_json(value: Any) -> None:
    """Print a JSON document."""
    write_json(_dumps(value, indent=2) + "\n")


def print_json_line(value: Any) -> None:
    """Print a JSON document on one line, as one of several."""
    write_json(_dumps(value) + "\n")


def print_json_array(values: Iterable[Any]) -> None:
    """Print a JSON array, one value on each line, as the values arrive."""
    separator = "[\n"
    try:
        for value in values:
            write_json(separator + _dumps(value))
            separator = ",\n"
    finally:  # after an error too, so that what was printed is valid
        if separator != "[\n":
            write_json("\n]\n")
    if separator == "[\n":
        write_json("[]\n")


def _dumps(value: Any, indent: int | None = None) -> str:
    """Return a JSON document; numbers that JSON does not have become null."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(without_nan(value), indent=indent, ensure_ascii=False)


def print_deleted(id: str, output: str) -> None:
    """Print that a resource has been deleted."""
    if output == "json":
        print_json({"id": id, "deleted": True})
    else:
        print_line(f"deleted {id}")


def terminal_width() -> int | None:
    """Return the width of standard output, or None if it is not a terminal."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None


def consent(question: str, yes: bool) -> bool:
    """Return the answer to a yes-or-no question, True without asking if `yes` is set.

    Raises:
        UsageError: Standard input is not a terminal.
    """
    if yes:
        return True
    if not is_terminal(sys.stdin):
        raise UsageError("confirmation required, but stdin is not a terminal; pass --yes")
    return confirm(question)


def first(items: Iterable[T], limit: int | None) -> Iterable[T]:
    """Return the first `limit` items, or all of them."""
    return items if limit is None else islice(items, limit)


def open_page(path: str | Path) -> None:
    """Open a page in the user's web browser."""
    page = Path(path).resolve()
    open_url(page.as_uri(), str(page))


def open_url(url: str, name: str = "") -> None:
    """Open an address in the user's web browser; messages call it by its name if it has one."""
    import webbrowser

    if not webbrowser.open(url):
        print_warning(f"no web browser was found; open {name or url} yourself")


def _progress_lines() -> Callable[[str, int, int], object]:
    """Return a function that prints a line about the progress at most every few seconds."""
    last = time.monotonic()

    def show(description: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS_SECONDS:
            last = now
            print_note(f"{description}: {done:,}{f' of {total:,}' if total else ''}")

    return show


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], object]]:
    """Show a progress bar on standard error, or a line every few seconds if it is no terminal.

    Yields:
        Function to call with a description, the number of steps done, and the total or 0.
    """
    if preferences.is_quiet:
        yield lambda description, done, total: None
        return
    if not is_terminal(sys.stderr):
        yield _progress_lines()
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(err=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(description: str, done: int, total: int) -> None:
            description = clean(description)
            is_new = description != bar.tasks[0].description
            bar.update(task, description=description, completed=done, total=total or None)
            if is_new:
                bar.refresh()

        yield show
