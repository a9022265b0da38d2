"""Worker processes: `python -m ftkit.server.worker TASK ARGUMENTS`.

    check DATA_DIR JOB                            validate the files of a job
    train DATA_DIR JOB                            train a job
    rank DATA_DIR JOB NUMBER COUNT RENDEZVOUS     train a job together with other processes
    train-remote DATA_DIR                         train a job for a service on another machine
    rank-remote DATA_DIR JOB NUMBER COUNT RENDEZVOUS
    generate DATA_DIR                             generate completions
    template BASE RECIPE                          write the `TemplateFacts` of a base model as JSON

A worker ends with its server, which holds its standard input, and `train-remote` when the service
says so. Most imports follow once that is certain, since they take seconds.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ftkit.server.commands import PipeWatch, RequestReader, end_with_server

if TYPE_CHECKING:
    from ftkit.server.folder import Folder
    from ftkit.server.reports import JobStart


def main() -> None:
    """Run the task that the command line names."""
    # An interrupt ends it like other signals: a KeyboardInterrupt could get lost in a library.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    task, *arguments = sys.argv[1:]
    if task == "train-remote":
        _train_remote(*arguments)
        return
    end_with_server()
    if task == "generate":
        _generate(*arguments)
    elif task == "template":
        _describe_template(*arguments)
    else:
        _run_job(task, *arguments)


def _generate(root: str) -> None:
    # What libraries print goes to the log: between the responses, it would not be JSON.
    responses = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    reader = RequestReader()
    reader.start()
    from ftkit.server.generation.process import process_requests

    process_requests(Path(root), reader, responses)


def _describe_template(base: str, recipe: str) -> None:
    # The standard input, which stays open, is not read: this process ends soon.
    facts_output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from ftkit.server.training.facts import encoded_facts

    with facts_output:
        facts_output.write(encoded_facts(base, recipe))


def _run_job(task: str, root: str, id: str, *rank: str) -> None:
    PipeWatch().start()
    from ftkit.server.database import Database
    from ftkit.server.database_reports import DatabaseReports
    from ftkit.server.folder import Folder
    from ftkit.server.objects import JobObject
    from ftkit.server.reports import Heartbeat, JobStart

    folder = Folder(Path(root))
    if task == "rank-remote":
        from ftkit.server.remote_reports import connect_reports

        start = connect_reports(os.environ).begin()
        _train_rank(folder, start, *rank)
        return
    # Training steps that are lost with the power are repeated, so they need not be durable.
    database = Database(folder.database, durable=task == "check")
    job = database.get(JobObject, id)
    if job is None:
        raise SystemExit(f"no such job: {id}")
    if task == "check":
        from ftkit.server.checking import check

        check(database, folder, job)
    elif task == "train":
        reports = DatabaseReports(database, folder, id)
        heartbeat = Heartbeat(reports)
        heartbeat.start()
        from ftkit.server.training.run import train

        train(reports, folder, heartbeat.pause)
    else:
        _train_rank(folder, JobStart(job), *rank)


def _train_remote(root: str) -> None:
    from ftkit.server.folder import PRIVATE_UMASK, Folder
    from ftkit.server.remote_reports import TIMING, connect_reports, run_remote
    from ftkit.server.reports import Heartbeat

    os.umask(PRIVATE_UMASK)
    reports = connect_reports(os.environ)
    heartbeat = Heartbeat(reports, TIMING.beat)
    heartbeat.start()
    from ftkit.server.training.run import train

    folder = Folder(Path(root))
    run_remote(lambda reports: train(reports, folder, heartbeat.pause), reports, os._exit)


def _train_rank(folder: Folder, start: JobStart, *rank: str) -> None:
    from ftkit.server.training.ranks import Rank
    from ftkit.server.training.run import train_rank

    number, count, rendezvous = rank
    train_rank(folder, start, Rank(int(number), int(count), Path(rendezvous)))


if __name__ == "__main__":
    main()
