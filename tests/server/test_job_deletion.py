"""Deletion of jobs of the local server, with all that belongs to them."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from ftkit.server.bodies import JobBody
from ftkit.server.cleanup import collect_garbage, remove_job_data
from ftkit.server.errors import ConflictError
from ftkit.server.job_deletion import delete_job
from ftkit.server.lifecycle import create_job, tuned_name
from ftkit.server.models import ModelRegistry
from ftkit.server.objects import JobObject, ModelObject
from support.job_store import JobStore
from support.local_server import LocalServer, wait_for_job
from support.models import SMOKE
from support.server_requests import raw_request, upload_file
from support.traces import traces

SECRET = "unlikely-words-in-a-job"


def finished_job(stored: JobStore) -> str:
    """A job whose every part has the text SECRET in it."""
    results = stored.add_file(SECRET.encode(), f"{SECRET}.csv")
    id = stored.add_job(metadata={"note": SECRET}, result_files=[results.id])
    stored.add_steps(id, 1, 20, 20)
    stored.add_message(id, SECRET)
    stored.add_model(id, 10, is_last=False)
    stored.add_model(id, 20)
    stored.write_log(id, SECRET)
    return id


def test_a_finished_job_is_deleted_with_all_that_belongs_to_it(
    local_server: LocalServer, client: openai.OpenAI
) -> None:
    with JobStore(local_server.folder) as stored:
        id = finished_job(stored)
        file = client.fine_tuning.jobs.retrieve(id).training_file
        assert len(traces(local_server.folder, SECRET)) >= 3
        answer = raw_request(client, "DELETE", f"fine_tuning/jobs/{id}")
        assert answer == (200, {"id": id, "object": "fine_tuning.job", "deleted": True})
        assert not (local_server.folder / "jobs" / id).exists()
        stored.database.checkpoint()
        assert traces(local_server.folder, SECRET) == []
    for path in ("", "/events", "/checkpoints", "/log"):
        assert raw_request(client, "GET", f"fine_tuning/jobs/{id}{path}")[0] == 404
    assert not [model for model in client.models.list() if id[6:14] in model.id]
    assert client.files.retrieve(file).id == file
    assert raw_request(client, "DELETE", f"fine_tuning/jobs/{id}")[0] == 404


def test_a_job_that_has_not_finished_is_not_deleted(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", max_jobs=0) as server, server.client() as client:
        job = client.fine_tuning.jobs.create(model=SMOKE, training_file=upload_file(client).id).id
        wait_for_job(client, job, "queued")
        status, body = raw_request(client, "DELETE", f"fine_tuning/jobs/{job}")
        assert (status, body["error"]["code"]) == (400, "invalid_job_state")
        message = "A job that is queued cannot be deleted; cancel it first."
        assert body["error"]["message"] == message
        client.fine_tuning.jobs.cancel(job)
        assert raw_request(client, "DELETE", f"fine_tuning/jobs/{job}")[0] == 200


def test_a_job_is_kept_until_its_process_has_ended(tmp_path: Path) -> None:
    with JobStore(tmp_path) as stored:
        id = stored.add_job(status="cancelled", handle="7:1")
        with pytest.raises(ConflictError, match="try again in a few seconds"):
            delete_job(stored.database, stored.folder, id, "local")
        assert stored.database.get(JobObject, id)


def test_a_job_is_kept_whole_while_another_trains_on_its_model(tmp_path: Path) -> None:
    with JobStore(tmp_path) as stored:
        id = stored.add_job()
        name = stored.add_model(id, 20)
        body = JobBody(model=name, training_file=stored.add_file(b"{}\n").id)
        user = create_job(stored.database, ModelRegistry(stored.database, {}), body, "local")
        with pytest.raises(ConflictError, match=f"The job {user.id} is training on {name}"):
            delete_job(stored.database, stored.folder, id, "local")
        job = stored.database.get(JobObject, id)
        assert job
        assert stored.database.get(ModelObject, tuned_name(job))
        assert stored.folder.adapter(id, 20).is_dir()


def test_a_job_of_another_key_is_not_deleted(tmp_path: Path) -> None:
    with (
        LocalServer(tmp_path / "data", keys=("one", "two"), max_jobs=0) as server,
        server.client("one") as one,
        server.client("two") as two,
    ):
        job = one.fine_tuning.jobs.create(model=SMOKE, training_file=upload_file(one).id).id
        one.fine_tuning.jobs.cancel(job)
        with pytest.raises(openai.NotFoundError):
            two.delete(f"/fine_tuning/jobs/{job}", cast_to=object)
        assert one.fine_tuning.jobs.retrieve(job).status == "cancelled"


def test_what_a_process_writes_after_the_deletion_is_removed(tmp_path: Path) -> None:
    with JobStore(tmp_path) as stored:
        ids = [stored.add_job(status="cancelled") for _ in range(2)]
        for id, remove in zip(ids, (remove_job_data, None), strict=True):
            delete_job(stored.database, stored.folder, id, "local")
            path = stored.write_log(id, "late")
            if remove:
                remove(stored.database, stored.folder, id)
            else:
                collect_garbage(stored.database, stored.folder)
            assert not path.parent.exists()
