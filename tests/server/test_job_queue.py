"""The queue of jobs in the database: order, restarts, events, and its time with many jobs."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ftkit.cli import run
from ftkit.server import job_queue, lifecycle
from ftkit.server.app import ServerSettings
from ftkit.server.database import Database
from ftkit.server.database_reports import DatabaseReports
from ftkit.server.folder import Folder
from ftkit.server.job_limits import TenantLimits
from ftkit.server.job_processes import JobProcess, handle_end
from ftkit.server.job_queue import JobQueue
from ftkit.server.objects import EventObject, JobHyperparameters, JobMethod, JobObject
from ftkit.server.runner import Ended
from ftkit.server.scheduling import INTERRUPTED, Blocked, Capacity
from ftkit.server.supervisor import Supervisor
from ftkit.server.waiting import count_before, first_in_queue
from support.local_server import LocalServer
from support.models import SMOKE
from support.property_tests import example_count
from support.server_requests import upload_file


def add_job(store: Database, tenant: str, status: str = "queued", priority: int = 0) -> str:
    """Add a job whose files have been validated, and return its id."""
    chosen = JobHyperparameters(n_epochs=1, batch_size=1, learning_rate_multiplier=1.0)
    fields: dict[str, Any] = {"status": status, "priority": priority, "rank": priority}
    job = JobObject(
        tenant=tenant,
        model=SMOKE,
        validation_file=None,
        training_file="file-1",
        hyperparameters=chosen,
        user_provided_suffix=None,
        seed=1,
        metadata=None,
        method=JobMethod.of("supervised", chosen),
        base=SMOKE,
        hashes={"training": "0"},
        names={"training": "a.jsonl"},
        valid=True,
        **fields,
    )
    store.add(job)
    return job.id


def take_all(queue: JobQueue) -> list[str]:
    """Return the ids of all waiting jobs in the order in which they start, one at a time."""
    taken: list[str] = []
    while job := queue.take({}, taken):
        taken.append(job.id)
    return taken


def waits(store: Database, id: str) -> list[str]:
    """Return the messages of the events about the reasons why a job waits."""
    messages = [event.message for event in store.children(EventObject, id)]
    return [text for text in messages if text.startswith("The job waits")]


def explain_now(
    queue: JobQueue,
    running: dict[str, int],
    excluded: tuple[str, ...] = (),
    blocked: Blocked | None = None,
) -> None:
    queue._next_check = 0.0
    queue.explain(running, excluded, blocked)


def test_tenants_take_turns_and_the_jobs_of_each_are_in_order_of_priority(store: Database) -> None:
    low, first, second = (add_job(store, "a", priority=number) for number in (-1, 0, 0))
    high = add_job(store, "a", priority=10)
    others = [add_job(store, "b") for _ in range(3)]
    order = take_all(JobQueue(store, "queued", Capacity(1)))
    assert [id for id in order if id not in others] == [high, first, second, low]
    assert order[:6] == [high, others[0], first, others[1], second, others[2]]


def test_a_restart_keeps_the_order_of_the_turns(store: Database) -> None:
    jobs = {tenant: [add_job(store, tenant) for _ in range(3)] for tenant in "abc"}
    taken: list[str] = []
    for _ in range(7):
        # Each job starts in another run of the service.
        job = JobQueue(store, "queued", Capacity(1)).take({}, taken)
        assert job
        taken.append(job.id)
    assert taken == [jobs[tenant][index] for index in (0, 1) for tenant in "abc"] + [jobs["a"][2]]


def test_the_turns_of_validations_and_of_training_are_apart(store: Database) -> None:
    first = add_job(store, "a", "validating_files")
    JobQueue(store, "validating_files", Capacity(1)).take({}, ())
    store.change(JobObject, first, lambda job: setattr(job, "status", "queued"))
    add_job(store, "b")
    job = JobQueue(store, "queued", Capacity(1)).take({}, ())
    assert job
    assert job.id == first


def test_a_job_that_a_restart_interrupted_continues_first(store: Database, tmp_path: Path) -> None:
    waiting = add_job(store, "a")
    interrupted = add_job(store, "b", "running", priority=-10)
    Supervisor(store, Folder(tmp_path / "data"), Capacity(1))._recover()
    queue = JobQueue(store, "queued", Capacity(1))
    assert take_all(queue) == [interrupted, waiting]
    # It does not keep its place through a pause, with which a tenant could pass over others.
    lifecycle.apply_action(store, interrupted, "b", "pause")
    assert lifecycle.apply_action(store, interrupted, "b", "resume").rank == -10


def test_an_interrupted_job_that_crashes_later_waits_for_its_turn(
    store: Database, tmp_path: Path
) -> None:
    folder = Folder(tmp_path / "data")
    interrupted = add_job(store, "b", "running", priority=3)
    Supervisor(store, folder, Capacity(1))._recover()
    queue = JobQueue(store, "queued", Capacity(1))
    assert queue.take({}, ())
    DatabaseReports(store, folder, interrupted).begin()
    handle_end(store, folder, interrupted, JobProcess("train", "b", "", 0.0), Ended("crashed"))
    waiting = add_job(store, "a")
    job = queue.take({}, ())
    assert job
    assert job.id == waiting
    assert store.require(JobObject, interrupted, "b").rank == 3


def test_a_job_waits_with_its_position(store: Database) -> None:
    ids = [add_job(store, "a", "paused", priority) for priority in (0, 0, 5, -5)]
    add_job(store, "b")
    for id in ids:
        lifecycle.apply_action(store, id, "a", "resume")
    ahead = "The job waits: {} of this key {} before it"
    assert [waits(store, id) for id in ids] == [
        [],
        [ahead.format("1 job", "is")],
        [],
        [ahead.format("3 jobs", "are")],
    ]


def test_a_reason_is_an_event_once_until_it_changes(store: Database) -> None:
    id = add_job(store, "a")
    queue = JobQueue(store, "queued", Capacity(4, 2))
    for _ in range(3):
        explain_now(queue, {"a": 2})
    explain_now(JobQueue(store, "queued", Capacity(4, 2)), {"a": 2})  # after a restart
    of_key = "The job waits: 2 of 2 jobs of this key are running"
    assert waits(store, id) == [of_key]
    explain_now(queue, {"a": 1, "b": 3})
    assert waits(store, id) == [of_key, "The job waits: 4 of 4 jobs of all keys are running"]


def test_a_job_that_may_start_gets_no_reason(store: Database) -> None:
    id = add_job(store, "a")
    queue = JobQueue(store, "queued", Capacity(2))
    explain_now(queue, {"b": 1})
    assert not waits(store, id)


def test_a_job_without_room_says_why_and_the_others_that_they_wait_for_it(store: Database) -> None:
    ids = [add_job(store, tenant) for tenant in ("a", "b")]
    queue = JobQueue(store, "queued", Capacity(4))
    for _ in range(2):
        explain_now(queue, {}, blocked=Blocked(ids[0], "no node has 4 GPU free"))
    assert waits(store, ids[0]) == ["The job waits: no node has 4 GPU free"]
    assert waits(store, ids[1]) == ["The job waits: the next job in the queue has no room yet"]
    explain_now(queue, {}, blocked=Blocked(None, "the cluster cannot be reached"))
    assert [waits(store, id)[1:] for id in ids] == [
        ["The job waits: the cluster cannot be reached"]
    ] * 2


def test_only_the_first_job_of_each_tenant_gets_a_reason(store: Database) -> None:
    ids = [add_job(store, tenant) for tenant in ("a", "a", "b")]
    explain_now(JobQueue(store, "queued", Capacity(1)), {"c": 1})
    reason = "The job waits: 1 of 1 jobs of all keys is running"
    assert [waits(store, id) for id in ids] == [[reason], [], [reason]]


def test_a_job_that_waits_again_gets_the_reason_again(store: Database) -> None:
    id = add_job(store, "a")
    queue = JobQueue(store, "queued", Capacity(1))
    explain_now(queue, {"b": 1})
    assert queue.take({}, ())
    explain_now(queue, {"b": 1})  # its process ended, and it is queued
    assert len(waits(store, id)) == 2


def test_the_number_of_reasons_of_a_job_is_bounded(store: Database) -> None:
    id = add_job(store, "a")
    queue = JobQueue(store, "queued", Capacity(2, 1))
    for _ in range(50):
        explain_now(queue, {"a": 1})
        explain_now(queue, {"b": 1, "c": 1})
    assert len(waits(store, id)) == job_queue.MAX_REASONS


def test_many_tenants_get_their_reasons_one_part_after_the_other(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_queue, "JOBS_PER_CHECK", 2)
    ids = [add_job(store, f"t{number}") for number in range(5)]
    queue = JobQueue(store, "queued", Capacity(1))
    counts = []
    for _ in range(4):
        explain_now(queue, {"x": 1})
        counts.append(sum(len(waits(store, id)) for id in ids))
    assert counts == [2, 4, 5, 5]


def test_reasons_are_not_checked_at_every_poll(store: Database) -> None:
    queue = JobQueue(store, "queued", Capacity(1))
    queue.explain({"x": 1}, ())
    id = add_job(store, "a")
    queue.explain({"x": 1}, ())
    assert not waits(store, id)


def test_a_service_limits_the_jobs_of_a_key_and_checks_priorities(tmp_path: Path) -> None:
    with (
        LocalServer(tmp_path / "data", max_jobs=0, limits={"unfinished": 1}) as server,
        server.client() as client,
    ):
        file = upload_file(client).id
        create = partial(client.fine_tuning.jobs.create, model=SMOKE, training_file=file)
        with pytest.raises(
            openai.BadRequestError, match="expected an integer from -10 to 10"
        ) as bad:
            create(metadata={"ftkit_priority": "urgent"})
        assert (bad.value.param, bad.value.code) == ("metadata", "invalid_value")
        job = create(metadata={"ftkit_priority": "-3"})
        with pytest.raises(openai.RateLimitError, match="has 1 unfinished job, the maximum"):
            create()
        client.fine_tuning.jobs.cancel(job.id)
        assert create().metadata is None


@pytest.mark.parametrize(
    ("arguments", "limits", "capacity"),
    [
        ([], TenantLimits(None, 1_000), Capacity(1, None, False)),
        (
            ["--max-jobs", "4", "--max-jobs-per-key", "2", "--max-unfinished-per-key", "50"],
            TenantLimits(2, 50),
            Capacity(4, 2, False),
        ),
        (["--shared-priorities"], TenantLimits(), Capacity(1, None, True)),
    ],
)
def test_options_of_the_command_set_the_limits(
    arguments: list[str],
    limits: TenantLimits,
    capacity: Capacity,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    services: list[ServerSettings] = []
    monkeypatch.setattr("ftkit.cli.serve.PACKAGES", ())
    monkeypatch.setattr("ftkit.server.run.run", lambda settings, *_: services.append(settings))
    assert run(["serve", "--data-dir", str(tmp_path), *arguments]) == 0
    (settings,) = services
    assert (settings.limits, settings.capacity) == (limits, capacity)


@pytest.mark.parametrize("option", ["--max-jobs-per-key", "--max-unfinished-per-key"])
def test_a_limit_of_0_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", option, "0"]) == 2
    assert option in capsys.readouterr().err


QUEUED = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(-10, INTERRUPTED), st.booleans(), st.booleans()),
    max_size=12,
)


@given(QUEUED)
@hypothesis_settings(deadline=None, max_examples=example_count(60))
def test_the_first_jobs_and_positions_are_those_of_a_sorted_list(
    jobs: list[tuple[str, int, bool, bool]],
) -> None:
    with TemporaryDirectory() as folder:
        store = Database(Path(folder) / "service.db", durable=False)
        ids = [
            add_job(store, tenant, "queued" if queued else "paused", rank)
            for tenant, rank, queued, _ in jobs
        ]
        excluded = [id for id, (*_, skip) in zip(ids, jobs, strict=True) if skip]
        ranked = [
            (tenant, -rank, number, id)
            for number, (id, (tenant, rank, queued, _)) in enumerate(zip(ids, jobs, strict=True), 1)
            if queued
        ]
        firsts: dict[str, tuple[str, str, int, int]] = {}
        for tenant, rank, number, id in sorted(ranked):
            if id not in excluded:
                firsts.setdefault(tenant, (id, tenant, -rank, number))
            job = store.get(JobObject, id)
            assert job
            before = [
                other for other in ranked if other[0] == tenant and other < (tenant, rank, number)
            ]
            assert count_before(store, job, 5) == min(len(before), 5)
        assert first_in_queue(store, "queued", excluded) == list(firsts.values())
        store.close()


@pytest.mark.slow
def test_the_time_to_choose_does_not_grow_with_the_jobs_of_a_tenant(store: Database) -> None:
    def seconds() -> float:
        queue = JobQueue(store, "queued", Capacity(1))
        began = time.perf_counter()
        for _ in range(20):
            assert queue.take({}, ())
        return time.perf_counter() - began

    add_job(store, "a")
    few = seconds()
    with store.transaction():
        for _ in range(20_000):
            add_job(store, "a")
    assert seconds() < 10 * few
