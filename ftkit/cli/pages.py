"""HTML pages of commands: checks before the work, what made a page, and writing it."""

from __future__ import annotations

import datetime
import os
import re
import sys
from collections.abc import Sequence

import click

from ftkit._atomic import check_writable
from ftkit._text import shell_join
from ftkit._version import __version__
from ftkit.cli.command import OUTPUT_FILE_KEY, refuse_output_over_settings
from ftkit.cli.output import open_page, print_note
from ftkit.errors import UsageError

USER_INFO = re.compile(r"://[^/\s]*@")
"""User name and password in a URL."""


def check_page(page: str | None, opens: bool, inputs: Sequence[str | None]) -> None:
    """Raise an error if the page cannot be written, or would replace a file that is read.

    Args:
        page: The file to write, or None for no page.
        opens: True if it is to be opened.
        inputs: Paths of the files that are read, or None.
    """
    if page is None:
        if opens:
            raise UsageError("--open needs --html")
        return
    check_page_file(page)
    for path in filter(None, inputs):
        if os.path.exists(page) and os.path.exists(path) and os.path.samefile(path, page):
            raise UsageError(f"--html {page} would replace an input; name another file")


def check_page_file(page: str) -> None:
    """Raise an error if a page cannot be written to a file, or would replace settings or output."""
    if page == "-":
        raise UsageError("--html must name a file, not -")
    refuse_output_over_settings(page, "--html")
    output = click.get_current_context().meta.get(OUTPUT_FILE_KEY)
    if output is not None and os.path.realpath(output) == os.path.realpath(page):
        raise UsageError(f"--html and --output-file must be different files, not both {page}")
    check_writable(page)


def write_page(path: str, text: str, opens: bool, is_quiet: bool = False) -> None:
    """Write a page to a file, name it unless `is_quiet`, and open it if `opens` is set."""
    from ftkit.pages.page import write_html

    write_html(path, text)
    if not is_quiet:
        print_note(f"wrote {path}")
    if opens:
        open_page(path)


def origin() -> tuple[str, ...]:
    """Return the date and the version, for the head of a page."""
    return f"{datetime.date.today():%Y-%m-%d}", f"ftkit {__version__}"


def command_line() -> str:
    """Return the command that runs, as a shell reads it, without passwords in URLs."""
    return USER_INFO.sub("://…@", shell_join(["ftkit", *sys.argv[1:]]))
