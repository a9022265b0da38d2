"""Integrations of jobs: strict bodies, and what Weights & Biases needs."""

from __future__ import annotations

import importlib.machinery
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from ftkit.server.bodies import JobBody, read_body
from ftkit.server.cleanup import collect_garbage, remove_job_data
from ftkit.server.database import Database
from ftkit.server.errors import InvalidRequestError
from ftkit.server.folder import Folder
from ftkit.server.integrations import check_wandb
from ftkit.server.lifecycle import fail
from ftkit.server.objects import FileObject
from support.local_server import LocalServer
from support.models import SMOKE
from support.server_requests import create_job, raw_request, upload_file

KEY = "0123456789" * 4


@pytest.fixture(scope="module")
def local_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A service that cannot log, also if the environment of the tests has a key."""
    server = LocalServer(tmp_path_factory.mktemp("service") / "data")
    yield server.start(WANDB_MODE="disabled")
    server.stop()


@pytest.fixture
def client(local_server: LocalServer) -> Iterator[openai.OpenAI]:
    with local_server.client() as client:
        yield client


def wandb(**settings: Any) -> dict[str, Any]:
    return {"type": "wandb", "wandb": {"project": "mine", **settings}}


@pytest.mark.parametrize(
    "integrations",
    [
        None,
        [],
        [wandb()],
        [wandb(name="a/b", entity="team-1", tags=["a", "x" * 64])],
        [wandb(tags=[])],
        [wandb(name=None, entity=None, tags=None)],
    ],
)
def test_integrations_of_openai_are_read(integrations: Any) -> None:
    body = {"model": SMOKE, "training_file": "file-1", "integrations": integrations}
    assert read_body(json.dumps(body).encode(), JobBody).training_file == "file-1"


@pytest.mark.parametrize(
    ("integrations", "param"),
    [
        ({}, "integrations"),
        ("wandb", "integrations"),
        ([wandb(), wandb()], "integrations"),
        ([{}], "integrations[0].type"),
        ([{"type": "mlflow"}], "integrations[0].type"),
        ([{"type": "wandb"}], "integrations[0].wandb"),
        ([{"type": "wandb", "wandb": {}}], "integrations[0].wandb.project"),
        ([{**wandb(), "url": "http://x"}], "integrations[0].url"),
        ([wandb(api_key=KEY)], "integrations[0].wandb.api_key"),
        ([wandb(project="")], "integrations[0].wandb.project"),
        ([wandb(project="a/b")], "integrations[0].wandb.project"),
        ([wandb(project="a\n")], "integrations[0].wandb.project"),
        ([wandb(project="x" * 129)], "integrations[0].wandb.project"),
        ([wandb(entity="../a")], "integrations[0].wandb.entity"),
        ([wandb(name="")], "integrations[0].wandb.name"),
        ([wandb(tags=["x" * 65])], "integrations[0].wandb.tags[0]"),
        ([wandb(tags=["x"] * 21)], "integrations[0].wandb.tags"),
    ],
)
def test_other_integrations_are_refused_with_the_parameter(
    integrations: Any, param: str, client: openai.OpenAI
) -> None:
    body = {"model": SMOKE, "training_file": "file-1", "integrations": integrations}
    status, answer = raw_request(client, "POST", "fine_tuning/jobs", body)
    assert status == 400
    assert answer["error"]["param"] == param
    assert KEY not in answer["error"]["message"]


def install_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("wandb")
    module.__spec__ = importlib.machinery.ModuleSpec("wandb", None, origin="wandb.py")
    monkeypatch.setitem(sys.modules, "wandb", module)


@pytest.mark.parametrize(
    "environment",
    [
        {"WANDB_API_KEY": KEY},
        {"WANDB_API_KEY": KEY, "WANDB_MODE": "online"},
        {"WANDB_API_KEY": KEY, "WANDB_MODE": ""},
        {"WANDB_MODE": "offline"},
    ],
)
def test_a_key_or_offline_mode_is_enough(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install_wandb(monkeypatch)
    check_wandb(environment)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "WANDB_API_KEY, or WANDB_MODE=offline"),
        ({"WANDB_API_KEY": ""}, "WANDB_API_KEY, or WANDB_MODE=offline"),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "disabled"}, "WANDB_MODE must be"),
    ],
)
def test_a_missing_key_or_a_disabled_wandb_is_named(
    environment: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_wandb(monkeypatch)
    with pytest.raises(InvalidRequestError, match=reason) as raised:
        check_wandb(environment)
    assert (raised.value.param, raised.value.code) == ("integrations", "unsupported_parameter")
    assert KEY not in str(raised.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InvalidRequestError, match=r"pip install '\.\[wandb\]'"):
        check_wandb({"WANDB_API_KEY": KEY})


def test_a_folder_of_runs_is_not_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(InvalidRequestError, match="needs the package wandb"):
        check_wandb({"WANDB_API_KEY": KEY})


def test_a_job_whose_integration_cannot_be_honoured_is_refused(client: openai.OpenAI) -> None:
    body = {"model": SMOKE, "training_file": upload_file(client).id, "integrations": [wandb()]}
    status, answer = raw_request(client, "POST", "fine_tuning/jobs", body)
    assert (status, answer["error"]["param"]) == (400, "integrations")
    assert "cannot log to Weights & Biases" in answer["error"]["message"]


def test_runs_that_are_not_uploaded_are_kept_as_long_as_the_log(
    store: Database, tmp_path: Path
) -> None:
    folder = Folder(tmp_path / "data")
    job = create_job(store)
    fail(store, job, "server_error", "")
    run = folder.job(job) / "wandb" / "offline-run" / "run.wandb"
    run.parent.mkdir(parents=True)
    run.touch()
    remove_job_data(store, folder, job)
    collect_garbage(store, folder)
    assert run.exists()
    store.remove(FileObject, "file-1")
    remove_job_data(store, folder, job)
    assert not (folder.job(job) / "wandb").exists()
