"""The store of the local server."""

from __future__ import annotations

import pytest

from ftkit.server import jobs
from ftkit.server.bases import Bases
from ftkit.server.bodies import JobBody
from ftkit.server.errors import Refusal
from ftkit.server.store import Store
from support.models import SMOKE
from support.server_requests import create_job


def test_a_checkpoint_that_a_job_trains_on_is_kept(store: Store) -> None:
    job = store.get("job", create_job(store))
    assert job
    jobs.add_checkpoint(store, job, 1, {})
    file = job.shown["training_file"]
    user = jobs.create(
        store,
        Bases(store, {}),
        JobBody(model=jobs.tuned_name(job, 1), training_file=file),
        job.tenant,
    )
    assert [jobs.add_checkpoint(store, job, step, {}) for step in (2, 3, 4)] == [[], [], []]
    store.change("job", user.id, lambda found: found.shown.update(status="succeeded"))
    assert jobs.add_checkpoint(store, job, 5, {}) == [1, 2]


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
    status: str, action: str, after: str | None, store: Store
) -> None:
    id = create_job(store)
    store.change(
        "job", id, lambda job: (job.shown.update(status=status), job.kept.update(valid=True))[0]
    )
    if after is None:
        with pytest.raises(Refusal, match=f"is {status} cannot be"):
            jobs.act(store, id, "t", action)
    else:
        assert jobs.act(store, id, "t", action).shown["status"] == after


def test_a_job_that_was_paused_before_its_check_is_checked_when_it_resumes(store: Store) -> None:
    id = create_job(store)
    jobs.act(store, id, "t", "pause")
    assert jobs.act(store, id, "t", "resume").shown["status"] == "validating_files"


def test_the_queue_of_a_tenant_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "QUEUE", 2)
    create_job(store)
    jobs.create(store, Bases(store, {}), JobBody(model=SMOKE, training_file="file-1"), "t")
    with pytest.raises(Refusal) as error:
        jobs.create(store, Bases(store, {}), JobBody(model=SMOKE, training_file="file-1"), "t")
    assert error.value.status == 429


def test_an_event_with_a_key_is_added_once(store: Store) -> None:
    id = create_job(store)
    before = len(store.children("event", id))
    for _ in range(3):
        jobs.add_event(store, id, "t", "Step 1/2", data={"step": 1}, key="train 1")
    assert len(store.children("event", id)) == before + 1


def test_the_last_three_checkpoints_are_kept_with_their_models(store: Store) -> None:
    id = create_job(store)
    job = store.get("job", id)
    assert job
    dropped = [
        jobs.add_checkpoint(store, job, step, {"train_loss": 1.0}) for step in (5, 10, 15, 20)
    ]
    assert dropped == [[], [], [], [5]]
    assert [each.shown["step_number"] for each in store.children("checkpoint", id)] == [10, 15, 20]
    assert store.get("model", jobs.tuned_name(job, 5)) is None
    assert store.get("model", jobs.tuned_name(job, 20)) is not None


def test_a_model_that_a_job_trains_on_is_not_deleted(store: Store) -> None:
    id = create_job(store)
    job = store.get("job", id)
    assert job
    jobs.add_model(store, job, "ft:a:b:c", 4)
    jobs.create(store, Bases(store, {}), JobBody(model="ft:a:b:c", training_file="file-1"), "t")
    with pytest.raises(Refusal, match="is training on"):
        jobs.delete_model(store, "ft:a:b:c", "t")


def test_a_transaction_that_fails_changes_nothing(store: Store) -> None:
    def fails() -> None:
        with store.transaction():
            store.add("file", "file-9", "t", {"id": "file-9"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert store.get("file", "file-9") is None
