"""Measure the dashboard's lists: python benchmarks/dashboard.py [--jobs N] [--events N] [--files N].

The service runs in a process of its own, and the pages are requested over HTTP on loopback. The jobs
are paused, since the service keeps the progress of finished ones in memory. Their events are written
in turns, so those of a job are spread over the database.

The result is a table in Markdown, the memory of the service, and the time of the first page after
its start: at once, and a second later.
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
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from store import Row, insert, job_rows, new_job, row_of

from ftkit._local import find_running
from ftkit.server.auth import LOCAL_TENANT
from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.objects import EventObject, FileObject, JobObject

PAGES = {
    "newest jobs": "/",
    "last page": "/?page=1000000",
    "by validation loss": "/?sort=valid_loss",
    "search": "/?q=supp",
    "one status": "/?status=paused",
    "newest files": "/files",
    "oldest files": "/files?after={oldest}",
    "files by name": "/files?q=file-77.jsonl",
    "files by a name that none has": "/files?q=no-such-name",
    "a file": "/files/{oldest}",
    "new job": "/new",
}
"""Paths of the pages that are measured; `{oldest}` is the id of a file near the end of the list."""

REPEATS = 20
"""Number of times that each page is requested."""

STARTS = 3
"""Number of starts of the service for the time of the first page."""

OLDEST = 60
"""Number of the file that `{oldest}` stands for."""

FIRST_DELAYS = (0, 1)
"""Seconds between the start of the service and the first request."""


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


def file_rows(count: int) -> Iterator[Row]:
    """Yield the rows of files that are no training data, so that `/new` has to skip all of them."""
    for number in range(count):
        yield row_of(
            FileObject(
                id=file_id(number),
                tenant=LOCAL_TENANT,
                bytes=1000 * number,
                filename=f"file-{number}.jsonl",
                purpose="user_data",
                sha256=f"{number:064x}",
            )
        )


def file_id(number: int) -> str:
    """Return the id of a file."""
    return f"file-{number:024}"


def fill(folder: Path, jobs: int, events: int, files: int) -> None:
    """Write the database of a service."""
    database = Database(Folder(folder).database, durable=False)
    stored = [new_job(LOCAL_TENANT, "paused") for _ in range(jobs)]
    for job in stored:
        job.validation_file = job.training_file
    insert(database, job_rows(stored))
    insert(database, event_rows(stored, events))
    insert(database, file_rows(files))
    database.close()


def measure(address: str, path: str, repeats: int = REPEATS) -> list[float]:
    """Return the seconds that each request of a page took, over one connection."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        times.append(time.perf_counter() - start)
        assert response.status == 200, path
    connection.close()
    return times


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, psutil.Process, float]]:
    """Run a service, and yield its address, its process and the seconds that its start took."""
    environment = {**os.environ, "FTKIT_STATE_DIR": str(folder.with_name("state"))}
    command = [sys.executable, "-m", "ftkit", "serve", "--port", "0", "--data-dir", str(folder)]
    start = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        try:
            process.stderr.readline()  # It is printed when the service answers.
            seconds = time.perf_counter() - start
            running = find_running(folder)
            assert running
            yield running.url, psutil.Process(process.pid), seconds
        finally:
            process.terminate()


def print_pages(folder: Path) -> None:
    """Print the table of the pages, and the memory of the service."""
    with service(folder) as (address, process, _):
        before = process.memory_info().rss
        print("| page | first request | median | slowest of the others |\n|---|---|---|---|")
        for title, path in PAGES.items():
            times = measure(address, path.format(oldest=file_id(OLDEST)))
            first, *others = (1000 * seconds for seconds in times)
            median, slowest = statistics.median(others), max(others)
            print(f"| {title} | {first:.0f} ms | {median:.0f} ms | {slowest:.0f} ms |", flush=True)
        after = process.memory_info().rss
        print(f"\nMemory of the service: {before >> 20} MiB, then {after >> 20} MiB\n")


def print_first_pages(folder: Path) -> None:
    """Print the time of the start of the service, and of the first page after it."""
    for delay in FIRST_DELAYS:
        starts, firsts = [], []
        for _ in range(STARTS):
            with service(folder) as (address, _, seconds):
                time.sleep(delay)
                starts.append(seconds)
                firsts.append(1000 * measure(address, "/", repeats=1)[0])
        start, first = statistics.median(starts), statistics.median(firsts)
        print(f"Start in {start:.2f} s; first page {delay} s later: {first:.0f} ms")


def main() -> None:
    """Fill a database, start a service and measure its pages."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "data")
        fill(folder, options.jobs, options.events, options.files)
        print_pages(folder)
        print_first_pages(folder)


if __name__ == "__main__":
    main()
