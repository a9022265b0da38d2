"""Live view of a job on a terminal: status, losses and latest events."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from rich.console import Group
from rich.live import Live
from rich.text import Text

from ftkit._text import format_time
from ftkit.cli.terminal import clean, console
from ftkit.client.resources import Event, Job
from ftkit.jobs.metrics import is_plottable, total_steps
from ftkit.jobs.watch import Update
from ftkit.report.metrics import sparkline

EVENT_COUNT = 8
"""Number of events in the view."""

STATUS_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "red", "canceled": "red"}


def show_live(updates: Iterable[Update]) -> Job:
    """Show the updates of a job until it ends, and return the job."""
    screen = console()
    view = View()
    with Live(view.render(screen.width), console=screen, refresh_per_second=4) as live:
        for update in updates:
            view.apply(update)
            live.update(view.render(screen.width), refresh=True)
    assert view.job
    return view.job


class View:
    """State of a job as it is shown.

    Args:
        event_count: Number of events that are shown: the latest.
    """

    def __init__(self, event_count: int = EVENT_COUNT) -> None:
        self._event_count = event_count
        self.job: Job | None = None
        self.events: list[Event] = []
        self.losses: dict[str, list[float]] = {}
        self.step = self.total_steps = 0
        self.error = ""

    def apply(self, update: Update) -> None:
        """Add an update to the view."""
        self.error = update.error
        self.job = update.job or self.job
        for event in update.events:
            step = event.data.get("step")
            self.step = int(step) if is_plottable(step) else self.step
            self.total_steps = total_steps(event.data) or self.total_steps
            for name in ("train_loss", "valid_loss"):
                loss = event.data.get(name)
                if is_plottable(loss):
                    self.losses.setdefault(name, []).append(float(loss))
        self.events = [*self.events, *update.events][-self._event_count :]

    def render(self, width: int) -> Group:
        """Return the view for a terminal of this width."""
        return Group(self.summary(), *self._details(width) if self.job else ())

    def summary(self) -> Text:
        """Return the line with the status of the job."""
        if self.job is None:
            return _text(self.error or "looking up the job ...")
        return _text_of_job(self.job, self._progress())

    def _progress(self) -> str:
        if not self.step:
            return ""
        return f"  step {self.step:,}{f' of {self.total_steps:,}' if self.total_steps else ''}"

    def _details(self, width: int) -> Iterator[Text]:
        for name, losses in self.losses.items():
            chart = sparkline(losses, max(width - 30, 10))
            yield _text(f"{name:<10}  {chart}  {losses[-1]:.4g}")
        for event in self.events:
            yield _text(f"{format_time(event.created_at)}  {event.message}", "dim", no_wrap=True)
        if self.error:
            yield _text(f"{self.error}; trying again ({time.strftime('%H:%M:%S')})", "yellow")


def _text_of_job(job: Job, progress: str) -> Text:
    is_estimated = job.estimated_finish and not job.is_over
    finish = f"  done about {format_time(job.estimated_finish)} UTC" if is_estimated else ""
    return Text.assemble(
        _text(job.id, "bold"),
        _text(f"  {job.model}  "),
        _text(job.status, STATUS_COLOURS.get(job.status, "cyan")),
        _text(progress),
        _text(finish),
    )


def _text(text: str, style: str = "", no_wrap: bool | None = None) -> Text:
    """Return styled text, without secrets and escaped so that it cannot control the terminal."""
    return Text(clean(text), style=style, no_wrap=no_wrap)
