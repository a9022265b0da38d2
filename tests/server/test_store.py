"""The store of the local server."""

from __future__ import annotations

import sqlite3

import pytest

from ftkit.server import lifecycle
from ftkit.server.bodies import JobBody
from ftkit.server.database import Database
from ftkit.server.errors import ConflictError, InvalidRequestError, LimitReachedError
from ftkit.server.job_limits import TenantLimits
from ftkit.server.models import ModelRegistry
from ftkit.server.objects import CheckpointObject, EventObject, JobObject, ModelObject
from ftkit.server.objects import FileObject as StoredFile
from ftkit.server.responses import ERRORS
from support.models import SMOKE
from support.server_requests import create_job


def test_a_checkpoint_that_a_job_trains_on_is_kept(store: Database) -> None:
    job = store.get(JobObject, create_job(store))
    assert job
    lifecycle.add_checkpoint(store, job, 1, {}, 3)
    file = job.training_file
    user = lifecycle.create_job(
        store,
        ModelRegistry(store, {}),
        JobBody(model=lifecycle.tuned_name(job, 1), training_file=file),
        job.tenant,
    )
    assert [lifecycle.add_checkpoint(store, job, step, {}, 3) for step in (2, 3, 4)] == [[], [], []]
    store.change(JobObject, user.id, lambda job: setattr(job, "status", "succeeded"))
    assert lifecycle.add_checkpoint(store, job, 5, {}, 3) == [1, 2]


@pytest.mark.parametrize(
    ("status", "action", "after"),
    [
        ("validating_files", "cancel", "cancelled"),
        ("queued", "cancel", "cancelled"),
        ("running", "cancel", "cancelled"),
        ("pausing", "cancel", "cancelled"),
        ("paused", "cancel", "cancelled"),
        ("succeeded", "cancel", None),
        ("failed", "cancel", None),
        ("cancelled", "cancel", None),
        ("queued", "pause", "paused"),
        ("running", "pause", "pausing"),
        ("paused", "pause", None),
        ("succeeded", "pause", None),
        ("paused", "resume", "queued"),
        ("running", "resume", None),
        ("failed", "resume", None),
    ],
)
def test_what_may_be_done_to_a_job_follows_from_its_state(
    status: str, action: str, after: str | None, store: Database
) -> None:
    id = create_job(store)
    store.change(JobObject, id, lambda job: setattr(job, "status", status))
    store.change(JobObject, id, lambda job: setattr(job, "valid", True))
    if after is None:
        with pytest.raises(InvalidRequestError, match=f"is {status} cannot be"):
            lifecycle.apply_action(store, id, "t", action)
    else:
        assert lifecycle.apply_action(store, id, "t", action).status == after


def test_a_job_that_was_paused_before_its_check_is_checked_when_it_resumes(store: Database) -> None:
    id = create_job(store)
    lifecycle.apply_action(store, id, "t", "pause")
    assert lifecycle.apply_action(store, id, "t", "resume").status == "validating_files"


def test_the_queue_of_a_tenant_is_bounded(store: Database) -> None:
    create_job(store)
    models, body = ModelRegistry(store, {}), JobBody(model=SMOKE, training_file="file-1")
    two = TenantLimits(unfinished=2)
    lifecycle.create_job(store, models, body, "t", two)
    with pytest.raises(LimitReachedError, match="has 2 unfinished jobs, the maximum") as error:
        lifecycle.create_job(store, models, body, "t", two)
    assert ERRORS[type(error.value)][0] == 429


def test_an_event_with_a_key_is_added_once(store: Database) -> None:
    id = create_job(store)
    before = len(store.children(EventObject, id))
    for _ in range(3):
        lifecycle.add_event(store, id, "t", "Step 1/2", data={"step": 1}, key="train 1")
    assert len(store.children(EventObject, id)) == before + 1


@pytest.mark.parametrize(("limit", "kept"), [(1, [20]), (3, [10, 15, 20])])
def test_the_last_checkpoints_are_kept_with_their_models(
    limit: int, kept: list[int], store: Database
) -> None:
    id = create_job(store)
    job = store.get(JobObject, id)
    assert job
    steps = [5, 10, 15, 20]
    dropped: list[int] = []
    for step in steps:
        dropped += lifecycle.add_checkpoint(store, job, step, {"train_loss": 1.0}, limit)
    assert dropped == steps[:-limit]
    checkpoints = store.children(CheckpointObject, id)
    assert [checkpoint.step_number for checkpoint in checkpoints] == kept
    assert store.get(ModelObject, lifecycle.tuned_name(job, 5)) is None
    assert store.get(ModelObject, lifecycle.tuned_name(job, 20)) is not None


def test_a_model_that_a_job_trains_on_is_not_deleted(store: Database) -> None:
    id = create_job(store)
    job = store.get(JobObject, id)
    assert job
    lifecycle.add_model(store, job, "ft:a:b:c", 4)
    lifecycle.create_job(
        store, ModelRegistry(store, {}), JobBody(model="ft:a:b:c", training_file="file-1"), "t"
    )
    with pytest.raises(ConflictError, match="is training on"):
        lifecycle.delete_model(store, "ft:a:b:c", "t")


def test_a_transaction_that_fails_changes_nothing(store: Database) -> None:
    def fails() -> None:
        with store.transaction():
            store.add(
                StoredFile(id="file-9", tenant="t", bytes=2, filename="a", purpose="x", sha256="0")
            )
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert store.get(StoredFile, "file-9") is None


def test_a_commit_that_fails_changes_nothing_and_later_ones_succeed(store: Database) -> None:
    store._connection().execute("PRAGMA foreign_keys = ON")
    with store.transaction() as connection:
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE b (a REFERENCES a DEFERRABLE INITIALLY DEFERRED)")

    def fails() -> None:
        with store.transaction() as connection:
            create_job(store)
            connection.execute("INSERT INTO b VALUES (1)")  # which only the commit refuses

    with pytest.raises(sqlite3.IntegrityError):
        fails()
    assert store.count(JobObject, "t") == 0
    id = create_job(store)
    other = Database(store._path)
    assert other.get(JobObject, id)
    other.close()
