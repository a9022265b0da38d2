"""Files that expire: `expires_after` of files and uploads."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import openai
import pytest

from ftkit.server.database import Database
from ftkit.server.objects import FileObject
from support.local_server import LocalServer, wait_for_job
from support.models import SMOKE
from support.server_requests import CLEAN_DATA, upload_file
from support.traces import traces, wait_until_gone

HOUR: Any = {"anchor": "created_at", "seconds": 3600}
MARKER = "expiring-words-in-a-file"
CONTENT = CLEAN_DATA.replace(b"follows 0", b"follows " + MARKER.encode())


def create(client: openai.OpenAI, content: bytes = CLEAN_DATA, expiry: Any = HOUR) -> Any:
    return client.files.create(
        file=("data.jsonl", content), purpose="fine-tune", expires_after=expiry
    )


def upload(client: openai.OpenAI, content: bytes = CLEAN_DATA, expiry: Any = HOUR) -> Any:
    upload = client.uploads.create(
        bytes=len(content),
        filename="data.jsonl",
        mime_type="application/jsonl",
        purpose="fine-tune",
        expires_after=expiry,
    )
    part = client.uploads.parts.create(upload.id, data=content)
    return client.uploads.complete(upload.id, part_ids=[part.id]).file


def expire(client: openai.OpenAI, server: LocalServer, id: str) -> None:
    """Set the expiry of a file to the present second, and wait until the file is gone."""
    store = Database(server.folder / "service.db")
    store.change(FileObject, id, lambda file: setattr(file, "expires_at", int(time.time())))
    deadline = time.monotonic() + 5
    while id in [file.id for file in client.files.list()]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("send", [create, upload])
def test_a_file_expires_when_it_was_asked_to(
    send: Any, client: openai.OpenAI, local_server: LocalServer
) -> None:
    file = send(client, CONTENT)
    assert file.expires_at == file.created_at + 3600
    assert client.files.retrieve(file.id).expires_at == file.expires_at
    assert client.files.content(file.id).read() == CONTENT
    assert traces(local_server.folder / "blobs", MARKER)
    expire(client, local_server, file.id)
    for request in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            request(file.id)
    with pytest.raises(openai.BadRequestError, match="does not exist"):
        client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id)
    wait_until_gone(local_server.folder, MARKER)


def test_a_file_without_expiry_is_kept(client: openai.OpenAI) -> None:
    file = upload_file(client)
    assert file.expires_at is None
    time.sleep(0.3)
    assert client.files.retrieve(file.id).id == file.id


def test_a_job_keeps_its_expired_file_until_it_ends(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", max_jobs=0) as server:
        client = server.client()
        file = create(client, CONTENT)
        job = client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id).id
        expire(client, server, file.id)
        wait_for_job(client, job, "queued")
        assert f"jobs/{job}/training.jsonl" in traces(server.folder, MARKER)
        client.fine_tuning.jobs.cancel(job)
        wait_until_gone(server.folder, MARKER)


@pytest.mark.parametrize("send", [create, upload])
@pytest.mark.parametrize(
    ("expiry", "param", "code"),
    [
        ({"anchor": "created_at", "seconds": 3599}, "expires_after.seconds", "invalid_value"),
        ({"anchor": "created_at", "seconds": 2_592_001}, "expires_after.seconds", "invalid_value"),
        ({"anchor": "created_at", "seconds": "soon"}, "expires_after.seconds", "invalid_value"),
        ({"anchor": "last_used", "seconds": 3600}, "expires_after.anchor", "invalid_value"),
        ({"seconds": 3600}, "expires_after.anchor", "missing_required_parameter"),
        ({"anchor": "created_at"}, "expires_after.seconds", "missing_required_parameter"),
        (HOUR | {"hours": 1}, "expires_after.hours", "unknown_parameter"),
        ('{"anchor": "created_at", "seconds": 3600}', "expires_after", "invalid_value"),
    ],
)
def test_an_invalid_expiry_is_refused(
    expiry: Any, param: str, code: str, send: Any, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        send(client, expiry=expiry)
    assert (error.value.param, error.value.code) == (param, code)
