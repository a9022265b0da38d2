"""Worker processes of the local server: their end, their time and their order."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import openai
import pytest

from support.examples import chat_lines
from support.local_server import LocalServer, event_messages, wait_for_job
from support.models import SMOKE
from support.processes import wait_for_end, wait_for_worker
from support.server_requests import CLEAN_DATA, upload_file

LARGE = CLEAN_DATA * 40_000
"""Content whose validation takes seconds."""

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's prctl")


def start_validation(client: openai.OpenAI, server: LocalServer) -> int:
    """Create a job whose validation takes seconds, and return the id of its process."""
    client.fine_tuning.jobs.create(model=SMOKE, training_file=upload_file(client, LARGE).id)
    return wait_for_worker(server.folder, "check")


@pytest.mark.parametrize("seconds", [0, 0.02, 0.05, 0.1, 0.2, 0.5])
def test_a_validation_ends_with_its_server(seconds: float, tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", forked=False) as server, server.client() as client:
        start_validation(client, server)
        time.sleep(seconds)
        server.kill()
        wait_for_end(server.folder, "check", 0.5)


@LINUX
def test_a_validation_ends_with_its_server_even_if_it_does_not_run(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", forked=False) as server, server.client() as client:
        pid = start_validation(client, server)
        time.sleep(1)
        os.kill(pid, signal.SIGSTOP)
        server.kill()
        wait_for_end(server.folder, "check", 1)


@LINUX
def test_a_worker_whose_server_ended_before_it_began_ends_at_once(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", forked=False) as server, server.client() as client:
        pid = start_validation(client, server)
        os.kill(pid, signal.SIGSTOP)  # before or after the call to prctl
        server.kill()
        time.sleep(0.2)
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGCONT)
        wait_for_end(server.folder, "check", 1)


def test_a_validation_that_takes_too_long_fails_the_job(tmp_path: Path) -> None:
    limits = {"supervisor.VALIDATION_SECONDS": 0.5, "supervisor.VALIDATION_BYTES_PER_SECOND": 1e9}
    with (
        LocalServer(tmp_path / "data", constants=limits, forked=False) as server,
        server.client() as client,
    ):
        file = upload_file(client, LARGE).id
        job = client.fine_tuning.jobs.create(model=SMOKE, training_file=file)
        failed = wait_for_job(client, job.id, "failed", seconds=60)
        assert (failed.error.code, failed.error.param) == ("validation_timeout", "training_file")
        assert "took longer than the maximum of 1 seconds" in failed.error.message
        wait_for_end(server.folder, "check", 2)
        assert sum("failed" in text for text in event_messages(client, job.id)) == 1
        deadline = time.monotonic() + 20
        while (server.folder / "jobs" / job.id / "training.jsonl").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_the_time_for_a_validation_grows_with_the_files(tmp_path: Path) -> None:
    limits = {
        "supervisor.VALIDATION_SECONDS": 0.0,
        "supervisor.VALIDATION_BYTES_PER_SECOND": 100_000.0,
    }
    with (
        LocalServer(tmp_path / "data", constants=limits, forked=False) as server,
        server.client() as client,
    ):
        bad = b"\n".join(chat_lines(12, {3: b"oops"})) + b"\n" * 1_000_000
        job = client.fine_tuning.jobs.create(model=SMOKE, training_file=upload_file(client, bad).id)
        assert wait_for_job(client, job.id, "failed").error.code == "invalid_file_format"
        small = upload_file(client, b"\n".join(chat_lines(12, {3: b"oops"}))).id
        job = client.fine_tuning.jobs.create(model=SMOKE, training_file=small)
        assert wait_for_job(client, job.id, "failed").error.code == "validation_timeout"


def test_tenants_take_turns(tmp_path: Path) -> None:
    bad = b"\n".join(chat_lines(12, {3: b"oops"}))
    with LocalServer(tmp_path / "data", keys=("a", "b", "c")) as server:
        jobs = {}
        for key, count in (("a", 6), ("b", 6), ("c", 1)):
            with server.client(key) as client:
                file = upload_file(client, bad).id
                for _ in range(count):
                    job = client.fine_tuning.jobs.create(model=SMOKE, training_file=file)
                    jobs[job.id] = key
        for job_id, key in jobs.items():
            with server.client(key) as client:
                wait_for_job(client, job_id, "failed")
        with closing(sqlite3.connect(server.folder / "service.db")) as database:
            rows = database.execute(
                "SELECT parent FROM things WHERE kind = 'event' AND shown LIKE '%The job failed%'"
                " ORDER BY seq"
            )
            order = "".join(jobs[job_id] for (job_id,) in rows)
    assert order.index("c") < 8
    assert order[:8].count("b") >= 2


def kill_validations(server: LocalServer, *signals: int) -> None:
    """Send a signal to each of as many validation processes, one after the other."""
    before = 0
    for number in signals:
        deadline = time.monotonic() + 30
        while (pid := wait_for_worker(server.folder, "check")) == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        before = pid
        os.kill(pid, number)


@pytest.mark.slow
def test_kills_do_not_fail_a_job(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", max_jobs=0) as server, server.client() as client:
        file = upload_file(client, CLEAN_DATA * 2_000)  # so that each validation can be found
        job = client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id)
        # Not SIGHUP, which has no effect if the tests are run by nohup.
        signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
        kill_validations(server, *signals)
        wait_for_job(client, job.id, "queued")
        restarts = [text for text in event_messages(client, job.id) if "is restarted" in text]
        assert len(restarts) == 5
        assert "The process of the job ended (killed with signal 15) and is restarted" in restarts


@pytest.mark.parametrize(
    ("constant", "number", "reason"),
    [
        ("MAX_KILLS", signal.SIGKILL, "killed with signal 9"),
        ("MAX_ATTEMPTS", signal.SIGSEGV, "signal 11"),
    ],
)
def test_a_job_whose_processes_always_end_fails(
    constant: str, number: int, reason: str, tmp_path: Path
) -> None:
    limits = {f"job_processes.{constant}": 2}
    with (
        LocalServer(tmp_path / "data", constants=limits, forked=False) as server,
        server.client() as client,
    ):
        start_validation(client, server)
        kill_validations(server, number, number)
        (job,) = client.fine_tuning.jobs.list()
        failed = wait_for_job(client, job.id, "failed")
        assert failed.error.code == "server_error"
        assert failed.error.message.startswith("The validation process ended 2 times")
        assert reason in failed.error.message
