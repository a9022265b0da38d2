"""API-key authentication and tenancy of the local server."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from ftkit.server.auth import Authenticator
from ftkit.server.errors import AuthenticationError
from ftkit.server.responses import ERRORS
from support.local_server import LocalServer
from support.models import SMOKE
from support.server_requests import upload_file


def test_two_keys_are_two_tenants_who_see_nothing_of_each_other(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", keys=("one", "two")) as server:
        one, two = server.client("one"), server.client("two")
        file = upload_file(one)
        job = one.fine_tuning.jobs.create(model=SMOKE, training_file=file.id)
        assert not list(two.files.list())
        assert not list(two.fine_tuning.jobs.list())
        for ask in (
            lambda: two.files.content(file.id),
            lambda: two.files.delete(file.id),
            lambda: two.fine_tuning.jobs.retrieve(job.id),
            lambda: two.fine_tuning.jobs.cancel(job.id),
            lambda: two.fine_tuning.jobs.list_events(job.id),
        ):
            with pytest.raises(openai.NotFoundError):
                ask()
        with pytest.raises(openai.BadRequestError):
            two.fine_tuning.jobs.create(model=SMOKE, training_file=file.id)
        for key in ("three", "x"):
            with pytest.raises((openai.AuthenticationError, openai.APIConnectionError)):
                server.client(key).models.list()
    assert "one" not in (tmp_path / "data" / "service.db").read_bytes().decode("latin-1").split(
        "\0"
    )


@pytest.mark.parametrize(
    ("headers", "tenant"),
    [
        ({"authorization": "Bearer one"}, True),
        ({"authorization": "bearer one"}, True),
        ({"authorization": "Basic one"}, False),
        ({}, False),
    ],
)
def test_a_key_is_taken_as_a_bearer_token(headers: dict[str, str], tenant: bool) -> None:
    access = Authenticator(("one",), ())
    if tenant:
        assert access.tenant(headers)
    else:
        with pytest.raises(AuthenticationError) as error:
            access.tenant(headers)
        assert ERRORS[type(error.value)][0] == 401
