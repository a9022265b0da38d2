"""Uploads of training files, whole and in parts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ftkit.catalog import load_catalog
from ftkit.errors import FileError, ProviderError, UnknownOutcomeError
from ftkit.jobs.journal import Journal
from ftkit.jobs.spec import JobSpec
from ftkit.jobs.submit import submit
from ftkit.jobs.uploads import hash_file, upload_requests
from support.connections import connect_to
from support.examples import chat_lines
from support.fake_provider import FakeProvider
from support.fixture_types import Write
from support.jobs import UpdatingDict, connect_with_small_parts
from support.models import MINI


@pytest.mark.parametrize("fault", ["drop after", "500 after", "truncate"])
def test_a_file_whose_upload_was_not_answered_is_found(
    fault: str, fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    fake_provider.faults = lambda method, path: (
        fault if method == "POST" and path.endswith("/files") else ""
    )
    submit(order, connect_to(provider_url), journal)
    assert len(fake_provider.files) == 1


def test_a_file_that_was_deleted_at_the_service_is_uploaded_again(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    submit(order, connect_to(provider_url), journal)
    fake_provider.files.clear()
    submit(order, connect_to(provider_url), journal, again=True)
    assert len(fake_provider.files) == 1


@pytest.mark.parametrize("status", ["", "processed", None])
def test_a_service_without_a_file_status_is_not_waited_for(
    status: Any, fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    fake_provider.files = UpdatingDict({}, {"status": status})
    slept: list[float] = []
    submit(order, connect_to(provider_url), journal, sleep=slept.append)
    assert sum(slept) == 0


@pytest.mark.usefixtures("small_parts")
def test_a_large_file_goes_in_parts_and_goes_on_where_it_stopped(
    fake_provider: FakeProvider,
    provider_url: str,
    write: Write,
    journal: Journal,
) -> None:
    order = JobSpec(MINI, str(write(chat_lines(12))))
    service = connect_to(provider_url)
    small = msgspec.structs.replace(service.provider.file_bytes, value=1000)
    service.provider = msgspec.structs.replace(service.provider, file_bytes=small)
    sent: list[int] = []

    def fault(method: str, path: str) -> str:
        sent.append(path.endswith("/parts"))
        return "drop before" if path.endswith("/parts") and sum(sent) == 3 else ""

    fake_provider.faults = fault
    with pytest.raises(UnknownOutcomeError):
        submit(order, service, journal)
    submit(order, service, journal)
    assert len(fake_provider.uploads) == 1
    (file,) = fake_provider.files.values()
    assert fake_provider.contents[file["id"]] == Path(order.training).read_bytes()
    assert len(fake_provider.parts) == -(-len(Path(order.training).read_bytes()) // 300)


def test_a_file_that_changes_while_the_answer_is_lost_is_refused(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    checked = hash_file(order.training)
    Path(order.training).write_bytes(
        Path(order.training).read_bytes().replace(b"follows", b"FOLLOWS")
    )
    fake_provider.faults = lambda method, path: (
        "drop after" if method == "POST" and path.endswith("/files") else ""
    )
    with pytest.raises(FileError, match="has changed since it was validated"):
        submit(
            order,
            connect_to(provider_url),
            journal,
            hashes=(checked, None),
            sleep=lambda seconds: None,
        )
    assert not fake_provider.files
    assert not fake_provider.created


@pytest.mark.parametrize(
    ("provider", "size", "path"),
    [
        ("openai", 512_000_000, "/files"),
        ("openai", 512_000_001, "/uploads"),
        ("azure", 150_000_000, "/files"),
        ("azure", 150_000_001, "/uploads"),
        ("nebius", 600_000_000, "/files"),
    ],
)
def test_files_go_in_parts_where_the_service_needs_them_to(
    provider: str, size: int, path: str, tmp_path: Path
) -> None:
    file = tmp_path / "large.jsonl"
    file.touch()
    os.truncate(file, size)
    assert (
        upload_requests(str(file), "0" * 64, load_catalog().providers[provider])[0]["path"] == path
    )


def test_a_file_that_changes_between_its_parts_is_refused(
    fake_provider: FakeProvider,
    provider_url: str,
    write: Write,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ftkit.jobs.uploads.PART_SIZE", 200_000)
    path = write(chat_lines(5000))

    def change(method: str, where: str) -> str:
        if where.endswith("/parts") and not fake_provider.parts:
            with path.open("r+b") as file:
                file.seek(-30, os.SEEK_END)
                file.write(b"X")
        return ""

    fake_provider.faults = change
    with pytest.raises(FileError, match="has changed since it was validated"):
        submit(JobSpec(MINI, str(path)), connect_with_small_parts(provider_url), journal)
    assert not fake_provider.created


@pytest.mark.usefixtures("small_parts")
def test_an_upload_that_the_service_has_forgotten_is_begun_anew(
    fake_provider: FakeProvider,
    provider_url: str,
    order: JobSpec,
    journal: Journal,
) -> None:
    fake_provider.faults = lambda method, path: (
        "drop before" if path.endswith("/parts") and len(fake_provider.parts) == 2 else ""
    )
    with pytest.raises(UnknownOutcomeError):
        submit(order, connect_with_small_parts(provider_url), journal)
    fake_provider.uploads.clear()
    fake_provider.faults = lambda method, path: ""
    with pytest.raises(ProviderError, match="not found at"):
        submit(order, connect_with_small_parts(provider_url), journal)
    assert (
        submit(order, connect_with_small_parts(provider_url), journal).job.id
        == fake_provider.created[0]
    )
