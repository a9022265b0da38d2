"""Uploads in parts to the local server."""

from __future__ import annotations

import hashlib
from pathlib import Path

import openai
import pytest

from ftkit.server import files
from ftkit.server.bodies import UploadBody
from ftkit.server.database import Database
from ftkit.server.errors import InvalidRequestError, LimitReachedError
from ftkit.server.folder import Folder, Writer
from ftkit.server.objects import UploadObject
from support.local_server import LocalServer
from support.server_requests import CLEAN_DATA


def test_an_upload_in_parts_becomes_one_file(client: openai.OpenAI) -> None:
    upload = client.uploads.create(
        bytes=len(CLEAN_DATA),
        filename="big.jsonl",
        mime_type="application/jsonl",
        purpose="fine-tune",
    )
    first = client.uploads.parts.create(upload.id, data=CLEAN_DATA[:500])
    wrong = client.uploads.parts.create(upload.id, data=b"never mind")
    second = client.uploads.parts.create(upload.id, data=CLEAN_DATA[500:])
    with pytest.raises(openai.BadRequestError):
        client.uploads.complete(upload.id, part_ids=[first.id, wrong.id])
    with pytest.raises(openai.NotFoundError):
        client.uploads.complete(upload.id, part_ids=["part_none"])
    done = client.uploads.complete(upload.id, part_ids=[first.id, second.id])
    assert done.status == "completed"
    assert done.file
    assert client.files.content(done.file.id).read() == CLEAN_DATA
    again = client.uploads.complete(upload.id, part_ids=[first.id, second.id])
    assert again.file
    assert again.file.id == done.file.id


def test_a_cancelled_upload_takes_no_more_parts(
    client: openai.OpenAI, local_server: LocalServer
) -> None:
    upload = client.uploads.create(
        bytes=10, filename="big.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    client.uploads.parts.create(upload.id, data=b"0123456789")
    assert client.uploads.cancel(upload.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.uploads.parts.create(upload.id, data=b"more")
    assert not list((local_server.folder / "parts").iterdir())


def test_a_part_over_64_mb_is_refused(client: openai.OpenAI) -> None:
    upload = client.uploads.create(
        bytes=100 << 20, filename="big.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    with pytest.raises(openai.APIStatusError) as error:
        client.uploads.parts.create(upload.id, data=bytes(65 << 20))
    assert error.value.status_code == 413


def test_an_upload_with_a_wrong_checksum_or_size_is_refused(client: openai.OpenAI) -> None:
    upload = client.uploads.create(
        bytes=3, filename="a.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    part = client.uploads.parts.create(upload.id, data=b"{}\n")
    with pytest.raises(openai.BadRequestError, match="md5"):
        client.uploads.complete(upload.id, part_ids=[part.id], md5="0" * 32)
    done = client.uploads.complete(
        upload.id, part_ids=[part.id], md5=hashlib.md5(b"{}\n").hexdigest()
    )
    assert done.status == "completed"
    with pytest.raises(openai.APIStatusError) as error:
        client.uploads.create(
            bytes=9_000_000_000,
            filename="a.jsonl",
            mime_type="application/jsonl",
            purpose="fine-tune",
        )
    assert error.value.status_code == 413


# The parts, without a server.


def test_an_upload_whose_time_is_over_takes_no_parts_and_keeps_none(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    store = Database(folder.database)
    begun = files.begin_upload(
        store,
        folder,
        "t",
        UploadBody(bytes=3, filename="a.jsonl", mime_type="x", purpose="fine-tune"),
    )
    with Writer(folder.temporary()) as writer:
        writer.write(b"{}")
        files.add_part(store, folder, "t", begun.id, writer)
    store.change(UploadObject, begun.id, lambda upload: setattr(upload, "expires_at", 1))
    with pytest.raises(InvalidRequestError, match="has expired"):
        files.pending_upload(store, begun.id, "t")
    files.expire_uploads(store, folder)
    stored = store.get(UploadObject, begun.id)
    assert stored
    assert stored.status == "expired"
    assert not list((tmp_path / "parts").iterdir())


def test_uploads_and_parts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path)
    store = Database(folder.database)
    monkeypatch.setattr(files, "OPEN_UPLOADS", 1)
    monkeypatch.setattr(files, "MAX_UPLOAD_PARTS", 0)
    body = UploadBody(bytes=3, filename="a.jsonl", mime_type="x", purpose="fine-tune")
    upload = files.begin_upload(store, folder, "t", body)
    with pytest.raises(LimitReachedError, match="pending already"):
        files.begin_upload(store, folder, "t", body)
    with (
        Writer(folder.temporary()) as writer,
        pytest.raises(InvalidRequestError, match="at most 0 parts"),
    ):
        files.add_part(store, folder, "t", upload.id, writer)


def test_uploads_whose_time_is_over_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    store = Database(folder.database)
    monkeypatch.setattr(files, "OPEN_UPLOADS", 1)
    body = UploadBody(bytes=3, filename="a.jsonl", mime_type="x", purpose="fine-tune")
    begun = files.begin_upload(store, folder, "t", body)
    store.change(UploadObject, begun.id, lambda upload: setattr(upload, "expires_at", 1))
    assert files.begin_upload(store, folder, "t", body).status == "pending"
