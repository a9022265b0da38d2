"""Quotas, free disk space and file modes of the local server."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from ftkit.cli import run
from ftkit.cli.options import Size
from ftkit.server import files, job_limits, lifecycle
from ftkit.server.cleanup import collect_garbage
from ftkit.server.database import Database
from ftkit.server.errors import LimitReachedError, QuotaError
from ftkit.server.folder import Folder
from ftkit.server.objects import JobObject
from ftkit.server.scheduling import Capacity
from ftkit.server.storage import Allowance, Disk, SizeLimit, StorageLimits, quota_exceeded
from ftkit.server.supervisor import Supervisor
from support.disk import small_file_system
from support.local_server import LocalServer, wait_for_job
from support.models import SMOKE
from support.raw_requests import RawRequest, Reply, build, send
from support.server_requests import CLEAN_DATA, create_job, upload_file

KEYS = ("key-a", "key-b")
TENANT_QUOTA = 100_000
TOTAL_QUOTA = 150_000


@pytest.fixture(scope="module")
def limited_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("limited") / "data"
    with LocalServer(
        folder, keys=KEYS, max_jobs=0, tenant=TENANT_QUOTA, total=TOTAL_QUOTA
    ) as server:
        yield server


@pytest.fixture
def tenants(limited_server: LocalServer) -> Iterator[list[openai.OpenAI]]:
    """Clients of both tenants, which have no files."""
    clients = [limited_server.client(key) for key in KEYS]
    yield clients
    for client in clients:
        for file in client.files.list():
            client.files.delete(file.id)


def stored_bytes(server: LocalServer) -> int:
    return sum(path.stat().st_size for path in server.folder.glob("[bp]*/**/*") if path.is_file())


def create_upload(client: openai.OpenAI, size: int) -> str:
    return client.uploads.create(
        bytes=size, filename="a.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    ).id


def test_parts_cannot_have_more_bytes_than_their_upload(client: openai.OpenAI) -> None:
    upload = create_upload(client, 1)
    with pytest.raises(openai.APIStatusError) as error:
        client.uploads.parts.create(upload, data=b"x" * 1000)
    assert error.value.status_code == 413
    for _ in range(2):  # a part may be sent again if the response was lost
        client.uploads.parts.create(upload, data=b"x")
    with pytest.raises(openai.APIStatusError, match="were sent too often") as error:
        client.uploads.parts.create(upload, data=b"x")
    assert error.value.status_code == 413
    client.uploads.cancel(upload)


def test_a_part_is_refused_while_it_streams(local_server: LocalServer) -> None:
    upload = create_upload(local_server.client(), 1)
    head = b'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\n'
    reply = stream(local_server, f"/v1/uploads/{upload}/parts", head)
    assert reply.status == 413
    assert not list((local_server.folder / "parts").iterdir())


def test_a_part_can_be_named_only_once(client: openai.OpenAI) -> None:
    upload = create_upload(client, 4)
    part = client.uploads.parts.create(upload, data=b"xx").id
    with pytest.raises(openai.BadRequestError, match="more than once") as error:
        client.uploads.complete(upload, part_ids=[part, part])
    assert error.value.code == "duplicate_part"


def refused(error: pytest.ExceptionInfo[openai.APIStatusError]) -> tuple[int, str | None]:
    return error.value.status_code, error.value.code


def test_the_files_of_a_tenant_are_bounded(tenants: list[openai.OpenAI]) -> None:
    client = tenants[0]
    first = upload_file(client, b"x" * 60_000)
    with pytest.raises(openai.APIStatusError, match="100,000 bytes") as error:
        upload_file(client, b"y" * 60_000)
    assert refused(error) == (413, "storage_quota_exceeded")
    client.files.delete(first.id)
    upload_file(client, b"y" * 60_000)


def test_pending_uploads_count_as_files(tenants: list[openai.OpenAI]) -> None:
    client = tenants[0]
    upload = create_upload(client, 60_000)
    with pytest.raises(openai.APIStatusError) as error:
        create_upload(client, 60_000)
    assert refused(error) == (413, "storage_quota_exceeded")
    with pytest.raises(openai.APIStatusError) as error:
        upload_file(client, b"y" * 60_000)
    assert refused(error) == (413, "storage_quota_exceeded")
    part = client.uploads.parts.create(upload, data=b"x" * 60_000)
    assert client.uploads.complete(upload, part_ids=[part.id]).status == "completed"


def test_the_files_of_all_tenants_are_bounded(tenants: list[openai.OpenAI]) -> None:
    one, two = tenants
    upload_file(one, b"x" * 90_000)
    with pytest.raises(openai.APIStatusError, match="150,000 bytes") as error:
        upload_file(two, b"y" * 90_000)
    assert refused(error) == (413, "storage_quota_exceeded")
    upload_file(two, b"y" * 50_000)


def test_a_body_that_announces_too_much_is_refused_before_it_is_sent(
    limited_server: LocalServer,
) -> None:
    headers = (
        ("Content-Length", "10000000"),
        ("Content-Type", "multipart/form-data; boundary=x"),
    )
    data = build("POST", "/v1/files", b"", headers, KEYS[0])
    reply = send(limited_server.url, RawRequest(data))
    assert (reply.status, reply.error["code"]) == (413, "storage_quota_exceeded")


def stream(server: LocalServer, path: str, head: bytes, key: str = "") -> Reply:
    """Send the start of a form and then bytes without end, until there is a response."""
    address = urlsplit(server.url)
    headers = (
        ("Connection", "keep-alive"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Type", "multipart/form-data; boundary=x"),
    )
    start = build("POST", path, b"", headers, key) + b"%x\r\n%s\r\n" % (len(head), head)
    with socket.create_connection((address.hostname or "", address.port or 0), 10) as link:
        link.sendall(start)
        for _ in range(100):
            link.setblocking(True)
            link.sendall(b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20)))
            link.setblocking(False)
            try:
                link.recv(1, socket.MSG_PEEK)
                break
            except BlockingIOError:
                pass
        link.setblocking(True)
        response = http.client.HTTPResponse(link)
        response.begin()
        return Reply(response.status, response.read())


def test_a_body_of_unknown_size_is_stopped_at_the_quota(limited_server: LocalServer) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    reply = stream(limited_server, "/v1/files", head, KEYS[0])
    assert (reply.status, reply.error["code"]) == (413, "storage_quota_exceeded")
    assert stored_bytes(limited_server) < TOTAL_QUOTA


def test_bodies_that_are_received_at_once_share_the_room_of_their_tenant(tmp_path: Path) -> None:
    disk = Disk(tmp_path, StorageLimits(reserve=0))
    limit = SizeLimit(10, partial(quota_exceeded, 10))
    one, two = (Allowance(disk, "t", limit) for _ in range(2))
    other = Allowance(disk, "u", limit)
    one.take(6)
    other.take(10)
    with pytest.raises(QuotaError):
        two.expect(5)
    two.take(4)
    with pytest.raises(QuotaError):
        two.take(1)
    two.release()
    one.take(4)
    one.release()
    two.expect(10)


def test_the_reserve_of_the_disk_is_left_free(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", reserve=1 << 60) as server:
        client = server.client()
        with pytest.raises(openai.InternalServerError) as error:
            upload_file(client)
        assert refused(error) == (507, "insufficient_storage")
        with pytest.raises(openai.InternalServerError) as error:
            create_upload(client, 1)
        assert refused(error) == (507, "insufficient_storage")
        assert "Traceback" not in server.log()


def test_a_job_is_not_trained_on_a_full_disk_but_fails(store: Database, tmp_path: Path) -> None:
    id = create_job(store)
    store.change(JobObject, id, lambda job: setattr(job, "status", "queued"))
    folder = Folder(tmp_path, StorageLimits(reserve=1 << 60))
    supervisor = Supervisor(store, folder, Capacity(1))
    supervisor._start_processes("train")
    job = store.get(JobObject, id)
    assert job
    assert job.error
    assert (job.status, job.error.code) == ("failed", "insufficient_storage")
    assert "must stay free" in job.error.message


def outcome(action: Callable[[], object]) -> tuple[int, str | None]:
    """Return the status and the code of an error, or those of a success."""
    try:
        action()
    except openai.InternalServerError as error:
        return error.status_code, error.code
    return 200, None


def fill(filler: Path, room: int) -> None:
    """Fill the disk of a file with it, except for so many bytes."""
    free = os.statvfs(filler.parent)
    filler.write_bytes(bytes(max(free.f_bavail * free.f_frsize - room, 0)))


SMALL_DISK = 4 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    with small_file_system(tmp_path / "small", SMALL_DISK) as folder:
        yield folder


@pytest.mark.skipif(os.name != "posix", reason="needs mount")
def test_the_service_goes_on_after_the_disk_was_full(small_disk: Path, tmp_path: Path) -> None:
    environment = {name: "" for name in os.environ if name.startswith("COVERAGE_")}
    (small_disk / "data").mkdir()
    (tmp_path / "data").symlink_to(small_disk / "data")  # the server's log is beside the link
    server = LocalServer(tmp_path / "data", reserve=0, max_jobs=0, forked=False)
    server.start(**environment)
    try:
        client = server.client()
        file = upload_file(client)
        filler = small_disk / "filler"
        outcomes = set()
        for room in range(0, 200_000, 8_192):
            fill(filler, room)
            for action in (
                lambda: upload_file(client, CLEAN_DATA * 10),
                lambda: client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id),
            ):
                outcomes.add(outcome(action))
            assert client.files.content(file.id).read() == CLEAN_DATA
            filler.unlink()
        assert outcomes == {(200, None), (507, "insufficient_storage")}
        new = upload_file(client, CLEAN_DATA * 11)
        assert client.files.content(new.id).read() == CLEAN_DATA * 11
        fill(filler, 0)
        server.stop()
        with pytest.raises(AssertionError, match=r"FileError: cannot serve from .+: no space left"):
            server.start(**environment)
        filler.unlink()
        server.start(**environment)
        client = server.client()
        files_by_size = {listed.id: listed.bytes for listed in client.files.list()}
        for id, size in files_by_size.items():
            assert len(client.files.content(id).read()) == size
        assert not list((server.folder / "parts").iterdir())
    finally:
        server.stop()


def test_the_number_of_files_jobs_and_pauses_is_bounded(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = create_job(store)
    monkeypatch.setattr(job_limits, "MAX_PAUSES", 1)
    lifecycle.apply_action(store, id, "t", "pause")
    lifecycle.apply_action(store, id, "t", "resume")
    with pytest.raises(LimitReachedError, match="paused at most 1 times"):
        lifecycle.apply_action(store, id, "t", "pause")
    monkeypatch.setattr(job_limits, "MAX_JOBS", 1)
    with pytest.raises(LimitReachedError, match="has 1 jobs, the maximum"):
        create_job(store)
    monkeypatch.setattr(files, "MAX_FILES", 1)
    folder = Folder(tmp_path)
    form: Any = type("Form", (), {"fields": {"purpose": "batch"}, "file_name": "a"})
    with files.Writer(folder.temporary()) as writer:
        writer.write(b"x")
        with pytest.raises(LimitReachedError, match="has 1 files already"):
            files.create_file(store, folder, "t", form, writer)


# Options.


@pytest.mark.parametrize(
    ("text", "size"),
    [("500", 500), ("1KB", 1000), ("1kib", 1024), ("50GB", 50 * 10**9), ("2TiB", 2 << 40)],
)
def test_sizes_have_decimal_and_binary_units(text: str, size: int) -> None:
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["lots", "-1", "1.5GB", "5XB", "", "9" * 16, "5B"])
def test_a_size_that_is_none_is_one_line_and_2(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--max-storage", text]) == 2
    assert "is not a size such as 500MB or 2GiB" in capsys.readouterr().err


# File modes.


def open_modes(folder: Path) -> dict[str, str]:
    """The files and folders that others than their user can access, with their modes."""
    return {
        str(path.relative_to(folder)): oct(path.stat().st_mode)
        for path in folder.rglob("*")
        if path.stat().st_mode & 0o077
    }


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_everything_in_a_folder_that_existed_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    umask = os.umask(0)
    try:
        for name in ("blobs", "parts", "jobs"):
            (folder / name).mkdir(parents=True)
        for name in ("service.db", "service.log", "generate.log"):
            (folder / name).touch()
        (folder / "notes.txt").touch()
        with LocalServer(folder, max_jobs=0) as server:
            client = server.client()
            file = upload_file(client)
            upload = create_upload(client, 2)
            client.uploads.parts.create(upload, data=b"x")
            job = client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id)
            wait_for_job(client, job.id, "queued")
            names = {path.name for path in folder.rglob("*")}
            assert {"service.db-wal", "service.lock", "server.json", "process.log"} <= names
            assert open_modes(folder) == {"notes.txt": oct(0o100666)}
        assert open_modes(folder) == {"notes.txt": oct(0o100666)}
    finally:
        os.umask(umask)


def test_garbage_collection_leaves_files_alone_that_are_not_the_service_s(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    paths = [tmp_path / "jobs" / "mine" / "a.txt", tmp_path / "parts" / "b", tmp_path / "c"]
    paths.append(tmp_path / "blobs" / "ab" / "d")
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    collect_garbage(Database(folder.database), folder)
    assert all(path.exists() for path in paths)
