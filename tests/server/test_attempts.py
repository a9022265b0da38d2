"""Tokens of attempts: what they give access to, and that only the current one may write."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.server.adapters import CONFIG, WEIGHTS
from ftkit.server.attempts import (
    adopt_checkpoint,
    commit_checkpoint,
    end_attempt,
    hash_token,
    last_checkpoint,
    new_attempt,
    remove_old_checkpoints,
)
from ftkit.server.database import Database
from ftkit.server.database_reports import DatabaseReports
from ftkit.server.errors import FullDiskError, InvalidRequestError, StaleAttemptError
from ftkit.server.event_limits import MAX_MESSAGE, MAX_METRICS
from ftkit.server.folder import Folder
from ftkit.server.objects import (
    CheckpointObject,
    EventObject,
    JobError,
    JobHyperparameters,
    JobObject,
)
from ftkit.server.remote_reports import (
    HttpReports,
    LostServiceError,
    Pending,
    RefusedReportError,
    Timing,
    connect_reports,
    next_batch,
)
from ftkit.server.report_messages import BATCH_BYTES, BODY_BYTES, EventsMessage, StateMessage
from ftkit.server.reports import JobEvent, ReportedError
from ftkit.server.runner import Attempt, worker_environment
from support.local_server import LocalServer
from support.server_requests import create_job, queue_job

EVENT = JobEvent(key="train 1", message="Step 1", data={"step": 1, "train_loss": 2.0})

MANY_METRICS = {"step": 1, **{f"metric {number}": 1.0 for number in range(64)}}


def begin(store: Database, folder: Folder, id: str) -> tuple[Attempt, DatabaseReports]:
    attempt = new_attempt(store, id)
    assert attempt
    reports = DatabaseReports(store, folder, id, hash_token(attempt.token))
    reports.begin()
    return attempt, reports


def test_only_the_hash_of_a_token_is_stored(store: Database, tmp_path: Path) -> None:
    id = queue_job(store)
    attempt = new_attempt(store, id)
    assert attempt
    store.checkpoint()
    assert attempt.token.encode() not in (tmp_path / "service.db").read_bytes()
    job = store.get(JobObject, id)
    assert job
    assert (job.attempt, job.handle, job.token_hash) == (
        1,
        f"{id}-1",
        hash_token(attempt.token),
    )


def test_a_job_that_is_not_queued_gets_no_attempt(store: Database) -> None:
    id = queue_job(store)
    store.change(JobObject, id, lambda job: setattr(job, "status", "cancelled"))
    assert new_attempt(store, id) is None


@pytest.mark.parametrize("end", ["another attempt", "its end", "the end of the job"])
def test_a_stale_attempt_writes_nothing(end: str, store: Database, tmp_path: Path) -> None:
    id, folder = queue_job(store), Folder(tmp_path)
    _, reports = begin(store, folder, id)
    if end == "its end":
        end_attempt(store, id)
    else:
        status = "queued" if end == "another attempt" else "cancelled"
        store.change(JobObject, id, lambda job: setattr(job, "status", status))
        assert bool(new_attempt(store, id)) == (status == "queued")
    before = store.children(EventObject, id)
    for write in (
        reports.begin,
        lambda: reports.add_event(EVENT),
        lambda: reports.commit(3),
        lambda: reports.publish(3, {}),
    ):
        with pytest.raises(StaleAttemptError):
            write()
    if end == "the end of the job":
        assert reports.beat() == "cancel"
        reports.succeed(3, 10)
        assert not folder.adapter(id, 3).exists()
    else:
        with pytest.raises(StaleAttemptError):
            reports.beat()
    assert store.children(EventObject, id) == before


def test_an_event_that_arrives_again_is_there_once(store: Database, tmp_path: Path) -> None:
    _, reports = begin(store, Folder(tmp_path), id := queue_job(store))
    before = len(store.children(EventObject, id))
    for _ in range(2):
        reports.add_events([EVENT, JobEvent(key="devices", message="Training on 2 devices")])
    assert len(store.children(EventObject, id)) == before + 2


def test_the_events_of_a_job_take_a_limited_part_of_the_database(
    store: Database, tmp_path: Path
) -> None:
    _, reports = begin(store, Folder(tmp_path), id := queue_job(store))
    many = [
        JobEvent(key=f"{number} {digit}", message=digit * 10_000)
        for number in range(96)
        for digit in "0123456789"
    ]
    reports.add_events(many)
    before = store.children(EventObject, id)
    more = [JobEvent(key=f"more {number}", message="m" * 9_999) for number in range(40)]
    for _ in range(3):
        with pytest.raises(InvalidRequestError, match="would take more than 10,000,000 bytes"):
            reports.add_events([*many, *more])
    assert store.children(EventObject, id) == before
    reports.add_events(many)  # what arrives again takes no more
    store.change(JobObject, id, lambda job: setattr(job, "examples", 1_000))
    reports.add_events(more)
    assert len(store.children(EventObject, id)) == len(before) + 40


def test_events_of_a_node_cannot_fill_the_disk(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    _, reports = begin(store, folder, queue_job(store))

    def is_full() -> None:
        raise FullDiskError("the disk is full")

    monkeypatch.setattr(folder.disk, "check_free", is_full)
    with pytest.raises(FullDiskError):
        reports.add_events([EVENT])


def test_a_long_reason_is_cut_by_the_process_that_reports_it(
    store: Database, tmp_path: Path
) -> None:
    _, reports = begin(store, Folder(tmp_path), id := queue_job(store))
    error = JobError("code", "m" * 1_000_000, None)
    assert len(ReportedError.of(error).message) == 10_000
    reports.fail(error)
    job = store.get(JobObject, id)
    assert job
    assert job.error
    assert len(job.error.message) == 10_000


def save(folder: Folder, id: str, attempt: int, step: int, complete: bool = True) -> Path:
    path = folder.attempt_checkpoints(id, attempt) / f"checkpoint-{step}"
    path.mkdir(parents=True)
    if complete:
        (path / "trainer_state.json").write_text(json.dumps({"attempt": attempt}))
    return path


def test_a_saved_state_is_moved_out_of_reach_of_its_attempt(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    source = save(folder, "j", 1, 3)
    for _ in range(2):  # the second time, the first answer was lost
        assert commit_checkpoint(folder, "j", 1, 3)
    assert not source.exists()
    last = last_checkpoint(folder.checkpoints("j"))
    assert last
    assert last.name == "checkpoint-3"
    assert not commit_checkpoint(folder, "j", 1, 6)


def test_the_last_two_states_are_kept(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for step in (5, 10, 15):
        save(folder, "j", 1, step)
        commit_checkpoint(folder, "j", 1, step)
    remove_old_checkpoints(folder, "j")
    assert {path.name for path in folder.checkpoints("j").iterdir()} == {
        "checkpoint-10",
        "checkpoint-15",
    }


def test_a_state_that_the_previous_attempt_saved_and_did_not_report_is_taken_over(
    tmp_path: Path,
) -> None:
    folder = Folder(tmp_path)
    save(folder, "j", 1, 40)  # of an attempt that was replaced long ago
    save(folder, "j", 2, 10)
    save(folder, "j", 2, 12, complete=False)
    save(folder, "j", 3, 1)
    adopt_checkpoint(folder, "j", 3)
    last = last_checkpoint(folder.checkpoints("j"))
    assert last
    assert last.name == "checkpoint-10"
    assert [path.name for path in folder.attempts("j").iterdir()] == ["3"]


def test_a_state_outlives_attempts_that_never_had_a_process(
    store: Database, tmp_path: Path
) -> None:
    folder, id = Folder(tmp_path), queue_job(store)
    first = new_attempt(store, id)
    assert first
    save(folder, id, first.number, 10)
    (folder.attempts(id) / "notes").mkdir()
    for _ in range(2):  # the service is killed before it calls `adopt_checkpoint`
        assert new_attempt(store, id)
    last = new_attempt(store, id)
    assert last
    adopt_checkpoint(folder, id, last.number)
    assert [path.name for path in folder.checkpoints(id).iterdir()] == ["checkpoint-10"]
    assert [path.name for path in folder.attempts(id).iterdir()] == [str(last.number)]
    save(folder, id, 1, 40)  # the first attempt still runs
    adopt_checkpoint(folder, id, last.number + 1)
    assert [path.name for path in folder.checkpoints(id).iterdir()] == ["checkpoint-10"]


def test_a_state_that_cannot_be_moved_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    saved = save(folder, "j", 1, 10)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        with pytest.raises(OSError, match="Input/output error"):
            adopt_checkpoint(folder, "j", 2)
    assert saved.is_dir()
    adopt_checkpoint(folder, "j", 3)
    assert [path.name for path in folder.checkpoints("j").iterdir()] == ["checkpoint-10"]


def test_an_older_state_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    save(folder, "j", 1, 20)
    commit_checkpoint(folder, "j", 1, 20)
    save(folder, "j", 1, 10)
    adopt_checkpoint(folder, "j", 2)
    assert [path.name for path in folder.checkpoints("j").iterdir()] == ["checkpoint-20"]


@contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[LocalServer]:
    """Run a service with a runner, which starts nothing."""
    (folder / "runner").mkdir()
    (folder / "runner" / "waits").touch()
    runner = {"folder": str(folder / "runner"), "url": "http://127.0.0.1:1", "command": ["true"]}
    data = Folder(folder / "data")
    with closing(Database(data.database)) as store:
        interrupted = create_job(store)
        store.change(JobObject, interrupted, lambda job: setattr(job, "status", "running"))
        with LocalServer(data.root, runner=runner, max_jobs=0, **settings) as server:
            deadline = time.monotonic() + 30
            # Until then, the service may take the attempts of the tests for those of an earlier one.
            while store.require(JobObject, interrupted, "t").status == "running":
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A service with an API key and a runner."""
    with serving(tmp_path_factory.mktemp("remote"), keys=("key-a",)) as server:
        yield server


