"""Measure the dashboard's list of jobs: python benchmarks/dashboard.py [--jobs 1000] [--events 100000].

The service runs in a process of its own, and the pages are requested over HTTP on loopback. The jobs
are paused, since the service keeps the progress of finished ones in memory. Their events are written
in turns, so those of a job are spread over the database.

The result is a table in Markdown.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from store import Row, insert, job_rows, new_job, row_of

from ftkit._local import find_running
from ftkit.server.auth import LOCAL_TENANT
from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.objects import EventObject, JobObject

PAGES = {
    "newest jobs": "/",
    "last page": "/?page=1000000",
    "by validation loss": "/?sort=valid_loss",
    "search": "/?q=supp",
    "one status": "/?status=paused",
}
"""Paths of the pages that are measured."""

REPEATS = 20
"""Number of times that each page is requested."""


def event_rows(jobs: list[JobObject], count: int) -> Iterator[Row]:
    """Yield the rows of events with losses, in turns; each tenth one is a validation."""
    steps = count // len(jobs)
    for step in range(steps):
        name = "valid_loss" if step % 10 == 9 else "train_loss"
        for number, job in enumerate(jobs):
            yield row_of(
                EventObject(
                    id=f"ftevent-{step:012}{number:012}",
                    tenant=job.tenant,
                    parent=job.id,
                    message=f"Step {step + 1}/{steps}: training loss=1.23",
                    type="metrics",
                    data={"step": step + 1, "total_steps": steps, name: 2 - step / steps},
                )
            )


def fill(folder: Path, jobs: int, events: int) -> None:
    """Write the database of a service."""
    database = Database(Folder(folder).database, durable=False)
    stored = [new_job(LOCAL_TENANT, "paused") for _ in range(jobs)]
    for job in stored:
        job.validation_file = job.training_file
    insert(database, job_rows(stored))
    insert(database, event_rows(stored, events))
    database.close()


def measure(address: str, path: str) -> list[float]:
    """Return the seconds that each request of a page took, over one connection."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        times.append(time.perf_counter() - start)
        assert response.status == 200, path
    connection.close()
    return times


def main() -> None:
    """Fill a database, start a service and measure its pages."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "data")
        fill(folder, options.jobs, options.events)
        environment = {**os.environ, "FTKIT_STATE_DIR": str(Path(name, "state"))}
        command = [sys.executable, "-m", "ftkit", "serve", "--port", "0", "--data-dir", str(folder)]
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                while not (running := find_running(folder)):
                    assert process.poll() is None
                    time.sleep(0.1)
                print(
                    "| page | first request | median | slowest of the others |\n|---|---|---|---|"
                )
                for title, path in PAGES.items():
                    first, *others = (1000 * seconds for seconds in measure(running.url, path))
                    median, slowest = statistics.median(others), max(others)
                    print(f"| {title} | {first:.0f} ms | {median:.0f} ms | {slowest:.0f} ms |")
            finally:
                process.terminate()


if __name__ == "__main__":
    main()
