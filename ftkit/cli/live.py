"""The live view of a job on a terminal: status, losses, what happened last."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ftkit._text import printable
from ftkit.cli.service import when
from ftkit.client.resources import Event, Job
from ftkit.jobs.metrics import is_finite
from ftkit.jobs.watch import Update
from ftkit.report.metrics import sparkline

LAST = 8
"""Events that are shown."""


def show_live(looks: Iterable[Update]) -> Job:
    """Show the looks at a job until it is over, and return the job."""
    console = Console()
    view = View()
    with Live(view.render(console.width), console=console, refresh_per_second=4) as live:
        for look in looks:
            view.take(look)
            live.update(view.render(console.width), refresh=True)
    assert view.job
    return view.job


class View:
    """What is shown of a job."""

    def __init__(self) -> None:
        self.job: Job | None = None
        self.events: list[Event] = []
        self.losses: dict[str, list[float]] = {}
        self.step = self.steps = 0
        self.trouble = ""

    def take(self, look: Update) -> None:
        """Take in what a look has shown."""
        self.trouble = look.error
        self.job = look.job or self.job
        for event in look.events:
            step, steps = event.data.get("step"), event.data.get("total_steps")
            self.step = int(step) if is_finite(step) else self.step
            self.steps = int(steps) if is_finite(steps) else self.steps
            for name in ("train_loss", "valid_loss"):
                value = event.data.get(name)
                if is_finite(value):
                    self.losses.setdefault(name, []).append(float(value))
        self.events = [*self.events, *look.events][-LAST:]

    def render(self, width: int) -> Group:
        """The view for a terminal of that width."""
        if self.job is None:
            return Group(Text(self.trouble or "looking at the job ..."))
        job = self.job
        step = (
            f"  step {self.step:,}{f' of {self.steps:,}' if self.steps else ''}"
            if self.step
            else ""
        )
        left = (
            f"  done about {when(job.estimated_finish)} UTC"
            if job.estimated_finish and not job.is_over
            else ""
        )
        status = (printable(job.status), COLOURS.get(job.status, "cyan"))
        lines = [
            Text.assemble(
                (printable(job.id), "bold"), f"  {printable(job.model)}  ", status, step, left
            )
        ]
        for name, values in self.losses.items():
            lines.append(
                Text(f"{name:<10}  {sparkline(values, max(width - 30, 10))}  {values[-1]:.4g}")
            )
        lines += [
            Text(f"{when(event.created_at)}  {printable(event.message)}", style="dim", no_wrap=True)
            for event in self.events
        ]
        if self.trouble:
            lines.append(
                Text(f"{self.trouble}; trying again ({time.strftime('%H:%M:%S')})", style="yellow")
            )
        return Group(*lines)


COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "red", "canceled": "red"}
