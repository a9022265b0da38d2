"""Measure the database of the local service: python benchmarks/store.py [--events 10_000_000].

- events a second, written by 1 to 8 processes at a time, each event in a transaction of its own, as
  the processes of jobs do;
- a database of many jobs, events and tenants: its size, pages of lists, requests, and what the
  supervisor does at every poll. The jobs of this database are half finished and half queued; half
  of the queued ones belong to one tenant.

The rows of the large database are inserted in large transactions, directly, to save time.

The result is two tables in Markdown.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ftkit.server.bodies import JobBody
from ftkit.server.cleanup import delete_expired_files
from ftkit.server.database import Database, PageQuery
from ftkit.server.folder import Folder
from ftkit.server.job_limits import TenantLimits
from ftkit.server.job_queue import JobQueue
from ftkit.server.lifecycle import add_event, apply_action, create_job, transition
from ftkit.server.models import SMOKE, ModelRegistry
from ftkit.server.objects import (
    EventObject,
    FileObject,
    JobHyperparameters,
    JobMethod,
    JobObject,
    StoredObject,
)
from ftkit.server.scheduling import Capacity
from ftkit.server.waiting import count_before

PROCESSES = (1, 2, 4, 8)
"""Numbers of processes that write at a time."""

BATCH = 10_000
"""Rows in a transaction while the large database is written."""

REPEATS = 30
"""Number of times that an operation on the large database is measured."""

LARGE_TENANT = "tenant0"
"""Tenant with half of the queued jobs."""

Row = tuple[str, str, str, str, str, str]


def new_job(tenant: str, status: str) -> JobObject:
    """Return a job as a service stores it."""
    chosen = JobHyperparameters(n_epochs=3, batch_size=4, learning_rate_multiplier=1.0)
    fields: dict[str, Any] = {"status": status}
    return JobObject(
        tenant=tenant,
        model=SMOKE,
        validation_file=None,
        training_file="file-" + "a" * 24,
        hyperparameters=chosen,
        user_provided_suffix="support",
        seed=1,
        metadata={"ftkit_submission": "0" * 26, "team": "support"},
        method=JobMethod.of("supervised", chosen),
        base=SMOKE,
        hashes={"training": "ab" * 32},
        names={"training": "training.jsonl"},
        valid=True,
        **fields,
    )


def row_of(value: StoredObject) -> Row:
    """Return the columns of an object in the database."""
    public, internal = value.documents()
    documents = (json.dumps(public), json.dumps(internal))
    return (value.kind, public["id"], value.tenant, value.parent, *documents)


def job_rows(jobs: list[JobObject]) -> Iterator[Row]:
    """Yield the rows of jobs, in their order."""
    yield from map(row_of, jobs)


def event_rows(jobs: list[JobObject], count: int) -> Iterator[Row]:
    """Yield the rows of metrics events, spread evenly over the jobs."""
    event = EventObject(
        id="ID",
        tenant="",
        message="Step 1/1000: training loss=1.2345, validation loss=1.3456",
        type="metrics",
        data={"step": 1, "total_steps": 1000, "train_loss": 1.2345, "train_accuracy": 0.87},
    )
    _, _, _, _, shown, kept = row_of(event)
    for number in range(count):
        job = jobs[number % len(jobs)]
        id = f"ftevent-{number:024}"
        yield "event", id, job.tenant, job.id, shown.replace('"ID"', f'"{id}"', 1), kept


def insert(database: Database, rows: Iterator[Row]) -> None:
    """Insert rows in large transactions."""
    statement = (
        "INSERT INTO things (kind, id, tenant, parent, shown, kept) VALUES (?, ?, ?, ?, ?, ?)"
    )
    while batch := list(islice(rows, BATCH)):
        with database.transaction() as connection:
            connection.executemany(statement, batch)


def new_jobs(count: int, tenants: int) -> list[JobObject]:
    """Return jobs of many tenants: half of them finished, half queued."""
    jobs = []
    for number in range(count):
        is_queued = number % 2 == 1
        is_large = is_queued and number % 4 == 1
        tenant = LARGE_TENANT if is_large else f"tenant{number // 4 % tenants}"
        jobs.append(new_job(tenant, "queued" if is_queued else "succeeded"))
    return jobs


def write_events(path: Path, durable: bool, seconds: float, results: Any) -> None:
    """Write events for some seconds, and put the seconds that each took into the queue."""
    database = Database(path, durable)
    job = new_job("tenant", "running")
    database.add(job)
    took = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        add_event(
            database, job.id, job.tenant, "Step 1/1000: training loss=1.2345", data={"step": 1}
        )
        took.append(time.perf_counter() - began)
    results.put(took)


def measure_writes(folder: Path, durable: bool, processes: int, seconds: float) -> list[float]:
    """Return the seconds of each event that so many processes wrote at a time."""
    path = folder / f"events-{durable}-{processes}.db"
    Database(path).close()
    results: Any = multiprocessing.Queue()
    writers = [
        multiprocessing.Process(target=write_events, args=(path, durable, seconds, results))
        for _ in range(processes)
    ]
    for writer in writers:
        writer.start()
    took = [value for _ in writers for value in results.get()]
    for writer in writers:
        writer.join()
    return sorted(took)


def print_writes(folder: Path, seconds: float) -> None:
    """Print the table of events a second."""
    print("| processes | durable | events a second | median, ms | p99, ms | longest, ms |")
    print("|--:|---|--:|--:|--:|--:|")
    for durable in (False, True):
        for processes in PROCESSES:
            took = measure_writes(folder, durable, processes, seconds)
            figures = (took[len(took) // 2], took[int(len(took) * 0.99)], took[-1])
            cells = " | ".join(f"{1000 * value:,.2f}" for value in figures)
            rate = len(took) / seconds
            print(f"| {processes} | {durable} | {rate:,.0f} | {cells} |", flush=True)


def operations(
    database: Database, folder: Folder, jobs: list[JobObject]
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what is measured on the large database: its name, and a function that does it."""
    queued = [job for job in jobs if job.status == "queued" and job.tenant == LARGE_TENANT]
    first, middle, last = queued[0], queued[len(queued) // 2], queued[-1]
    models = ModelRegistry(database, {})
    body = JobBody(model=SMOKE, training_file="file-1")
    limits = TenantLimits(unfinished=10**9)
    database.add(
        FileObject(
            id="file-1", tenant="new", bytes=1, filename="a", purpose="fine-tune", sha256="0"
        )
    )
    full = JobQueue(database, "queued", Capacity(1, 1))
    free = JobQueue(database, "queued", Capacity(1, 1))

    def page(type: type[StoredObject], **query: Any) -> Callable[[], object]:
        return lambda: database.page(type, LARGE_TENANT, PageQuery(**query))

    def explain() -> None:
        full._next_check = 0.0
        full.explain({"other": 1}, ())

    yield "retrieve a job", lambda: database.encoded(JobObject, middle.id, LARGE_TENANT)
    yield "first page of 20 jobs", page(JobObject)
    yield "page of 20 jobs in the middle", page(JobObject, after=middle.id)
    yield "page of 100 events", page(EventObject, parent=first.id, limit=100)
    yield "page of jobs with metadata that none has", page(JobObject, metadata={"team": "none"})
    yield "create a job", lambda: create_job(database, models, body, "new", limits)
    yield (
        "count the unfinished jobs of the largest account",
        lambda: database.count(JobObject, LARGE_TENANT, "queued", "running"),
    )
    yield "add an event", lambda: add_event(database, last.id, last.tenant, "Step 1/2")
    yield (
        "position of the last job of the queue",
        lambda: count_before(database, last, 1_000),
    )
    yield "poll: choose the next job, and store the turn", lambda: free.take({}, ())
    yield "poll: reasons of waiting jobs, once a second", explain
    yield "poll: expired files", lambda: delete_expired_files(database, folder)
    yield (
        "pause and resume a job",
        lambda: (
            apply_action(database, middle.id, LARGE_TENANT, "pause"),
            apply_action(database, middle.id, LARGE_TENANT, "resume"),
        ),
    )
    yield (
        "start and queue a job",
        lambda: (
            transition(database, first.id, ("queued",), "running", "Fine-tuning job started"),
            transition(database, first.id, ("running",), "queued", "The job is queued"),
        ),
    )


def print_operations(folder: Path, jobs: int, events: int, tenants: int) -> None:
    """Write the large database, and print its size and the table of operations."""
    data = Folder(folder / "data")
    database = Database(data.database)
    all_jobs = new_jobs(jobs, tenants)
    began = time.perf_counter()
    insert(database, job_rows(all_jobs))
    database.checkpoint()
    size_of_jobs = data.database.stat().st_size
    insert(database, event_rows(all_jobs, events))
    database.checkpoint()
    size = data.database.stat().st_size
    took = time.perf_counter() - began
    print(f"\n{jobs:,} jobs, {events:,} events, {tenants:,} tenants, written in {took:,.0f} s")
    print(f"size: {size / 1e9:.2f} GB; {size_of_jobs / jobs:,.0f} bytes a job,", end=" ")
    print(f"{(size - size_of_jobs) / max(events, 1):,.0f} bytes an event\n")
    print("| operation | median, ms | longest, ms |\n|---|--:|--:|")
    for name, operation in operations(database, data, all_jobs):
        seconds = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            operation()
            seconds.append(time.perf_counter() - began)
        median, longest = statistics.median(seconds), max(seconds)
        print(f"| {name} | {1000 * median:,.2f} | {1000 * longest:,.2f} |", flush=True)
    database.close()


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=100_000, help="jobs of the database [100000]")
    parser.add_argument(
        "--events", type=int, default=10_000_000, help="events of the database [10000000]"
    )
    parser.add_argument("--tenants", type=int, default=1_000, help="number of tenants [1000]")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="seconds for which events are written [5]"
    )
    parser.add_argument("--dir", help="folder for the databases [a temporary folder]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        if options.seconds:
            print_writes(Path(folder), options.seconds)
        print_operations(Path(folder), options.jobs, options.events, options.tenants)


if __name__ == "__main__":
    main()
