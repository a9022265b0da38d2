"""Credentials of object storage: a machine is asked for them only if no variable gives any."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ftkit.dataset.object_credentials import GCLOUD_FILE, lacks_credentials


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://[::1", "http://host:port"])
def test_a_machine_that_does_not_answer_has_no_credentials(address: str) -> None:
    assert lacks_credentials("s3", {"AWS_METADATA_ENDPOINT": address})


def test_a_machine_that_answers_may_have_credentials() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert not lacks_credentials("s3", {"AWS_METADATA_ENDPOINT": address})


@pytest.mark.parametrize(
    ("scheme", "variable"),
    [
        ("s3", "AWS_ACCESS_KEY_ID"),
        ("s3", "AWS_SKIP_SIGNATURE"),
        ("gs", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az", "AZURE_STORAGE_SAS_TOKEN"),
        ("https", "ANY"),
    ],
)
def test_the_machine_is_not_asked_where_a_variable_is_set(scheme: str, variable: str) -> None:
    assert not lacks_credentials(scheme, {variable: "x"})


def test_a_login_of_gcloud_gives_credentials(tmp_path: Path) -> None:
    path = tmp_path / GCLOUD_FILE
    path.parent.mkdir(parents=True)
    path.touch()
    assert not lacks_credentials("gs", {})
