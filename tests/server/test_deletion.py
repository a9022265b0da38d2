"""What is deleted from the local server is gone from the disk."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from ftkit.server import lifecycle
from ftkit.server.cleanup import collect_garbage
from ftkit.server.database import Database
from ftkit.server.errors import ConflictError
from ftkit.server.folder import Folder
from ftkit.server.models import ModelRegistry
from ftkit.server.objects import CheckpointObject, FileObject, JobObject, ModelObject
from support.local_server import LocalServer, wait_for_job
from support.models import SMOKE
from support.server_requests import CLEAN_DATA, create_job, upload_file
from support.traces import leave_training_data, traces, wait_until_gone

TEXT = "unlikely-words-in-a-file"
MARKER = TEXT.encode()
CONTENT = CLEAN_DATA.replace(b"follows 0", b"follows " + MARKER)


@pytest.mark.slow
@pytest.mark.parametrize(
    "order",
    [
        "delete",
        "create delete cancel",
        "create cancel delete",
        "create validated delete cancel",
        "create validated pause delete cancel",
        "create pause delete cancel",
        "create pause resume validated delete cancel",
        "create pause stop delete cancel",
        "create pause kill delete cancel",
        "create kill delete validated cancel",
        "create delete kill cancel",
        "create delete cancel kill",
        "create validated train delete kill cancel",
        "create validated train pause stop cancel delete",
        "create validated log cancel delete",
        "create validated log delete cancel",
    ],
)
def test_a_deleted_content_is_gone_after_any_order(order: str, tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", max_jobs=0) as server:
        file = upload_file(server.client(), CONTENT).id
        job = ""
        for step in order.split():
            jobs = server.client().fine_tuning.jobs
            if step == "create":
                job = jobs.create(model=SMOKE, training_file=file).id
            elif step == "delete":
                server.client().files.delete(file)
            elif step == "validated":
                wait_for_job(server.client(), job, "queued")
            elif step in ("cancel", "pause", "resume"):
                getattr(jobs, step)(job)
            elif step == "train":
                leave_training_data(server.folder / "jobs" / job, TEXT)
            elif step == "log":
                (server.folder / "jobs" / job / "process.log").write_bytes(MARKER)
            else:
                getattr(server, step)()
                server.start()
        wait_until_gone(server.folder, TEXT)


def test_what_a_killed_server_left_behind_is_removed_at_the_next_start(
    store: Database, tmp_path: Path
) -> None:
    folder = Folder(tmp_path)
    orphan = folder.keep_bytes(MARKER + b"1").sha256
    needed = folder.keep_bytes(b"needed").sha256
    file = FileObject(tenant="t", bytes=6, filename="a.jsonl", purpose="fine-tune", sha256=needed)
    store.add(file)
    for name in ("part_abc", "new-abc"):
        (tmp_path / "parts" / name).write_bytes(MARKER)
    id = create_job(store)
    job = store.get(JobObject, id)
    assert job
    lifecycle.add_model(store, job, "ft:a:b:c", 4)
    for name in (f"{id}/adapter-4", f"{id}/adapter-3", f"{id}/checkpoints", "ftjob-gone/x"):
        (folder.root / "jobs" / name).mkdir(parents=True)
        (folder.root / "jobs" / name / "state").write_bytes(MARKER)
    store.change(JobObject, id, lambda job: setattr(job, "status", "failed"))
    collect_garbage(store, folder)
    assert traces(tmp_path, TEXT) == [f"jobs/{id}/adapter-4/state"]
    assert folder.blob(needed).exists()
    assert not folder.blob(orphan).exists()


def test_names_of_deleted_files_are_gone_from_the_database(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data") as server:
        client = server.client()
        name = f"{TEXT}.jsonl"
        client.files.delete(upload_file(client, name=name).id)
        upload = client.uploads.create(
            bytes=2, filename=name, mime_type="x", purpose="fine-tune"
        ).id
        part = client.uploads.parts.create(upload, data=b"{}")
        completed = client.uploads.complete(upload, part_ids=[part.id])
        assert completed.file
        client.files.delete(completed.file.id)
        with pytest.raises(openai.NotFoundError):
            client.uploads.complete(upload, part_ids=[part.id])
        server.stop()
        assert not traces(server.folder, TEXT)


def test_a_model_is_deleted_with_its_checkpoints_and_their_adapters(
    local_server: LocalServer, client: openai.OpenAI
) -> None:
    store, folder = Database(local_server.folder / "service.db"), Folder(local_server.folder)
    id = client.fine_tuning.jobs.create(model=SMOKE, training_file=upload_file(client).id).id
    client.fine_tuning.jobs.cancel(id)
    job = store.get(JobObject, id)
    assert job
    name = lifecycle.tuned_name(job)
    for step in (1, 2, 3):
        folder.adapter(id, step).mkdir(parents=True)
        (folder.adapter(id, step) / "adapter_model.safetensors").write_bytes(b"weights")
        lifecycle.add_checkpoint(store, job, step, {}, 3)
    lifecycle.add_model(store, job, name, 3)
    store.change(JobObject, id, lambda job: setattr(job, "fine_tuned_model", name))
    client.models.delete(lifecycle.tuned_name(job, 1))
    assert not folder.adapter(id, 1).exists()
    assert folder.adapter(id, 2).exists()
    client.models.delete(name)
    assert not list((local_server.folder / "jobs" / id).glob("adapter-*"))
    assert not [model for model in client.models.list() if model.id.startswith(name)]
    assert not list(client.fine_tuning.jobs.checkpoints.list(id))
    store.close()


def test_a_model_is_kept_whole_while_a_job_trains_on_one_of_its_checkpoints(
    store: Database,
) -> None:
    job = store.get(JobObject, create_job(store))
    assert job
    name = lifecycle.tuned_name(job)
    lifecycle.add_checkpoint(store, job, 1, {}, 3)
    lifecycle.add_model(store, job, name, 2)
    store.change(JobObject, job.id, lambda job: setattr(job, "fine_tuned_model", name))
    body = lifecycle.JobBody(model=lifecycle.tuned_name(job, 1), training_file="file-1")
    lifecycle.create_job(store, ModelRegistry(store, {}), body, "t")
    with pytest.raises(ConflictError, match="ckpt-step-1"):
        lifecycle.delete_model(store, name, "t")
    assert store.get(ModelObject, name)
    assert store.children(CheckpointObject, job.id)
