"""Metrics at Weights & Biases: real runs of wandb, offline or against servers that fail."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from support.local_server import LocalServer, event_messages, wait_for_job
from support.processes import wait_for_end, wait_for_worker
from support.training import CITIES, city_example, encode_jsonl, method_with, start_job
from support.wandb_files import read_history, read_records, read_run

pytestmark = pytest.mark.training

KEY = "0123456789abcdef" * 2 + "01234567"
INTEGRATION = {
    "type": "wandb",
    "wandb": {"project": "mine", "name": "first try", "tags": ["a", "b"]},
}
BOUND = 60.0
"""Seconds by which a server that fails may delay a job of a few seconds."""


def run_files(server: LocalServer, job: str) -> list[Path]:
    return sorted((server.folder / "jobs" / job / "wandb").glob("*run-*/*.wandb"))


def metrics_of_events(client: openai.OpenAI, job: str) -> list[dict[str, Any]]:
    """Return the metrics of each step, oldest first."""
    steps: dict[int, dict[str, Any]] = {}
    for event in [*client.fine_tuning.jobs.list_events(job, limit=100)][::-1]:
        if event.type == "metrics":
            steps.setdefault(event.data["step"], {}).update(event.data)
    return list(steps.values())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path_factory.mktemp("offline") / "data", forked=False)
    yield server.start(
        WANDB_MODE="offline", WANDB_API_KEY=KEY, HOME=str(home), XDG_CACHE_HOME=str(home)
    )
    server.stop()


@pytest.fixture(scope="module")
def offline_job(offline: LocalServer) -> Any:
    with offline.client() as client:
        validation = encode_jsonl([city_example(name, name) for name in CITIES[:4]])
        method = method_with(n_epochs=3)
        job = start_job(
            client, validation=validation, integrations=[INTEGRATION], method=method, seed=7
        )
        return wait_for_job(client, job.id, "succeeded")


def test_a_job_shows_its_integrations_as_given(offline_job: Any) -> None:
    assert [item.to_dict() for item in offline_job.integrations] == [INTEGRATION]


def test_a_run_has_the_metrics_of_the_job(offline: LocalServer, offline_job: Any) -> None:
    (path,) = run_files(offline, offline_job.id)
    with offline.client() as client:
        metrics = metrics_of_events(client, offline_job.id)
    assert len(metrics) == 6
    assert "valid_loss" in metrics[-1]
    assert read_history(path) == metrics


def test_a_run_is_named_and_configured_by_the_job(offline: LocalServer, offline_job: Any) -> None:
    (path,) = run_files(offline, offline_job.id)
    run = read_run(path)
    assert (run.run_id, run.project, run.display_name) == (offline_job.id, "mine", "first try")
    assert list(run.tags) == ["a", "b"]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config == {
        "_wandb": {},
        "job": offline_job.id,
        "model": "ftkit/smoke",
        "method": "supervised",
        "seed": 7,
        "training_file": offline_job.training_file,
        "validation_file": offline_job.validation_file,
        "n_epochs": 3,
        "batch_size": 8,
        "learning_rate_multiplier": offline_job.hyperparameters.learning_rate_multiplier,
    }


def test_a_run_has_nothing_about_the_machine(offline: LocalServer, offline_job: Any) -> None:
    (path,) = run_files(offline, offline_job.id)
    secrets = [socket.gethostname(), str(Path.cwd()), sys.executable, str(offline.folder), KEY]
    content = path.read_bytes()
    # As words, since a short name of the machine may be part of an id.
    found = [text for text in secrets if re.search(rb"\b%s\b" % re.escape(text.encode()), content)]
    assert not found
    run = read_run(path)
    assert not run.host
    assert not run.HasField("git")
    assert not [file for file in (path.parent / "files").rglob("*") if file.is_file()]


def test_wandb_writes_to_the_folder_of_the_job_only(offline_job: Any, home: Path) -> None:
    assert not [path for path in home.rglob("*") if "wandb" in path.name or path.name == ".netrc"]


def test_the_key_is_in_no_file_of_the_service(offline: LocalServer, offline_job: Any) -> None:
    files = [path for path in offline.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in offline.log()


def test_a_restarted_job_resumes_its_run(tmp_path: Path) -> None:
    server = LocalServer(tmp_path / "data").start(WANDB_MODE="offline")
    try:
        job = start_job(
            server.client(), integrations=[INTEGRATION], method=method_with(n_epochs=20)
        ).id
        wait_for_worker(server.folder, "train")
        deadline = time.monotonic() + 240
        while not any(text.startswith("Step 8/") for text in event_messages(server.client(), job)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        server.kill()
        wait_for_end(server.folder, "train", 5)
        server.start(WANDB_MODE="offline")
        wait_for_job(server.client(), job, "succeeded")
        files = run_files(server, job)
        assert len(files) in (1, 2)  # the first one may not have been started
        # A process that is killed at once may have written nothing.
        records = [record for path in files for record in read_records(path)]
        assert {record.run.run_id for record in records if record.HasField("run")} == {job}
        assert [row["step"] for row in read_history(files[-1])] == list(range(1, 41))
    finally:
        server.stop()


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers each request with 401, as Weights & Biases does to a wrong key."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    """Ports of a server that rejects the key, of one that never responds, and of none."""
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as refusing,
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.socket() as closed,
    ):
        closed.bind(("127.0.0.1", 0))
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        yield {
            "refusing": refusing.server_port,
            "silent": silent.getsockname()[1],
            "closed": closed.getsockname()[1],
        }
        refusing.shutdown()


# At the start of the module, since the jobs wait for 20 s, which the other tests need, too.
@pytest.fixture(scope="module", autouse=True)
def failing_jobs(
    ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[LocalServer, str]]]:
    """A job for each of the ports, at a service of its own. They run side by side."""
    folder = tmp_path_factory.mktemp("failing")
    with contextlib.ExitStack() as stack:
        jobs = {}
        for name, port in ports.items():
            server = LocalServer(folder / name)
            server.start(WANDB_BASE_URL=f"http://127.0.0.1:{port}", WANDB_API_KEY=KEY)
            stack.callback(server.stop)
            method = method_with(n_epochs=2)
            job = start_job(server.client(), integrations=[INTEGRATION], method=method)
            jobs[name] = (server, job.id)
        yield jobs


@pytest.mark.parametrize("failing", ["refusing", "silent", "closed"])
def test_a_failure_of_wandb_is_a_warning_and_delays_the_job_by_a_limited_time(
    failing: str, failing_jobs: dict[str, tuple[LocalServer, str]]
) -> None:
    server, id = failing_jobs[failing]
    client = server.client()
    job = wait_for_job(client, id, "succeeded")
    events = list(client.fine_tuning.jobs.list_events(id, limit=100))
    (started,) = (event for event in events if event.message == "Fine-tuning job started")
    assert job.finished_at - started.created_at < BOUND
    (warning,) = [event for event in events if event.level == "warn"]
    assert "logged to Weights & Biases" in warning.message
    log = (server.folder / "jobs" / id / "process.log").read_text("utf-8")
    assert "Weights & Biases: " in log
    assert KEY not in log


def test_a_key_that_wandb_cannot_use_is_a_warning(tmp_path: Path) -> None:
    server = LocalServer(tmp_path / "data").start(WANDB_API_KEY="not a key")
    try:
        client = server.client()
        job = start_job(client, integrations=[INTEGRATION], method=method_with(n_epochs=1))
        wait_for_job(client, job.id, "succeeded")
        log = (server.folder / "jobs" / job.id / "process.log").read_text("utf-8")
        assert "not a key" not in log
        assert any("logged to Weights" in text for text in event_messages(client, job.id))
    finally:
        server.stop()
