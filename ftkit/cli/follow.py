"""Following of a job until it ends: a live view on a terminal, lines of text, or JSON lines."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ftkit._text import format_time
from ftkit.cli.connection import command_line, recording_ids
from ftkit.cli.output import print_json_line, print_line, print_note, print_warning
from ftkit.cli.terminal import is_terminal

if TYPE_CHECKING:
    from ftkit.client.client import Client
    from ftkit.client.resources import Event, Job
    from ftkit.jobs.watch import Update


def follow_job(client: Client, id: str, output: str) -> int:
    """Print the progress of a job until it ends, and return the exit code."""
    from ftkit.jobs.watch import watch as poll

    try:
        job = _show_updates(_recorded(client, poll(client, id)), output)
    except KeyboardInterrupt:
        command = command_line("jobs", "watch", id)
        print_warning(f"the job continues; follow it again with: {command}")
        raise
    if job.status != "succeeded":
        error = f": {job.error.rstrip('.')}" if job.error else ""
        command = command_line("jobs", "doctor", id)
        print_warning(f"job {id} {job.status}{error}. Run: {command}")
        return 1
    if output == "text":
        print_line(f"model {job.fine_tuned_model}")
        print_note(f"Chat with it: {command_line('chat', job.fine_tuned_model)}")
    return 0


def _recorded(client: Client, updates: Iterable[Update]) -> Iterator[Update]:
    """Yield updates, and record the job at the first one and its model at the end."""
    is_recorded = False
    for update in updates:
        if update.job and (update.job.is_over or not is_recorded):
            list(recording_ids(client, "job", [update.job]))
            is_recorded = True
        yield update


def _show_updates(updates: Iterable[Update], output: str) -> Job:
    """Print the updates of a job in the format of the output, and return the job at its end."""
    if output == "json":
        return _show_json(updates)
    if is_terminal(sys.stdout):
        from ftkit.cli.live import show_live

        return show_live(updates)
    return _show_lines(updates)


def _show_json(updates: Iterable[Update]) -> Job:
    """Print a JSON line for each event and for each change of the job."""
    job: Job | None = None
    for update in updates:
        if update.error:
            print_json_line({"trouble": update.error})
        for event in update.events:
            print_json_line({"event": event.raw})
        if update.job and (job is None or update.job.raw != job.raw):
            print_json_line({"job": update.job.raw})
        job = update.job or job
    assert job
    return job


def _show_lines(updates: Iterable[Update]) -> Job:
    """Print a line for each event and for each change of the status."""
    job: Job | None = None
    for update in updates:
        if update.error:
            print_warning(f"{update.error}; trying again")
        for event in update.events:
            print_line(event_line(event))
        if update.job and (job is None or update.job.status != job.status):
            now = datetime.datetime.now(datetime.UTC)
            print_line(f"{format_time(now)}  status: {update.job.status}")
        job = update.job or job
    assert job
    return job


def event_line(event: Event) -> str:
    """Return an event as a line of text."""
    level = "" if event.level == "info" else f"{event.level}: "
    return f"{format_time(event.created_at)}  {level}{event.message}"
