"""Live view of a running service on its terminal: the jobs that run, and those that wait.

Each running job looks as in `ftkit jobs watch`. Log lines appear above the view, and so does a line
for each job that ends.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ftkit._text import join_names
from ftkit.cli.live import View
from ftkit.cli.output import print_note
from ftkit.cli.terminal import console, is_terminal, preferences
from ftkit.client.resources import Event, Job
from ftkit.jobs.watch import Update
from ftkit.server.database import Database, PageQuery
from ftkit.server.folder import Folder
from ftkit.server.objects import UNFINISHED, EventObject, JobObject

POLL_SECONDS = 1.0
"""Seconds between two looks at the jobs."""

SHOWN_JOBS = 4
"""Maximum number of running jobs in the view: the oldest."""

SHOWN_EVENTS = 1
"""Number of events of each job."""

EVENTS_PER_POLL = 1_000
"""Maximum number of events of a job that are read at a time."""

RUNNING = ("running", "pausing")
"""Statuses of the jobs that are shown one by one."""


@contextmanager
def live_view(folder: Folder) -> Iterator[Callable[[str], None]]:
    """Show the jobs of a service on standard error if that is a terminal.

    Yields:
        Function to call with a message once the service accepts requests.
    """
    if preferences.is_quiet or not is_terminal(sys.stderr):
        yield print_note
        return
    screen = console(err=True)
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        thread = ServiceView(folder, live, screen)

        def start(message: str) -> None:
            print_note(message)
            thread.start()

        try:
            yield start
        finally:
            thread.stop()


class ServiceView(threading.Thread):
    """Thread that draws the jobs of a service.

    Args:
        folder: Data folder of the service.
        live: Where the jobs are drawn.
        screen: Console of `live`, for lines above it.
    """

    def __init__(self, folder: Folder, live: Live, screen: Console) -> None:
        super().__init__(name="view", daemon=True)
        self._folder, self._live, self._screen = folder, live, screen
        self._views: dict[str, View] = {}
        self._last_events: dict[str, str] = {}
        self._stopping = threading.Event()

    def run(self) -> None:
        """Draw until `stop` is called."""
        database = Database(self._folder.database)
        try:
            while not self._stopping.wait(POLL_SECONDS):
                try:
                    self._poll(database)
                except sqlite3.Error:  # such as a full disk, which the service reports
                    continue
        finally:
            database.close()

    def stop(self) -> None:
        """Stop the thread, if it was started."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def _poll(self, database: Database) -> None:
        running = database.matching(JobObject, *RUNNING)
        shown = running[:SHOWN_JOBS]
        for id in self._views.keys() - {job.id for job in shown}:
            self._end(database, id)
        for job in shown:
            events = self._new_events(database, job)
            view = self._views.setdefault(job.id, View(SHOWN_EVENTS))
            view.apply(Update(Job.read(job.public()), events))
        counts = database.count_by_status(JobObject)
        counts["running"] = len(running) - len(shown)
        width = self._screen.width
        parts = [view.render(width) for view in self._views.values()]
        self._live.update(Group(*parts, *_others(counts)), refresh=True)

    def _new_events(self, database: Database, job: JobObject) -> tuple[Event, ...]:
        """Return the next events of a job, the oldest first."""
        after = self._last_events.get(job.id, "")
        query = PageQuery(parent=job.id, after=after, limit=EVENTS_PER_POLL, oldest_first=True)
        page, _ = database.page(EventObject, job.tenant, query)
        events = tuple(Event.read(json.loads(event)) for event in page)
        if events:
            self._last_events[job.id] = events[-1].id
        return events

    def _end(self, database: Database, id: str) -> None:
        """Take a job out of the view, and print a line above the view on what became of it."""
        view = self._views.pop(id)
        self._last_events.pop(id, None)
        job = database.get(JobObject, id)
        if job:
            view.apply(Update(Job.read(job.public()), ()))
            self._screen.print(view.summary())


def _others(counts: dict[str, int]) -> Iterator[Text]:
    """Yield a line with the numbers of the jobs that are not shown one by one."""
    numbers = [f"{counts[name]:,} {name}" for name in UNFINISHED if counts.get(name)]
    if numbers:
        yield Text(f"more jobs: {join_names(numbers, 200)}", "dim")
