"""Jobs of the service on a Ray cluster, through the loss of nodes, head, service and network."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai
import pytest

from support.local_server import LocalServer, event_messages, wait_for_job
from support.processes import wait_for_end, wait_for_worker, worker_processes
from support.ray_jobs_cluster import RayCluster, free_port, ray_cluster
from support.tcp_proxy import TcpProxy
from support.training import ask_model, method_with, start_job, steps, wait_for_step

pytestmark = [
    pytest.mark.remote,
    *(
        pytest.mark.skipif(find_spec(package) is None, reason=f"needs {need}")
        for package, need in (("aiohttp_cors", "ray[default]"), ("torch", "the extra local"))
    ),
]

EPOCHS = 20
"""Number of epochs, of two steps each, in which the smoke model memorizes its data."""

WAIT = 240.0
"""Maximum seconds to wait for something on a busy machine."""

SEEDS, KILLS = 2, 25
"""Number of schedules of kills, and of the kills of each."""

TASK = "train-remote"
"""Task of the training processes on the nodes."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """Two nodes that are not killed, each with room for one job of the smoke model."""
    with ray_cluster(1, 1) as cluster:
        yield cluster


@contextmanager
def serving(cluster: RayCluster, folder: Path, **more: Any) -> Iterator[LocalServer]:
    """Serve jobs that train on a cluster, at a port that stays the same after a restart."""
    settings = {"max_jobs": 10, "port": free_port(), **more}
    address = settings.pop("service_url", "")
    settings["cluster"] = {"url": cluster.url, "service_url": address}
    with LocalServer(folder / "data", **settings) as server:
        yield server


def train(client: openai.OpenAI, epochs: int = EPOCHS) -> str:
    """Start a job, and return its id."""
    job: str = start_job(client, method=method_with(n_epochs=epochs)).id
    return job


def check_finished(client: openai.OpenAI, job: str, epochs: int = EPOCHS) -> Any:
    """Check that a job ends once, with each of its events once, and return it."""
    finished = wait_for_job(client, job, "succeeded", seconds=2 * WAIT)
    total = 2 * epochs
    assert steps(client, job) == [f"Step {n}/{total}" for n in range(1, total + 1)]
    texts = event_messages(client, job)
    assert sum("successfully completed" in text for text in texts) == 1
    assert sum("New fine-tuned model" in text for text in texts) == 1
    assert len(finished.result_files) == 1
    return finished


def restarts(client: openai.OpenAI, job: str) -> list[str]:
    """Return the events of a job about processes that ended."""
    return [text for text in event_messages(client, job) if "is restarted" in text]


def request(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as response:
        text: str = response.read().decode()
    return text


def wait_for_event(client: openai.OpenAI, job: str, text: str) -> None:
    """Wait until a job has an event with a text."""
    deadline = time.monotonic() + WAIT
    while not any(text in message for message in event_messages(client, job)):
        assert time.monotonic() < deadline, text
        time.sleep(0.1)


def test_a_job_trains_on_the_cluster_and_its_model_answers(
    cluster: RayCluster, tmp_path: Path
) -> None:
    with serving(cluster, tmp_path) as server, server.client() as client:
        job = train(client)
        finished = check_finished(client, job)
        assert ask_model(client, finished.fine_tuned_model, "Minsk") == "ksniM"
        assert restarts(client, job) == []
        wait_for_end(server.folder, TASK, WAIT)
        deadline = time.monotonic() + WAIT
        while (
            shown := json.loads(request(f"{cluster.url}/api/jobs/{job}-1"))["status"]
        ) == "RUNNING":
            assert time.monotonic() < deadline
            time.sleep(0.1)  # until Ray has noticed it
    assert shown == "SUCCEEDED"


def test_a_job_is_paused_and_resumed_and_another_one_cancelled(
    cluster: RayCluster, tmp_path: Path
) -> None:
    with serving(cluster, tmp_path) as server, server.client() as client:
        job, cancelled = train(client, 50), train(client, 50)
        wait_for_step(client, job, 5, WAIT)
        client.fine_tuning.jobs.pause(job)
        wait_for_step(client, cancelled, 5, WAIT)
        assert client.fine_tuning.jobs.cancel(cancelled).status == "cancelled"
        wait_for_job(client, job, "paused", seconds=WAIT)
        wait_for_end(server.folder, TASK, WAIT)
        assert 5 <= len(steps(client, job)) < 100
        client.fine_tuning.jobs.resume(job)
        check_finished(client, job, 50)
        assert client.fine_tuning.jobs.retrieve(cancelled).status == "cancelled"
        assert restarts(client, job) == []


def test_what_the_cluster_shows_has_no_token(cluster: RayCluster, tmp_path: Path) -> None:
    with serving(cluster, tmp_path) as server, server.client() as client:
        job = train(client)
        wait_for_step(client, job, 1, WAIT)
        paths = ("jobs/", f"jobs/{job}-1/logs", "v0/actors?detail=1", "v0/runtime_envs?detail=1")
        shown = [request(f"{cluster.url}/api/{path}") for path in paths]
        command = ["ps", "axww", "-o", "args"]
        processes = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert job in shown[0]
        assert TASK in processes
        assert not [text for text in (*shown, processes, server.log()) if "ftattempt-" in text]
        assert not [path for path in server.folder.rglob("token*") if "tokenizer" not in path.name]


def test_only_what_fits_is_submitted(cluster: RayCluster, tmp_path: Path) -> None:
    with serving(cluster, tmp_path) as server, server.client() as client:
        jobs = [train(client, epochs=2) for _ in range(4)]
        most = 0
        while any(client.fine_tuning.jobs.retrieve(job).status != "succeeded" for job in jobs):
            rows = json.loads(request(f"{cluster.url}/api/jobs/"))
            states = [row["status"] for row in rows if (row["submission_id"] or "")[:-2] in jobs]
            most = max(most, states.count("PENDING") + states.count("RUNNING"))
            time.sleep(0.3)
        assert most == 2
        for job in jobs:
            check_finished(client, job, epochs=2)


def test_a_job_that_no_node_has_room_for_says_so_and_delays_no_other(
    cluster: RayCluster, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('["ftkit/smoke"]\ngpus = 8\n')
    with serving(cluster, tmp_path, recipe=recipe) as server, server.client() as client:
        job = train(client)
        wait_for_event(client, job, "The job waits: no node")
    with serving(cluster, tmp_path) as server, server.client() as client:
        check_finished(client, train(client, epochs=1), epochs=1)
        (text,) = (text for text in event_messages(client, job) if "The job waits: no node" in text)
        assert text == (
            "The job waits: no node of the Ray cluster has 1 CPU and 8 GPU, which the job reserves;"
            " its nodes have 1 CPU and 0 GPU; see `gpus` and `threads` of its recipe"
        )
        assert client.fine_tuning.jobs.retrieve(job).status == "queued"


def test_a_process_outlives_a_service_that_is_killed(cluster: RayCluster, tmp_path: Path) -> None:
    with serving(cluster, tmp_path) as server, server.client() as client:
        job = train(client)
        wait_for_step(client, job, 5, WAIT)
        before = worker_processes(server.folder, TASK)
        server.kill()
        server.start()
        assert worker_processes(server.folder, TASK) == before
        check_finished(client, job)
        assert restarts(client, job) == []


def test_a_short_cut_of_the_network_delays_the_reports_only(
    cluster: RayCluster, tmp_path: Path
) -> None:
    port = free_port()
    with closing(TcpProxy(port)) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        with (
            serving(cluster, tmp_path, port=port, service_url=address) as server,
            server.client() as client,
        ):
            job = train(client)
            wait_for_step(client, job, 3, WAIT)
            proxy.cut()
            time.sleep(8)
            proxy.restore()
            check_finished(client, job)
            assert restarts(client, job) == []


def test_a_job_continues_on_another_node_when_its_own_is_killed(tmp_path: Path) -> None:
    with (
        ray_cluster(1) as cluster,
        serving(cluster, tmp_path) as server,
        server.client() as client,
    ):
        (node,) = cluster.nodes
        job = train(client, epochs=50)
        stale = wait_for_worker(server.folder, TASK, seconds=WAIT)
        wait_for_step(client, job, 5, WAIT)
        os.kill(stale, signal.SIGSTOP)  # or it could finish the job before Ray notices
        cluster.kill_node(node)
        cluster.add_node(1)
        wait_for_event(client, job, "its node in the Ray cluster died")
        with suppress(ProcessLookupError):  # Ray has killed it
            os.kill(stale, signal.SIGCONT)
        check_finished(client, job, epochs=50)
        assert len(restarts(client, job)) == 1
        deadline = time.monotonic() + WAIT
        while Path(f"/proc/{stale}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_jobs_of_three_tenants_end_once_while_nodes_are_killed(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    keys = ("a", "b", "c")
    with (
        ray_cluster(1, 1, 1) as cluster,
        serving(cluster, tmp_path, keys=keys) as server,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(server.client(key)) for key in keys]
        jobs: dict[str, openai.OpenAI] = {}
        for _ in range(KILLS):
            for client in clients:
                latest = client.fine_tuning.jobs.list(limit=1).data
                if not latest or latest[0].status == "succeeded":
                    jobs[train(client, epochs=15)] = client
            wait_for_worker(server.folder, TASK, seconds=WAIT)
            time.sleep(chance.uniform(0, 8))
            cluster.kill_node(chance.choice(cluster.nodes))
            cluster.add_node(1)
        for job, client in jobs.items():
            check_finished(client, job, epochs=15)


@pytest.mark.slow
def test_a_head_that_is_killed_and_started_again_loses_no_job(tmp_path: Path) -> None:
    with (
        ray_cluster(1) as cluster,
        serving(cluster, tmp_path) as server,
        server.client() as client,
    ):
        running, queued = train(client, epochs=40), train(client)
        wait_for_step(client, running, 5, WAIT)
        cluster.kill_head()
        time.sleep(10)
        assert client.fine_tuning.jobs.retrieve(queued).status == "queued"
        cluster.start_head()
        cluster.add_node(1)
        check_finished(client, running, epochs=40)
        check_finished(client, queued)
        assert len(restarts(client, running)) <= 1


@pytest.mark.slow
def test_a_job_continues_after_the_network_was_cut_for_60_seconds(tmp_path: Path) -> None:
    port = free_port()
    with closing(TcpProxy(port)) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        with (
            ray_cluster(1) as cluster,
            serving(cluster, tmp_path, port=port, service_url=address) as server,
            server.client() as client,
        ):
            job = train(client, epochs=40)
            wait_for_step(client, job, 3, WAIT)
            proxy.cut()
            time.sleep(60)
            proxy.restore()
            check_finished(client, job, epochs=40)