@contextmanager
def training_job(server: LocalServer) -> Iterator[tuple[str, str]]:
    """Add a job that is being trained, and return it with the token of its attempt."""
    store = Database(Folder(server.folder).database)
    with store.transaction():  # or the service may validate the job, which has no files
        id = queue_job(store)
        # A service that has just started asks for the states of earlier processes.
        (server.folder.parent / "runner" / f"{id}-1.waiting").touch()
        attempt = new_attempt(store, id)
    assert attempt
    yield id, attempt.token
    store.change(JobObject, id, lambda job: setattr(job, "status", "cancelled"))
    store.close()


@pytest.fixture
def current(server: LocalServer) -> Iterator[tuple[str, str]]:
    """A job that is being trained, and the token of its attempt."""
    with training_job(server) as job:
        yield job


def post(server: LocalServer, path: str, token: str, body: Any = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    url = server.url.removesuffix("/v1")
    with httpx.Client(timeout=60) as client:
        return client.post(f"{url}{path}", headers=headers, content=data)


def test_a_token_gives_access_to_its_job_only(
    server: LocalServer, current: tuple[str, str]
) -> None:
    id, token = current
    assert post(server, f"/internal/jobs/{id}/spec", token).json()["job"]["id"] == id
    answer = post(server, f"/internal/jobs/{id}/beat", token)
    assert (answer.status_code, answer.json()) == (200, {"command": "continue"})
    with closing(Database(Folder(server.folder).database)) as store:
        other = queue_job(store)
    assert post(server, f"/internal/jobs/{other}/beat", token).status_code == 409
    for path in ("/v1/files", "/v1/fine_tuning/jobs", f"/v1/fine_tuning/jobs/{id}/cancel"):
        assert post(server, path, token).status_code == 401


def test_the_job_that_a_worker_gets_has_no_secrets(
    server: LocalServer, current: tuple[str, str]
) -> None:
    id, token = current
    text = post(server, f"/internal/jobs/{id}/spec", token).text
    assert "token_hash" not in text
    assert hash_token(token) not in text
    assert "tenant" not in text


@pytest.mark.parametrize("end", ["spec", "beat", "events", "checkpoint", "done"])
@pytest.mark.parametrize("key", ["key-a", "", "ftattempt-x"])
def test_no_api_key_gives_access_to_a_worker_s_routes(
    end: str, key: str, server: LocalServer, current: tuple[str, str]
) -> None:
    assert post(server, f"/internal/jobs/{current[0]}/{end}", key).status_code == 401


def test_a_wrong_token_does_not_tell_whether_a_job_exists(
    server: LocalServer, current: tuple[str, str]
) -> None:
    wrong = f"ftattempt-{'0' * 64}"
    answers = [
        post(server, f"/internal/jobs/{id}/beat", wrong) for id in (current[0], "ftjob-none")
    ]
    assert [answer.status_code for answer in answers] == [409, 409]
    assert answers[0].content == answers[1].content


def test_messages_are_limited_in_size(server: LocalServer, current: tuple[str, str]) -> None:
    id, token = current
    assert post(server, f"/internal/jobs/{id}/events", token, b" " * 2_000_000).status_code == 413
    without_key = {"events": [{"key": "", "message": "x"}]}
    assert post(server, f"/internal/jobs/{id}/events", token, without_key).status_code == 400


@pytest.mark.parametrize(
    ("end", "body"),
    [
        ("events", {"events": [{"key": "a", "message": "m", "data": {"train_loss": 1.0}}]}),
        ("events", {"events": [{"key": "a", "message": "m", "data": {"step": 1.5}}]}),
        ("events", {"events": [{"key": "a", "message": "m", "data": {"step": 10**30}}]}),
        ("events", {"events": [{"key": "a", "message": "m", "data": {"step": 1, "x": []}}]}),
        ("checkpoint", {"step": -1}),
        ("checkpoint", {"step": 10**300}),
        ("checkpoint", {"step": 1, "metrics": {"train_loss": "low"}}),
        ("checkpoint", {"step": 1, "metrics": {}}),
        ("events", {"events": [{"key": "a", "message": "m" * 10_001}]}),
        ("events", {"events": [{"key": "a", "message": "m", "data": MANY_METRICS}]}),
        ("checkpoint", {"step": 1, "metrics": MANY_METRICS}),
        ("done", {"error": {"code": "c", "message": "m" * 10_001, "param": None}}),
        ("done", {"error": {"code": "c" * 65, "message": "m", "param": None}}),
        ("done", {"steps": 10**300, "tokens": 1}),
        ("done", {"steps": 1, "tokens": -1}),
        ("done", {"steps": 1, "tokens": 1}),
    ],
)
def test_a_report_that_cannot_be_true_is_refused_and_leaves_nothing(
    end: str, body: dict[str, Any], server: LocalServer, current: tuple[str, str]
) -> None:
    id, token = current
    assert post(server, f"/internal/jobs/{id}/spec", token).status_code == 200
    assert post(server, f"/internal/jobs/{id}/{end}", token, body).status_code == 400
    assert not list(Folder(server.folder).job(id).glob("*"))
    assert post(server, f"/internal/jobs/{id}/spec", token).json()["reported_step"] == 0


def test_the_metrics_of_a_checkpoint_cannot_name_another_step(
    store: Database, tmp_path: Path
) -> None:
    folder = Folder(tmp_path)
    _, reports = begin(store, folder, id := queue_job(store))
    state = save(folder, id, 1, 3)
    (state / WEIGHTS).write_bytes(b"weights")
    (state / CONFIG).write_text("{}")
    reports.commit(3)
    reports.publish(3, {"step": 9, "train_loss": 1.0})
    (checkpoint,) = store.children(CheckpointObject, id)
    assert checkpoint.metrics == {"step": 3, "train_loss": 1.0}


def test_a_service_without_a_runner_has_no_such_routes(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data") as server:
        assert post(server, "/internal/jobs/x/beat", f"ftattempt-{'0' * 64}").status_code == 404


def test_a_refused_report_is_raised_with_its_reason(
    server: LocalServer, current: tuple[str, str]
) -> None:
    id, token = current
    reports = HttpReports(server.url.removesuffix("/v1"), id, token)
    start = reports.begin()
    assert (start.job.id, start.is_remote) == (id, True)
    with pytest.raises(RefusedReportError, match="do not share one data folder"):
        reports.commit(3)


def test_a_stale_process_ends_at_its_first_report(
    server: LocalServer, current: tuple[str, str]
) -> None:
    ended = threading.Event()
    wrong = f"ftattempt-{'0' * 64}"
    url = server.url.removesuffix("/v1")
    reports = HttpReports(url, current[0], wrong, end=lambda code: ended.set())
    with pytest.raises(RefusedReportError):
        reports.begin()
    assert ended.is_set()


def test_a_full_disk_of_the_service_is_an_event_and_delays_no_pause(tmp_path: Path) -> None:
    with (
        serving(tmp_path, reserve=1 << 60) as server,
        training_job(server) as (id, token),
        closing(Database(Folder(server.folder).database)) as store,
        ThreadPoolExecutor() as pool,
    ):
        reports = report_to(server, id, token)
        reports.add_event(EVENT)
        commit = pool.submit(reports.commit, 3)
        with pytest.raises(TimeoutError):
            commit.result(1)  # it waits behind the event
        store.change(JobObject, id, lambda job: setattr(job, "status", "pausing"))
        assert reports.beat() == "pause"
        with pytest.raises(LostServiceError, match="the disk of the service is nearly full"):
            commit.result(10)
        messages = [event.message for event in store.children(EventObject, id)]
        log = server.log()
    assert messages.count("The job waits: the disk of the service is nearly full") == 1
    assert log.count(f"The events of {id} wait. The disk of the service is full: ") == 1


def test_events_that_waited_for_a_disk_are_reported_once_it_has_room(tmp_path: Path) -> None:
    with (
        serving(tmp_path, reserve=1 << 60) as server,
        training_job(server) as (id, token),
        closing(Database(Folder(server.folder).database)) as store,
    ):
        reports = report_to(server, id, token)
        reports.add_event(EVENT)
        wait_for_event(store, id, "The job waits: the disk of the service is nearly full")
        server.stop()
        server._settings["storage"] = {}
        server.start()
        reports._base = f"{server.url.removesuffix('/v1')}/internal/jobs/{id}"
        wait_for_event(store, id, EVENT.message)


def report_to(server: LocalServer, id: str, token: str) -> HttpReports:
    """Begin the training of a job whose messages are repeated soon, and whose process goes on."""
    url, timing = server.url.removesuffix("/v1"), Timing(backoff=0.1)
    reports = HttpReports(url, id, token, timing, end=lambda code: None)
    reports.begin()
    return reports


def wait_for_event(store: Database, id: str, message: str) -> None:
    deadline = time.monotonic() + 30
    while message not in [event.message for event in store.children(EventObject, id)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


EVENTS = st.builds(
    JobEvent,
    key=st.just("k"),
    message=st.integers(0, MAX_MESSAGE).flatmap(
        lambda length: st.sampled_from("aé漢\U0001f600\0").map(lambda letter: letter * length)
    ),
)


@given(st.lists(EVENTS, min_size=1, max_size=300))
def test_a_batch_of_events_is_never_larger_than_the_service_accepts(events: list[JobEvent]) -> None:
    waiting = [Pending("events", EventsMessage([event])) for event in events]
    batches = []
    while waiting:
        pendings, body = next_batch(waiting)
        assert len(msgspec.json.encode(body)) <= BODY_BYTES
        assert isinstance(body, EventsMessage)
        batches += body.events
        waiting = waiting[len(pendings) :]
    assert batches == events


def test_the_largest_event_fits_into_a_request() -> None:
    names = ["\0" * 60 + f"{number:04}" for number in range(MAX_METRICS - 1)]
    data = {"step": 2**53 - 1, **dict.fromkeys(names, -1.7976931348623157e308)}
    event = JobEvent(key="\0" * 64, message="\0" * MAX_MESSAGE, data=data)
    assert len(msgspec.json.encode(EventsMessage([event]))) <= BATCH_BYTES


def test_only_events_are_sent_together() -> None:
    chosen = JobHyperparameters(n_epochs=1, batch_size=1, learning_rate_multiplier=1.0)
    bodies = [
        EventsMessage(hyperparameters=chosen),
        EventsMessage([EVENT]),
        EventsMessage([EVENT]),
        StateMessage(3),
    ]
    waiting = [Pending("events", body) for body in bodies]
    sizes = []
    while waiting:
        pendings, _ = next_batch(waiting)
        sizes.append(len(pendings))
        waiting = waiting[len(pendings) :]
    assert sizes == [1, 2, 1]


def test_a_service_that_cannot_be_reached_is_lost_after_a_while() -> None:
    timing = Timing(beat=0.1, lost=0.3, response=0.2, backoff=0.05)
    reports = HttpReports("http://127.0.0.1:9", "ftjob-x", "t", timing)
    assert reports.beat() == "continue"
    deadline = time.monotonic() + 10
    while reports.beat() == "continue":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert reports.is_lost
    reports.commit(3)  # the next attempt finds the state


def test_the_environment_of_a_worker_connects_it(
    server: LocalServer, current: tuple[str, str]
) -> None:
    id, token = current
    url = server.url.removesuffix("/v1")
    environment = worker_environment(url, Attempt(id, 1, token))
    assert connect_reports(environment).begin().job.id == id
    del environment["FTKIT_JOB_TOKEN"]
    with pytest.raises(SystemExit, match="needs the environment variable FTKIT_JOB_TOKEN"):
        connect_reports(environment)
    with pytest.raises(SystemExit, match="must begin with http"):
        connect_reports({**environment, "FTKIT_JOB_TOKEN": "t", "FTKIT_JOB_URL": "file:///x"})
