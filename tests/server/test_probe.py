"""The probe of a cluster's node, which is run by itself."""

from __future__ import annotations

import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import msgspec
import pytest

from ftkit.server.probe import MARK, ProbeResult
from support.recording_server import recording_server

NONCE = "nonce"


def run_probe(folder: Path, url: str, *packages: str) -> ProbeResult:
    command = [sys.executable, "-m", "ftkit.server.probe", str(folder), NONCE, url, *packages]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return msgspec.json.decode(result.stdout.removeprefix(MARK), type=ProbeResult)


def probe_of_server(folder: Path, body: bytes, status: int = 200) -> ProbeResult:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        assert handler.path == "/health"
        handler.send_response_only(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with recording_server(answer) as server:
        return run_probe(folder, server.url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / NONCE).write_text("random")
    return tmp_path


def test_a_node_that_shares_the_folder_and_reaches_the_service(folder: Path) -> None:
    assert probe_of_server(folder, b"random") == ProbeResult(nonce="random")
    assert [path.name for path in folder.iterdir()] == [NONCE]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [(b"other", 200, "another server responds there"), (b"", 404, "status 404")],
)
def test_a_node_that_reaches_another_server(
    folder: Path, body: bytes, status: int, error: str
) -> None:
    assert probe_of_server(folder, body, status).service_error == error


def test_a_node_that_reaches_no_server(folder: Path) -> None:
    assert run_probe(folder, "http://127.0.0.1:1").service_error == "connection refused"


def test_a_node_without_the_folder(tmp_path: Path) -> None:
    result = probe_of_server(tmp_path / "missing", b"random")
    assert (result.folder_error, result.nonce) == ("no such file or directory", "")


def test_packages_that_a_node_lacks_are_named(folder: Path) -> None:
    assert run_probe(folder, "http://127.0.0.1:1", "json", "no_such_package").missing == [
        "no_such_package"
    ]
