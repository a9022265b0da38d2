"""S3 on loopback for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ftkit.dataset import object_client
from support.file_storage import FileStorage, running_file_storage
from support.object_storage import BUCKET, KEYS, FaultyProxy, Storage, running_storage


@pytest.fixture(scope="session")
def moto() -> Iterator[Storage]:
    """An S3 that runs as long as the tests."""
    pytest.importorskip("obstore", reason="needs the extra remote")
    pytest.importorskip("moto.server", reason="needs moto[server]")
    with running_storage() as storage:
        yield storage


@pytest.fixture(autouse=True)
def new_clients() -> None:
    """No client with the timeouts and retries of an earlier test."""
    object_client._open_store.cache_clear()


@pytest.fixture
def storage(moto: Storage, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An S3 with one empty bucket, which the environment names as the endpoint."""
    moto.clear()
    moto.create(BUCKET)
    set_endpoint(monkeypatch, f"http://127.0.0.1:{moto.port}")
    return moto


@pytest.fixture
def file_storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileStorage]:
    """An S3 of files on the disk, which the environment names as the endpoint."""
    pytest.importorskip("obstore", reason="needs the extra remote")
    with running_file_storage() as storage:
        set_endpoint(monkeypatch, storage.url)
        yield storage


def set_endpoint(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Set the variables with which ftkit reads from an S3."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)  # without certificates obstore has no clients
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)


@pytest.fixture
def proxy(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy in front of that S3, which the environment names instead."""
    proxy = FaultyProxy(storage.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.close()
