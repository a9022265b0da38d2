"""State of the local server through kills, full disks and deletions."""

from __future__ import annotations

import resource
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from ftkit.server import files, job_processes, lifecycle, supervisor
from ftkit.server.bodies import JobBody
from ftkit.server.database import Database
from ftkit.server.folder import Blob, Folder, Writer
from ftkit.server.models import ModelRegistry
from ftkit.server.multipart import Form
from ftkit.server.objects import FileObject as StoredFile
from ftkit.server.objects import JobObject
from support.local_server import LocalServer, event_messages
from support.models import SMOKE
from support.server_requests import CLEAN_DATA, create_job, upload_file


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data") as server:
        created_ids: list[str] = []
        gone = threading.Event()

        def work() -> None:
            client = server.client()
            try:
                while not gone.is_set():
                    file = upload_file(client)
                    job = client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id)
                    created_ids.append(job.id)
            except openai.OpenAIError:
                pass

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        while len(created_ids) < 30:
            time.sleep(0.01)
        server.kill()
        gone.set()
        for thread in threads:
            thread.join()
        server.start()
        client = server.client()
        jobs = {job.id: job for job in client.fine_tuning.jobs.list(limit=100)}
        assert set(created_ids) <= jobs.keys()
        for id in created_ids:
            assert client.files.content(jobs[id].training_file).read() == CLEAN_DATA
            assert event_messages(client, id)[0] == f"Created fine-tuning job: {id}"


@pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="limits of other processes are Linux's"
)
def test_a_disk_that_is_full_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    # A process inherits the limit if it is started, not forked.
    with LocalServer(tmp_path / "data", forked=False) as server:
        client = server.client()
        file = upload_file(client)
        _, most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (2 << 20, most))
        with pytest.raises(openai.InternalServerError) as error:
            upload_file(client, CLEAN_DATA * 3000)
        assert error.value.body["type"] == "server_error"  # type: ignore[index]
        assert "File too large" in error.value.message
        assert not list((server.folder / "parts").iterdir())
        assert client.files.content(file.id).read() == CLEAN_DATA
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, most))
        assert upload_file(client, CLEAN_DATA * 3000).bytes == len(CLEAN_DATA) * 3000


def test_a_content_that_is_given_again_while_its_file_is_deleted_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    store = Database(folder.database)

    def add() -> Any:
        form = Form(writer := Writer(folder.temporary()), 100)
        form.fields, form.file_name = {"purpose": "fine-tune"}, "a.jsonl"
        writer.write(b"{}")
        return files.create_file(store, folder, "t", form, writer)

    first, deleting = add(), []
    keep = folder.keep

    def slow(writer: Writer) -> Blob:
        stored = keep(writer)
        deleting.append(
            threading.Thread(
                target=lambda: files.delete_file(Database(folder.database), folder, "t", first.id)
            )
        )
        deleting[0].start()
        time.sleep(0.3)
        return stored

    monkeypatch.setattr(folder, "keep", slow)
    second = add()
    deleting[0].join()
    stored_file = store.get(StoredFile, second.id)
    assert stored_file
    assert folder.blob(stored_file.sha256).read_bytes() == b"{}"
    assert store.get(StoredFile, first.id) is None


@pytest.mark.parametrize("status", ["validating_files", "paused"])
def test_a_file_that_a_job_has_not_read_yet_is_kept_for_it_and_no_longer(
    status: str, tmp_path: Path
) -> None:
    folder = Folder(tmp_path)
    store = Database(folder.database)
    stored = folder.keep_bytes(b"{}")
    store.add(
        StoredFile(
            id="file-1",
            tenant="t",
            bytes=2,
            filename="a",
            purpose="fine-tune",
            sha256=stored.sha256,
        )
    )
    job = lifecycle.create_job(
        store, ModelRegistry(store, {}), JobBody(model=SMOKE, training_file="file-1"), "t"
    )
    store.change(JobObject, job.id, lambda job: setattr(job, "status", status))
    files.delete_file(store, folder, "t", "file-1")
    assert folder.blob(stored.sha256).exists()
    store.change(JobObject, job.id, lambda job: setattr(job, "valid", True))
    store.change(JobObject, job.id, lambda job: setattr(job, "status", "queued"))
    files.remove_unused_blob(store, folder, stored.sha256)
    assert not folder.blob(stored.sha256).exists()


def test_jobs_are_taken_up_once_the_disk_has_room_again(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = create_job(store)
    store.change(JobObject, id, lambda job: setattr(job, "status", "pausing"))
    real, full = lifecycle.transition, iter((True,))

    def move(*arguments: Any, **shown: Any) -> bool:
        if next(full, False):
            raise sqlite3.OperationalError("database or disk is full")
        return real(*arguments, **shown)

    monkeypatch.setattr(job_processes, "transition", move)
    watching = supervisor.Supervisor(store, Folder(tmp_path), 1)
    watching.start()
    try:
        for _ in range(100):
            if store.matching(JobObject, "paused"):
                break
            time.sleep(0.05)
        assert store.matching(JobObject, "paused")
    finally:
        watching.stop()


def test_a_content_is_kept_once_and_lent_for_as_long_as_it_is_needed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    one, two = folder.keep_bytes(b"abc"), folder.keep_bytes(b"abc")
    assert one == two
    folder.link_blob(one.sha256, folder.job("j") / "training.jsonl")
    folder.blob(one.sha256).unlink()
    assert (folder.job("j") / "training.jsonl").read_bytes() == b"abc"
