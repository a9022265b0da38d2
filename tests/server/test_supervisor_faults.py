"""Failures of one job, of its runner or of its stored data, which concern no other job."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from ftkit.server import backoff, outages, supervisor
from ftkit.server.attempts import hash_token
from ftkit.server.backoff import Backoff
from ftkit.server.database import Database
from ftkit.server.database_reports import DatabaseReports
from ftkit.server.errors import StaleAttemptError
from ftkit.server.folder import Folder
from ftkit.server.lifecycle import transition
from ftkit.server.objects import EventObject, JobObject, JobStatus
from ftkit.server.runner import (
    Attempt,
    Ended,
    Room,
    RunnerUnavailableError,
    Running,
    RunState,
    Task,
)
from ftkit.server.scheduling import Capacity
from ftkit.server.supervisor import Supervisor
from support.server_requests import queue_job


class FaultyRunner:
    """A runner whose processes succeed at their second look, but for calls that are to fail.

    `faults` are exceptions by call and job, such as ("start", id). `calls` are all calls so far.
    """

    def __init__(self, store: Database) -> None:
        self._store = store
        self.faults: dict[tuple[str, str], Exception] = {}
        self.calls: list[tuple[str, str, float]] = []
        self.attempts: list[Attempt] = []
        self.free = Room(True)
        self._looks: dict[str, int] = {}

    def _call(self, name: str, job: str) -> None:
        self.calls.append((name, job, time.monotonic()))
        if error := self.faults.get((name, job)):
            raise error

    def count(self, name: str, job: str) -> int:
        return [call[:2] for call in self.calls].count((name, job))

    def start(self, task: Task, job: JobObject, attempt: Attempt) -> str:
        self.attempts.append(attempt)
        self._call("start", job.id)
        self._looks[attempt.name] = 0
        transition(self._store, job.id, ("queued",), "running", "started")
        return attempt.name

    def room(self, job: JobObject) -> Room:
        self._call("room", job.id)
        return self.free

    def state(self, handle: str) -> RunState:
        id = handle.rpartition("-")[0]
        self._call("state", id)
        if handle not in self._looks:
            return Ended("killed", "it is not known")
        self._looks[handle] += 1
        if self._looks[handle] == 1:
            return Running()
        with suppress(msgspec.ValidationError):  # damaged data cannot be changed
            transition(self._store, id, ("running",), "succeeded", "done")
        return Ended("completed")

    def stop(self, handle: str) -> None:
        self._call("stop", handle.rpartition("-")[0])

    def close(self) -> None:
        pass


@pytest.fixture
def runner(store: Database) -> FaultyRunner:
    return FaultyRunner(store)


@contextmanager
def supervising(store: Database, folder: Path, runner: FaultyRunner) -> Iterator[Supervisor]:
    thread = Supervisor(store, Folder(folder / "data"), Capacity(2), runner=runner)
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def status(store: Database, id: str) -> JobStatus:
    job = store.get(JobObject, id)
    assert job
    return job.status


def messages(store: Database, id: str) -> list[str]:
    return [event.message for event in store.children(EventObject, id)]


def has_succeeded(store: Database, *ids: str) -> bool:
    return all(status(store, id) == "succeeded" for id in ids)


def damage(store: Database, id: str) -> None:
    """Replace a field of a stored job with a value of another type."""
    with store.transaction() as connection:
        connection.execute(
            "UPDATE things SET kept = json_set(kept, '$.attempt', 'x') WHERE id = ?", (id,)
        )


def repair(store: Database, id: str) -> None:
    with store.transaction() as connection:
        connection.execute(
            "UPDATE things SET kept = json_set(kept, '$.attempt', 0) WHERE id = ?", (id,)
        )


@pytest.mark.parametrize("call", ["room", "start", "state"])
def test_a_failing_call_for_one_job_delays_no_other_and_is_tried_again(
    call: str,
    store: Database,
    tmp_path: Path,
    runner: FaultyRunner,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, *good = (queue_job(store) for _ in range(4))
    runner.faults[call, bad] = RuntimeError("broken")
    with supervising(store, tmp_path, runner):
        wait_until(lambda: has_succeeded(store, *good))
        wait_until(lambda: runner.count(call, bad) >= 2)
        texts = [text for text in messages(store, bad) if "cannot run the job now" in text]
        assert texts == ["The service cannot run the job now (RuntimeError); it tries again"]
        runner.faults.clear()
        wait_until(lambda: has_succeeded(store, bad))
    records = [record for record in caplog.records if record.exc_info]
    assert [str(record.exc_info[1]) for record in records if record.exc_info] == ["broken"]


def test_a_process_that_cannot_be_started_is_tried_again_after_longer_and_longer_waits(
    store: Database, tmp_path: Path, runner: FaultyRunner
) -> None:
    bad, good = queue_job(store), queue_job(store)
    runner.faults["start", bad] = OSError(errno.EMFILE, "Too many open files", "/secret/path")
    with supervising(store, tmp_path, runner):
        wait_until(lambda: has_succeeded(store, good))
        wait_until(lambda: runner.count("start", bad) >= 3)
        times = [moment for name, id, moment in runner.calls if (name, id) == ("start", bad)]
        assert times[1] - times[0] >= 0.5
        assert times[2] - times[1] >= 1
        text = "The service cannot run the job now (Too many open files); it tries again"
        assert [line for line in messages(store, bad) if "cannot run" in line] == [text]
        runner.faults.clear()
        wait_until(lambda: has_succeeded(store, bad))


def test_the_state_of_a_process_decides_if_its_start_got_no_answer(
    store: Database, tmp_path: Path, runner: FaultyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "OUTAGE_SECONDS", 0.5)
    lost, first = (queue_job(store) for _ in range(2))
    runner.faults["start", lost] = RunnerUnavailableError("the cluster cannot be reached")
    with supervising(store, tmp_path, runner):
        wait_until(lambda: runner.count("start", lost))
        runner.faults.clear()
        wait_until(lambda: has_succeeded(store, lost, first))
    assert runner.count("start", lost) == 2  # the first process is not known to the runner
    texts = [text for text in messages(store, lost) if "it is not known" in text]
    assert texts == ["The process of the job ended (it is not known) and is restarted"]


def test_an_outage_is_logged_at_its_beginning_and_its_end(
    store: Database,
    tmp_path: Path,
    runner: FaultyRunner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(outages, "OUTAGE_SECONDS", 0.2)
    id = queue_job(store)
    runner.faults["room", id] = RunnerUnavailableError("the cluster cannot be reached")
    with supervising(store, tmp_path, runner):
        wait_until(lambda: runner.count("room", id) >= 3)
        wait_until(lambda: "The job waits: the cluster cannot be reached" in messages(store, id))
        assert len(caplog.messages) == 1
        runner.faults.clear()
        wait_until(lambda: has_succeeded(store, id))
    begin, end = caplog.messages
    assert begin == "the cluster cannot be reached; trying again every 0 seconds"
    assert end.startswith("The runner can be reached again, after ")


def test_a_job_without_room_says_why(store: Database, tmp_path: Path, runner: FaultyRunner) -> None:
    id, message = queue_job(store), "The job waits: no node has 1 CPU free"
    runner.free = Room(False, reason="no node has 1 CPU free")
    with supervising(store, tmp_path, runner):
        wait_until(lambda: message in messages(store, id))
        runner.free = Room(True)
        wait_until(lambda: has_succeeded(store, id))
    assert messages(store, id).count(message) == 1


def test_a_process_that_was_started_by_a_failing_call_is_refused(
    store: Database, tmp_path: Path, runner: FaultyRunner
) -> None:
    id = queue_job(store)
    runner.faults["start", id] = RuntimeError("lost")
    runner.faults["state", id] = RuntimeError("lost")
    with supervising(store, tmp_path, runner):
        wait_until(lambda: runner.count("state", id) >= 1)
        del runner.faults["state", id]
        wait_until(lambda: (job := store.get(JobObject, id)) and not job.handle)
        token = hash_token(runner.attempts[0].token)
        with pytest.raises(StaleAttemptError):
            DatabaseReports(store, Folder(tmp_path / "data"), id, token).begin()


@pytest.mark.parametrize("status", ["queued", "running"])
def test_stored_data_that_cannot_be_read_delays_no_other_job(
    status: JobStatus, store: Database, tmp_path: Path, runner: FaultyRunner
) -> None:
    bad, *good = (queue_job(store) for _ in range(3))
    store.change(JobObject, bad, lambda job: setattr(job, "status", status))
    damage(store, bad)
    with supervising(store, tmp_path, runner):
        wait_until(lambda: has_succeeded(store, *good))
        assert "cannot run the job now (ValidationError)" in messages(store, bad)[-1]
        repair(store, bad)
        wait_until(lambda: has_succeeded(store, bad))


def test_a_job_whose_data_is_damaged_while_it_waits_or_runs_takes_no_room(
    store: Database, tmp_path: Path, runner: FaultyRunner
) -> None:
    running = [queue_job(store) for _ in range(2)]
    for id in running:
        runner.faults["state", id] = RuntimeError("unknown")
    with supervising(store, tmp_path, runner):
        wait_until(lambda: all(runner.count("start", id) for id in running))
        for id in running:
            damage(store, id)
        waiting = queue_job(store)
        damage(store, waiting)
        good = queue_job(store)
        runner.faults.clear()  # both have ended
        wait_until(lambda: has_succeeded(store, good))


def test_failures_of_expiry_do_not_end_the_supervision(
    store: Database, tmp_path: Path, runner: FaultyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(supervisor, "delete_expired_files", fail)
    with supervising(store, tmp_path, runner):
        id = queue_job(store)
        wait_until(lambda: has_succeeded(store, id))


def test_waits_double_up_to_a_maximum_and_end_after_a_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(backoff.time, "monotonic", lambda: now)
    waits, failures = [], Backoff()
    for number in range(10):
        assert failures.record("job", OSError("full")) == (number == 0)
        start = now
        while failures.is_waiting("job"):
            now += 0.25
        waits.append(now - start)
    assert waits[:3] == [0.5, 1, 2]
    assert waits[-2:] == [backoff.MAX_SECONDS] * 2
    assert failures.record("job", OSError("lost"))
    assert failures.waiting() == {"job"}
    failures.clear("job")
    assert not failures.is_waiting("job")
    failures.record("old", OSError())
    now += 2 * backoff.FORGET_SECONDS
    failures.record("new", OSError())
    assert set(failures._failures) == {"new"}
