"""The devices of the machine, what runs on them, and the disk space."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ftkit.dashboard import devices_page, machine
from ftkit.dashboard.app import DASHBOARD
from ftkit.dashboard.gpus import Gpu, GpuReading
from ftkit.dashboard.machine import Monitor, ResourceUsage
from ftkit.dashboard.processes import ProcessReader
from ftkit.server.app import ServerSettings, create_app
from ftkit.server.auth import LOCAL_TENANT
from ftkit.server.control_groups import GroupMemory
from ftkit.server.folder import Folder
from ftkit.server.relay import Relay
from support.browser import HOSTILE_TEXTS, TagCollector
from support.tuned_models import add_tuned_model

KEY = {"authorization": "Bearer one"}

WORKER = """
import sys, time
while True:
    end = time.perf_counter() + 0.02
    while time.perf_counter() < end:
        pass
    time.sleep(0.02)
"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[TestClient]:
    app = create_app(ServerSettings(tmp_path, pages=DASHBOARD))
    with TestClient(app, "http://127.0.0.1") as client:
        yield client


@contextmanager
def worker(*arguments: str, module: str = "ftkit.server.worker") -> Iterator[int]:
    """A child process with the command line of a worker. Yields its id."""
    command = [sys.executable, "-c", WORKER, module, *arguments]
    with subprocess.Popen(command) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def rows(page: str) -> list[list[str]]:
    """The texts of the cells of the last table."""
    body = page.rpartition("<tbody>")[2]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("<tr>")[1:]]
    return [[re.sub("<[^>]*>", "", cell).strip() for cell in row] for row in cells]


def processes(browser: TestClient) -> dict[str, list[str]]:
    """The cells of each process on the page, by its name."""
    return {name: cells for name, *cells in rows(browser.get("/devices/state").text)}


def test_the_page_shows_the_machine(browser: TestClient, tmp_path: Path) -> None:
    page = browser.get("/devices").text
    assert "<h1>Devices</h1>" in page
    assert f"data in <code>{tmp_path}</code>" in page
    assert "No NVIDIA GPU is visible here." in page
    assert rows(page)[0][0] == "The service"
    assert "<html" not in browser.get("/devices/state").text


def test_a_process_is_named_with_its_job(browser: TestClient, tmp_path: Path) -> None:
    model, _ = add_tuned_model(tmp_path, LOCAL_TENANT, model="mini")
    job = re.findall(r"ftjob-\w+", browser.get(f"/playground?model={model}").text)[0]
    with worker("train", str(tmp_path), job), worker("generate", str(tmp_path)):
        first = processes(browser)
        deadline, later = time.monotonic() + 20, first
        while later["Training"][2] in ("…", "0.0"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
            later = processes(browser)
    assert first["Training"][0] == f"{job} mini"
    assert first["Training"][2] == "…"
    assert float(later["Training"][2]) < 1.5
    assert first["Answers of models"][0] == "–"


def test_checks_of_files_are_shown(browser: TestClient) -> None:
    with worker("validate", "FILE", "OUTPUT", "{}", module="ftkit.dashboard.check_process"):
        assert processes(browser)["File check"][0] == "–"


def test_jobs_of_other_accounts_are_not_named(tmp_path: Path) -> None:
    app = create_app(ServerSettings(tmp_path, keys=("one", "two"), pages=DASHBOARD))
    with TestClient(app, "http://127.0.0.1") as client:
        model, _ = add_tuned_model(tmp_path, "another account")
        with worker("train", str(tmp_path), f"ftjob-{model[-8:]}"):
            page = client.get("/devices", headers=KEY).text
        sizes = client.get("/devices/sizes", headers=KEY).text
    assert rows(page)[-1][:2] == ["Training", "of another account"]
    assert model[-8:] not in page
    assert str(tmp_path) not in page
    assert "your files" in sizes
    assert "database" not in sizes


def test_a_process_that_has_ended_is_left_out() -> None:
    reader = ProcessReader()
    with worker("check", "DATA", "ftjob-1") as pid:
        assert ("validation", "ftjob-1", pid) in [
            (process.role, process.job, process.pid) for process in reader.read()
        ]
    assert [process.pid for process in reader.read()] == [os.getpid()]


def test_the_sizes_count_a_file_with_two_names_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    blob = folder.keep_bytes(b"x" * 5000)
    folder.link_blob(blob.sha256, folder.job("ftjob-1") / "training.jsonl")
    (folder.job("ftjob-1") / "process.log").write_bytes(b"x" * 300)
    (folder.job("ftjob-1") / "link").symlink_to("/")
    files, jobs, own = Monitor(folder).sizes()
    link = len("/")
    assert (files.size, jobs.size, own.size) == (5000, 300 + link, 0)
    assert files.is_complete


def test_adding_up_sizes_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: TestClient
) -> None:
    monkeypatch.setattr(machine, "MEASURING_SECONDS", -1.0)
    Folder(tmp_path).keep_bytes(b"x")
    assert "at least 1 byte" in browser.get("/devices/sizes").text


def test_a_reading_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings: list[int] = []

    def read() -> GpuReading:
        readings.append(1)
        return GpuReading()

    monkeypatch.setattr(machine, "read_gpus", read)
    monitor = Monitor(Folder(tmp_path))
    assert monitor.state() is monitor.state()
    assert len(readings) == 1
    monkeypatch.setattr(machine, "STATE_SECONDS", 0.0)
    assert Monitor(Folder(tmp_path)).state().load is None


def test_the_memory_is_that_of_a_control_group_with_a_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "group_memory", lambda: GroupMemory(4000, 1000))
    state = Monitor(Folder(tmp_path)).state()
    assert (state.memory, state.is_limited) == (ResourceUsage(1000, 4000), True)
    monkeypatch.setattr(machine, "group_memory", lambda: GroupMemory(1 << 62, 1000))
    assert not Monitor(Folder(tmp_path)).state().is_limited


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_gpus_are_shown_with_what_is_known_of_them(
    text: str, browser: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = (
        Gpu(text, 35 << 30, 140 << 30, 0.87, 61, {os.getpid(): 2 << 30}),
        Gpu("other", processes={os.getpid(): None}),
    )
    monkeypatch.setattr(machine, "read_gpus", lambda: GpuReading(gpus))
    monkeypatch.setenv(devices_page.VISIBLE_DEVICES, "0")
    page = browser.get("/devices").text
    assert "35.0 GiB of 140 GiB" in page
    assert "CUDA_VISIBLE_DEVICES=0" in page
    assert rows(page)[0][-1] == "GPU 0: 2.0 GiB, GPU 1: size unknown"
    assert not {"img", "h3"} & {tag for tag, _ in TagCollector(page).tags}


def test_an_error_of_the_driver_is_shown(
    browser: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "read_gpus", lambda: GpuReading(error="Version mismatch"))
    assert "The GPUs cannot be read: Version mismatch." in browser.get("/devices").text


def test_a_cluster_and_answering_servers_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Relay, "bases", ["own/model"])
    runner: Any = IdleRunner()
    settings = ServerSettings(tmp_path, runner=runner, pages=DASHBOARD)
    with TestClient(create_app(settings), "http://127.0.0.1") as client:
        page = client.get("/devices").text
    assert "Jobs are trained on a Ray cluster." in page
    assert "answer for <code>own/model</code>" in page


class IdleRunner:
    """Runner that is never given a job."""

    def close(self) -> None:
        pass
