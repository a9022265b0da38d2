"""Downloads of adapters and logs from the local server."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import httpx
import openai
import pytest

from ftkit.server.adapters import CONFIG, WEIGHTS
from ftkit.server.downloads import read_log, read_tail, zip_adapter
from support.job_store import JobStore
from support.local_server import LocalServer


def test_an_adapter_is_downloaded_as_a_zip_with_its_files_only(
    local_server: LocalServer, client: openai.OpenAI
) -> None:
    with JobStore(local_server.folder) as stored:
        id = stored.add_job()
        checkpoint, model = stored.add_model(id, 10, is_last=False), stored.add_model(id, 20)
        (stored.folder.adapter(id, 20) / "optimizer.pt").write_bytes(b"private")
    for name, step in ((model, 20), (checkpoint, 10)):
        answer = httpx.get(f"{client.base_url}models/{name}/adapter", timeout=60)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/zip"
        expected = f'attachment; filename="{id}-step-{step}.zip"'
        assert answer.headers["content-disposition"] == expected
        assert answer.headers["x-ftkit-base"] == "ftkit/smoke"
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["adapter_config.json", "adapter_model.safetensors"]
            assert archive.read("adapter_model.safetensors") == f"weights of {step}".encode()
            assert json.loads(archive.read("adapter_config.json"))["r"] == 8


@pytest.mark.parametrize("name", ["ft:none:a::b", "a/b/c", "..", "../../service.db", "%2e%2e%2fx"])
def test_an_adapter_that_is_not_there_is_error_404(name: str, client: openai.OpenAI) -> None:
    answer = httpx.get(f"{client.base_url}models/{name}/adapter", timeout=60)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"]


def test_a_base_model_may_be_called_adapter(client: openai.OpenAI) -> None:
    assert client.models.retrieve("owner/adapter").id == "owner/adapter"


def test_an_adapter_whose_files_are_gone_is_error_404(
    local_server: LocalServer, client: openai.OpenAI
) -> None:
    with JobStore(local_server.folder) as stored:
        id = stored.add_job()
        model = stored.add_model(id, 20)
        (stored.folder.adapter(id, 20) / "adapter_model.safetensors").unlink()
    answer = httpx.get(f"{client.base_url}models/{model}/adapter", timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_files_and_logs_of_another_key_are_not_there(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", keys=("one", "two"), max_jobs=0) as server:
        with JobStore(server.folder, tenant="of nobody") as stored:
            id = stored.add_job()
            model = stored.add_model(id, 20)
            stored.write_log(id, "private")
        headers = {"authorization": "Bearer one"}
        for path in (f"models/{model}/adapter", f"fine_tuning/jobs/{id}/log"):
            assert httpx.get(f"{server.url}/{path}", headers=headers, timeout=60).status_code == 404
            assert httpx.get(f"{server.url}/{path}", timeout=60).status_code == 401


def test_the_log_of_a_job_is_text(local_server: LocalServer, client: openai.OpenAI) -> None:
    with JobStore(local_server.folder) as stored:
        id = stored.add_job()
        url = f"{client.base_url}fine_tuning/jobs/{id}/log"
        missing = httpx.get(url, timeout=60)
        assert missing.status_code == 404
        assert missing.json()["error"]["message"] == f"No such log: {id}"
        stored.write_log(id, "<script>alert(1)</script>\nÄ\n")
    answer = httpx.get(url, timeout=60)
    assert answer.text == "<script>alert(1)</script>\nÄ\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_zip_is_written_in_pieces(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("{}")
    path = tmp_path / WEIGHTS
    with path.open("wb") as file:
        file.truncate(40 << 20)
    pieces = list(zip_adapter(tmp_path))
    assert max(map(len, pieces)) < 2 << 20
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.getinfo(WEIGHTS).file_size == 40 << 20
        assert archive.testzip() is None


def test_a_growing_file_is_read_up_to_the_size_that_it_had(tmp_path: Path) -> None:
    path = tmp_path / "process.log"
    path.write_bytes(b"a" * 100)
    assert b"".join(read_log(path, 60)) == b"a" * 60
    assert b"".join(read_log(path, 200)) == b"a" * 100


def test_the_end_of_a_log_begins_with_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "process.log"
    assert read_tail(path, 10) == ("", True)
    path.write_bytes(b"first\nsecond\n\xffthird\n")
    assert read_tail(path, 100) == ("first\nsecond\n�third\n", True)
    assert read_tail(path, 12) == ("�third\n", False)
    path.write_bytes(b"x" * 100)
    assert read_tail(path, 10) == ("x" * 10, False)
