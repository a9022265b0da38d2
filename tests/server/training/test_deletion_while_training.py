"""Deleted contents are gone from the disk once the job that trained on them has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import openai
import pytest

from support import local_server
from support.forking import ForkServer
from support.local_server import LocalServer, event_messages, wait_for_job
from support.models import SMOKE
from support.server_requests import upload_file
from support.traces import traces
from support.training import CITY_DATA, method_with

pytestmark = pytest.mark.training

MARKER = b"unlikely-words-in-a-file"
CONTENT = CITY_DATA.replace(b'"user", "content": "', b'"user", "content": "' + MARKER)


def wait_for_step(client: openai.OpenAI, job: str) -> None:
    deadline = time.monotonic() + 240
    while not any(text.startswith("Step 3/") for text in event_messages(client, job)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder with the temporary files of the processes, and the files of Hugging Face's libraries.

    The libraries read their variables when they are imported, so the processes are forked from one
    that has imported them with these.
    """
    folder = tmp_path_factory.mktemp("outside")
    (folder / "tmp").mkdir()
    variables = {"TMPDIR": str(folder / "tmp"), "HF_HOME": str(folder / "hf")}
    modules = [*local_server.SERVER_MODULES, *local_server.TRAINING_MODULES]
    server = ForkServer.start(modules, HF_HUB_OFFLINE="1", **variables)
    with closing(server), pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_server, "_fork_server", lambda: server)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield folder


@pytest.mark.parametrize("order", ["cancel", "pause cancel", "cancel kill", "kill cancel", "wait"])
def test_a_deleted_content_is_gone_after_training(
    order: str, tmp_path: Path, outside: Path
) -> None:
    """Nothing is left below the home folder or the folder for temporary files either."""
    assert MARKER in CONTENT
    with LocalServer(tmp_path / "data") as server:
        client = server.client()
        file = upload_file(client, CONTENT)
        job = client.fine_tuning.jobs.create(
            model=SMOKE,
            training_file=file.id,
            validation_file=file.id,
            method=method_with(n_epochs=5 if order == "wait" else 50),
        ).id
        wait_for_step(client, job)
        client.files.delete(file.id)
        for step in order.split():
            if step == "kill":
                server.kill()
                server.start()
                client = server.client()
            elif step == "wait":
                wait_for_job(client, job, "succeeded")
            else:
                getattr(client.fine_tuning.jobs, step)(job)
            if step == "pause":
                wait_for_job(client, job, "paused")
                assert traces(server.folder, MARKER.decode())
        folders = (tmp_path, outside)
        deadline = time.monotonic() + 30
        while found := [path for folder in folders for path in traces(folder, MARKER.decode())]:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
    modes = {path.stat().st_mode & 0o077 for path in server.folder.rglob("*")}
    assert modes == {0}
