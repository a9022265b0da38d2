"""`ftkit open`, and `ftkit serve --open`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ftkit._local import dashboard_url, find_running
from support.commands import run_ftkit
from support.local_server import LocalServer
from support.models import SMOKE
from support.server_requests import upload_file

SECONDS = 60.0
"""Seconds to wait for a browser to be started."""


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which a web browser writes the address that it is given."""
    browser, record = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {record}\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    return record


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """The service of the default data folder."""
    monkeypatch.setenv("FTKIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("FTKIT_DATA_DIR", str(tmp_path / "data"))
    with LocalServer(tmp_path / "data") as server:
        yield server


def page(server: LocalServer, path: str) -> str:
    return f"{server.url.removesuffix('v1')}{path}"


def test_the_dashboard_is_printed_and_opened(server: LocalServer, opened: Path) -> None:
    done = run_ftkit("open")
    assert (done.returncode, done.stdout, done.stderr) == (0, page(server, "\n"), "")
    assert opened.read_text().strip() == page(server, "")
    assert httpx.get(done.stdout.strip(), timeout=60).status_code == 200


def test_without_a_browser_the_address_is_printed_only(server: LocalServer, opened: Path) -> None:
    done = run_ftkit("open", "--no-browser", "--output", "json")
    assert json.loads(done.stdout) == {"url": page(server, "")}
    assert not opened.exists()


def test_a_job_a_file_and_a_model_have_pages(server: LocalServer, opened: Path) -> None:
    with server.client() as client:
        file = upload_file(client).id
        job = client.fine_tuning.jobs.create(model=SMOKE, training_file=file).id
        client.fine_tuning.jobs.pause(job)
    for id, path in ((job, f"jobs/{job}"), (file, f"files/{file}")):
        done = run_ftkit("open", id, "--base-url", server.url)
        assert (done.returncode, done.stdout) == (0, page(server, f"{path}\n")), done.stderr
        assert opened.read_text().strip() == page(server, path)


def test_an_address_must_be_a_url(opened: Path) -> None:
    done = run_ftkit("open", "--base-url", "javascript:alert(1)")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ftkit: `--base-url` must be a URL that starts with https://")
    assert not opened.exists()


@pytest.mark.parametrize("id", ["ftjob-none", "file-none", "ft:smoke::none", "../x", "@last"])
def test_what_does_not_exist_is_not_opened(server: LocalServer, opened: Path, id: str) -> None:
    done = run_ftkit("open", id)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ftkit: ")
    assert len(done.stderr.splitlines()) == 1
    assert not opened.exists()


def test_a_job_at_a_hosted_provider_is_shown_by_another_command(
    server: LocalServer, opened: Path, provider_url: str, clean_file: str
) -> None:
    place = ("--provider", "openai", "--base-url", provider_url)
    key = {"OPENAI_API_KEY": "sk-test"}
    model = ("--model", "gpt-4o-mini-2024-07-18", "--yes")
    done = run_ftkit("submit", clean_file, *model, *place, env=key)
    assert done.returncode == 0, done.stderr
    done = run_ftkit("open", "@last", env=key)
    assert done.returncode == 2
    assert "is at OpenAI, not at the local service; show it with: ftkit jobs open " in done.stderr
    assert not opened.exists()


def test_a_service_with_keys_is_opened_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Path
) -> None:
    monkeypatch.setenv("FTKIT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("FTKIT_STATE_DIR", str(tmp_path / "state"))
    with LocalServer(tmp_path / "data", keys=("sk-one",)) as server:
        done = run_ftkit("open", "ftjob-1")
        assert (done.returncode, done.stdout) == (0, page(server, "jobs/ftjob-1\n")), done.stderr
        assert (
            httpx.get(done.stdout.strip(), timeout=60).headers["location"]
            == "/login?next=/jobs/ftjob-1"
        )


def test_the_only_service_is_opened_wherever_its_data_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Path
) -> None:
    monkeypatch.setenv("FTKIT_DATA_DIR", str(tmp_path / "unused"))
    monkeypatch.setenv("FTKIT_STATE_DIR", str(tmp_path / "state"))
    with LocalServer(tmp_path / "one") as one:
        assert run_ftkit("open").stdout == page(one, "\n")
        with LocalServer(tmp_path / "two") as two:
            done = run_ftkit("open")
            urls = " or ".join(sorted((one.url, two.url)))
            assert done.returncode == 2
            assert f"several services run; choose one with --base-url {urls}" in done.stderr
            assert run_ftkit("open", "--base-url", two.url).stdout == page(two, "\n")
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("http://127.0.0.1:8642/v1", "http://127.0.0.1:8642/"),
        ("http://0.0.0.0:8642/v1", "http://127.0.0.1:8642/"),
        ("http://[::]:8642/v1/", "http://[::1]:8642/"),
        ("https://gpu.example/ftkit/v1", "https://gpu.example/ftkit/"),
    ],
)
def test_the_address_of_the_dashboard_is_that_of_the_api(url: str, page: str) -> None:
    assert dashboard_url(url) == page


@pytest.mark.training
def test_serve_opens_the_dashboard_once_it_answers(tmp_path: Path, opened: Path) -> None:
    folder = tmp_path / "data"
    command = ["serve", "--port", "0", "--data-dir", str(folder), "--open"]
    environment = {**os.environ, "FTKIT_STATE_DIR": str(tmp_path / "state")}
    with subprocess.Popen(
        [sys.executable, "-m", "ftkit", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            deadline = time.monotonic() + SECONDS
            while not opened.exists() or not opened.read_text():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            running = find_running(folder)
            assert running
            assert opened.read_text().strip() == dashboard_url(running.url)
        finally:
            process.send_signal(signal.SIGTERM)
