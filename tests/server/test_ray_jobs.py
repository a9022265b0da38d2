"""Decisions of the runner on a Ray cluster: room for jobs, and the meaning of Ray's states."""

from __future__ import annotations

import socket
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ftkit.server import backoff, ray_jobs
from ftkit.server.cluster_check import _node_error, responding
from ftkit.server.cluster_room import reservation
from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.objects import JobObject
from ftkit.server.outages import ObservedRunner
from ftkit.server.probe import MARK
from ftkit.server.ray_client import Node, RayJob, Submission
from ftkit.server.ray_jobs import MAX_SUBMISSIONS, RayJobs, View
from ftkit.server.ray_settings import RaySettings
from ftkit.server.recipes import builtin_recipes
from ftkit.server.runner import (
    Attempt,
    Ended,
    Room,
    RunnerUnavailableError,
    Running,
    Waiting,
)
from support.ray_head import Head, running_head
from support.server_requests import create_job


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RayJobs]:
    """A runner whose cluster cannot be reached."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with closing(RayJobs(Folder(tmp_path / "data"), RaySettings(url, "http://service"))) as runner:
        yield runner
    runner._thread.join(5)


@pytest.fixture
def job(tmp_path: Path) -> JobObject:
    with closing(Database(tmp_path / "jobs.db")) as database:
        job = database.get(JobObject, create_job(database))
    assert job
    return job


def see(runner: RayJobs, nodes: list[Node], *jobs: RayJob) -> None:
    """Let the runner see a cluster, which its thread cannot reach."""
    runner.close()
    runner._thread.join(5)
    runner._view = View({job.submission_id or "": job for job in jobs}, nodes)
    runner._error = ""
    runner._listed.set()


def node(name: str, cpus: float, gpus: float = 0.0, used: float = 0.0) -> Node:
    return Node(name, {"CPU": cpus, "GPU": gpus}, {"CPU": used, "GPU": 0.0}, "10.0.0.1")


def ray_job(
    name: str, status: str, cpus: float = 1.0, on: str | None = None, **more: Any
) -> RayJob:
    reserved = {"ftkit_reserved_CPU": str(cpus), "ftkit_reserved_GPU": "0.0"}
    return RayJob(status, name, driver_node_id=on, metadata=reserved, **more)


@pytest.mark.parametrize(
    ("nodes", "jobs", "is_free"),
    [
        ([node("a", 1)], [], True),
        ([node("a", 1, used=1)], [], False),
        ([node("a", 1)], [ray_job("1", "RUNNING", on="a")], False),
        ([node("a", 2, used=1)], [ray_job("1", "RUNNING", on="a")], True),
        ([node("a", 1)], [ray_job("1", "PENDING")], False),
        ([node("a", 2)], [ray_job("1", "PENDING")], True),
        ([node("a", 1), node("b", 1)], [ray_job("1", "PENDING")], True),
        ([node("a", 1), node("b", 1)], [ray_job("1", "PENDING"), ray_job("2", "PENDING")], False),
        ([node("a", 1)], [ray_job("1", "SUCCEEDED", on="a")], True),
        ([node("a", 1)], [ray_job("1", "RUNNING")], False),
        ([node("a", 1)], [ray_job("1", "RUNNING", on="gone")], False),
        ([node("a", 2)], [ray_job("1", "RUNNING", on="gone")], True),
    ],
)
def test_a_job_has_room_beside_what_others_reserve(
    nodes: list[Node], jobs: list[RayJob], is_free: bool, runner: RayJobs, job: JobObject
) -> None:
    see(runner, nodes, *jobs)
    room = runner.room(job)
    assert (room.is_free, room.obstacle) == (is_free, "")


@pytest.mark.parametrize("amount", ["a lot", "", "nan", "-inf", "1e999", "-3"])
def test_forged_amounts_of_another_job_reserve_nothing(
    amount: str, runner: RayJobs, job: JobObject
) -> None:
    forged = {"ftkit_reserved_CPU": amount, "ftkit_reserved_GPU": amount, "ftkit_reserved_x": "1"}
    others = [
        RayJob(status, status, driver_node_id="a", metadata=forged)
        for status in ("RUNNING", "PENDING")
    ]
    see(runner, [node("a", 1)], *others)
    assert runner.room(job).is_free


def test_what_was_started_but_not_listed_takes_room(runner: RayJobs, job: JobObject) -> None:
    see(runner, [node("a", 1)])
    runner._submissions["x"] = Submission("x", "true", {"CPU": 1.0, "GPU": 0.0})
    assert not runner.room(job).is_free
    assert isinstance(runner.state("x"), Waiting)


def test_a_job_that_no_node_can_run_has_an_obstacle(runner: RayJobs, job: JobObject) -> None:
    job.recipe = {"gpus": 2}
    see(runner, [node("a", 8, 1), node("b", 8, 1)])
    assert "no node of the Ray cluster has 1 CPU and 2 GPU" in runner.room(job).obstacle
    see(runner, [])
    assert "the Ray cluster has no node" in runner.room(job).obstacle


def test_an_obstacle_names_the_kinds_of_nodes(runner: RayJobs, job: JobObject) -> None:
    job.recipe = {"gpus": 4, "threads": 8}
    see(runner, [node("head", 0), node("a", 8), node("b", 8), node("c", 1, 4)])
    assert runner.room(job).obstacle == (
        "no node of the Ray cluster has 8 CPU and 4 GPU, which the job reserves; its nodes have 8"
        " CPU and 0 GPU, or 1 CPU and 4 GPU; see `gpus` and `threads` of its recipe"
    )
    see(runner, [node(str(cpus), cpus) for cpus in range(1, 8)])
    assert "or 3 CPU and 0 GPU; and 2 more kinds; see" in runner.room(job).obstacle


def test_a_job_without_room_has_a_reason(runner: RayJobs, job: JobObject) -> None:
    see(runner, [node("a", 1, used=1)])
    assert runner.room(job) == Room(False, "", "no node of the Ray cluster has 1 CPU free")


def test_a_recipe_reserves_its_threads_and_gpus() -> None:
    recipes = builtin_recipes()
    assert reservation(recipes.find("ftkit/smoke")) == {"CPU": 1.0, "GPU": 0.0}
    assert reservation(recipes.find("owner/name")) == {"CPU": 1.0, "GPU": 1.0}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Head, RayJobs]]:
    """A head with one node, and a runner that uses it and repeats failed calls soon."""
    with running_head() as head:
        head.show({"a": {"CPU": 4.0}})
        head.respond("POST /api/jobs/", 200, {})
        settings = RaySettings(head.url, "http://service")
        with closing(RayJobs(Folder(tmp_path / "data"), settings)) as runner:
            yield head, runner
        runner._thread.join(5)


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_job_whose_submission_fails_delays_no_other_call(
    cluster: tuple[Head, RayJobs],
    job: JobObject,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    head, runner = cluster
    monkeypatch.setattr(backoff, "MAX_SECONDS", 0.5)
    head.broken.add(f"{job.id}-1")
    bad = runner.start("train", job, Attempt(job.id, 1, "ftattempt-1"))
    good = runner.start("train", job, Attempt(job.id, 2, "ftattempt-2"))
    runner.stop("ftjob-old-1")
    wait_until(lambda: head.count("POST /api/jobs/", good))
    wait_until(lambda: head.count("POST /api/jobs/ftjob-old-1/stop"))
    head.show({"a": {"CPU": 4.0}}, listed(runner, good, "RUNNING"))
    wait_until(lambda: isinstance(runner.state(good), Running))
    assert isinstance(runner.state(bad), Waiting)
    assert runner.room(job).is_free
    wait_until(lambda: isinstance(runner.state(bad), Ended))
    assert runner.state(bad) == Ended(
        "killed", "Ray did not accept it: status 500: OSError: No space left on device"
    )
    assert head.count("POST /api/jobs/", bad) == MAX_SUBMISSIONS
    wait_until(lambda: head.count(f"POST /api/jobs/{bad}/stop"))  # it may run all the same
    texts = [text for text in caplog.messages if f"Cannot submit {bad}" in text]
    assert len(texts) == 1


def test_a_submission_that_succeeds_later_is_a_job(
    cluster: tuple[Head, RayJobs], job: JobObject
) -> None:
    head, runner = cluster
    head.broken.add(f"{job.id}-1")
    handle = runner.start("train", job, Attempt(job.id, 1, "ftattempt-1"))
    wait_until(lambda: head.count("POST /api/jobs/", handle) >= 2)
    head.show({"a": {"CPU": 4.0}}, listed(runner, handle, "RUNNING"))
    head.broken.clear()
    wait_until(lambda: isinstance(runner.state(handle), Running))


@pytest.mark.parametrize("request_", ["POST /api/jobs/old-1/stop", "DELETE /api/jobs/old-1"])
def test_a_job_that_cannot_be_stopped_or_deleted_delays_no_other_call(
    request_: str, cluster: tuple[Head, RayJobs], job: JobObject
) -> None:
    head, runner = cluster
    head.respond(request_, 500, b"RuntimeError: broken")
    stopped = "stop" in request_
    status = "RUNNING" if stopped else "SUCCEEDED"
    head.show({"a": {"CPU": 4.0}}, {**listed(runner, "old-1", status), "end_time": 1})
    if stopped:
        runner.stop("old-1")
    wait_until(lambda: head.count(request_) >= 2)
    handle = runner.start("train", job, Attempt(job.id, 1, "ftattempt-1"))
    wait_until(lambda: head.count("POST /api/jobs/", handle))
    assert isinstance(runner.state("old-1"), Running if stopped else Ended)
    assert runner.room(job).is_free


def test_a_job_that_is_stopped_while_its_submission_fails_is_stopped_after_it(
    cluster: tuple[Head, RayJobs], job: JobObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, runner = cluster
    monkeypatch.setattr(ray_jobs, "POLL_SECONDS", 0.05)
    head.broken.add(f"{job.id}-1")
    handle = runner.start("train", job, Attempt(job.id, 1, "ftattempt-1"))
    wait_until(lambda: head.count("POST /api/jobs/", handle))
    runner.stop(handle)
    stop = f"POST /api/jobs/{handle}/stop"
    wait_until(lambda: head.count(stop))  # Ray answers with 404
    head.show({"a": {"CPU": 4.0}}, listed(runner, handle, "RUNNING"))
    head.broken.clear()
    wait_until(lambda: handle not in runner._submissions)
    names = [name for name, _ in list(head.requests)]
    accepted = len(names) - names[::-1].index("POST /api/jobs/")
    wait_until(lambda: stop in [name for name, _ in head.requests[accepted:]])


def test_slow_calls_leave_time_for_the_list(
    cluster: tuple[Head, RayJobs], job: JobObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, runner = cluster
    monkeypatch.setattr(ray_jobs, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(ray_jobs, "CALL_SECONDS", 0.1)
    head.delays["POST /api/jobs/"] = 0.2
    for number in range(1, 6):
        runner.start("train", job, Attempt(job.id, number, f"ftattempt-{number}"))
    wait_until(lambda: not runner._submissions)
    names = [name for name, _ in list(head.requests) if name.endswith("/api/jobs/")]
    assert names.count("POST /api/jobs/") == 5
    assert "POST" not in "".join(
        second for first, second in pairwise(names) if first == "POST /api/jobs/"
    )


def test_slow_failing_calls_do_not_prevent_those_after_them(
    cluster: tuple[Head, RayJobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    head, runner = cluster
    monkeypatch.setattr(ray_jobs, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(ray_jobs, "CALL_SECONDS", 0.1)
    monkeypatch.setattr(backoff, "MAX_SECONDS", 0.01)
    for name in ("old-1", "old-2"):
        head.respond(f"DELETE /api/jobs/{name}", 500, b"RuntimeError: broken")
        head.delays[f"DELETE /api/jobs/{name}"] = 0.2
    jobs = [listed(runner, f"old-{number}", "SUCCEEDED") for number in range(1, 5)]
    head.show({"a": {"CPU": 4.0}}, *({**job, "end_time": 1} for job in jobs))
    wait_until(lambda: head.count("DELETE /api/jobs/old-2") > 3)
    assert head.count("DELETE /api/jobs/old-1") > 2
    assert head.count("DELETE /api/jobs/old-4")


def test_a_slow_first_list_is_no_outage(
    tmp_path: Path,
    job: JobObject,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ray_jobs, "FIRST_LIST_SECONDS", 0.05)
    with running_head() as head:
        head.show({"a": {"CPU": 4.0}})
        head.delays["GET /api/jobs/"] = 1.0
        settings = RaySettings(head.url, "http://service")
        with closing(RayJobs(Folder(tmp_path / "data"), settings)) as runner:
            observed = ObservedRunner(runner)
            for call in (lambda: observed.state("old-1"), lambda: observed.room(job)):
                with pytest.raises(RunnerUnavailableError, match="has not shown its jobs and no"):
                    call()
                assert observed.is_paused
                assert not observed.is_in_outage
            assert runner._listed.wait(20)
            assert observed.room(job).is_free
            assert isinstance(observed.state("old-1"), Ended)
        runner._thread.join(5)
    assert not caplog.messages


def test_an_outage_before_a_submission_begins_and_ends_in_the_log(
    cluster: tuple[Head, RayJobs],
    job: JobObject,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    head, runner = cluster
    monkeypatch.setattr(ray_jobs, "POLL_SECONDS", 0.05)
    observed = ObservedRunner(runner)
    head.respond("GET /api/jobs/", 503, b"")
    wait_until(lambda: runner._error)
    head.broken.add(f"{job.id}-1")
    handle = observed.start("train", job, Attempt(job.id, 1, "ftattempt-1"))
    with pytest.raises(RunnerUnavailableError, match="status 503"):
        observed.state(handle)
    assert observed.is_in_outage
    head.show({"a": {"CPU": 4.0}})
    wait_until(lambda: not runner._error)
    assert isinstance(observed.state(handle), Waiting)
    assert not observed.is_in_outage
    assert "can be reached again" in caplog.messages[-1]


def test_the_ends_of_rejected_jobs_take_bounded_memory(
    runner: RayJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_jobs, "MAX_ENDS", 2)
    see(runner, [])
    for number in range(3):
        runner._end(f"j-{number}", Ended("crashed", "Ray rejects the job"))
    assert runner.state("j-0") == ray_jobs.FORGOTTEN
    assert runner.state("j-1") == runner.state("j-2") == Ended("crashed", "Ray rejects the job")


def test_a_job_that_has_ended_is_not_stopped_again(cluster: tuple[Head, RayJobs]) -> None:
    head, runner = cluster
    head.respond("POST /api/jobs/old-1/stop", 500, b"RuntimeError: broken")
    head.show({"a": {"CPU": 4.0}}, listed(runner, "old-1", "STOPPED"))
    runner.stop("old-1")
    wait_until(lambda: not runner._stops)
    assert head.count("POST /api/jobs/old-1/stop") == 1


def listed(runner: RayJobs, id: str, status: str) -> dict[str, Any]:
    """Return a job of the service, as the head lists it."""
    return {"status": status, "submission_id": id, "metadata": runner._metadata}


def test_services_with_equal_paths_on_two_machines_have_jobs_of_their_own(tmp_path: Path) -> None:
    root = tmp_path / "data"
    first = Folder(root).service_id()
    assert Folder(root).service_id() == first  # after a restart
    assert stat.S_IMODE((root / "service.id").stat().st_mode) == 0o600
    (root / "service.id").unlink()  # the same path on another machine
    assert Folder(root).service_id() != first
    (root / "service.id").write_bytes(b"")  # the first start was interrupted
    assert Folder(root).service_id()


FAILED = "JOB_SUPERVISOR_ACTOR_DIED"


@pytest.mark.parametrize(
    ("job", "state"),
    [
        (ray_job("j-1", "PENDING"), Waiting()),
        (ray_job("j-1", "RUNNING"), Running()),
        (ray_job("j-1", "SUCCEEDED", driver_exit_code=0), Ended("completed", "exit code 0")),
        (ray_job("j-1", "STOPPED"), Ended("killed", "it was stopped in Ray")),
        (
            ray_job("j-1", "FAILED", driver_exit_code=-9),
            Ended("killed", "killed with signal 9"),
        ),
        (
            ray_job("j-1", "FAILED", driver_exit_code=12),
            Ended("out_of_memory", "one of its processes had too little memory"),
        ),
        (
            ray_job("j-1", "FAILED", driver_exit_code=2, message="Logs:\nsh: can't cd to /data\n"),
            Ended("crashed", "exit code 2: sh: can't cd to /data"),
        ),
        (
            ray_job("j-1", "FAILED", error_type=FAILED, message="The actor died"),
            Ended("killed", "its node in the Ray cluster died"),
        ),
        (
            ray_job("j-1", "FAILED", error_type=FAILED, message="the node running low on memory."),
            Ended("out_of_memory", "Ray killed it because the memory of its node was full"),
        ),
        (ray_job("j-1", "FAILED", message="a\nnew kind"), Ended("killed", "new kind")),
    ],
)
def test_states_of_ray_become_those_of_a_process(
    job: RayJob, state: object, runner: RayJobs
) -> None:
    see(runner, [], job)
    assert runner.state("j-1") == state


def test_a_job_that_the_cluster_forgot_has_ended(runner: RayJobs) -> None:
    see(runner, [])
    end = runner.state("ftjob-a-1")
    assert isinstance(end, Ended)
    assert end.kind == "killed"


def test_a_cluster_that_cannot_be_reached_has_no_states_and_no_room(
    runner: RayJobs, job: JobObject
) -> None:
    with pytest.raises(RunnerUnavailableError, match="ConnectError"):
        runner.state("ftjob-a-1")
    with pytest.raises(RunnerUnavailableError, match="ConnectError"):
        runner.room(job)
    handle = runner.start("train", job, Attempt(job.id, 1, "ftattempt-1"))
    assert handle == f"{job.id}-1"
    runner._listed.clear()
    assert runner._listed.wait(10)  # after another attempt to reach the cluster
    with pytest.raises(RunnerUnavailableError, match="ConnectError"):
        runner.state(handle)


def test_an_error_of_the_service_itself_names_the_cluster(
    runner: RayJobs, job: JobObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> float:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(runner, "_exchange", fail)
    runner._listed.clear()
    runner._wake.set()
    assert runner._listed.wait(10)
    pattern = "the Ray cluster at http://127.+ cannot be used: OSError: .*Too many open files"
    wait_until(lambda: "OSError" in runner._error)
    with pytest.raises(RunnerUnavailableError, match=pattern):
        runner.room(job)


def test_the_token_is_in_a_private_file_only(runner: RayJobs, job: JobObject) -> None:
    runner.start("train", job, Attempt(job.id, 1, "ftattempt-secret"))
    submission = runner._submissions[f"{job.id}-1"]
    assert "ftattempt" not in str(submission)
    assert submission.environment == {"FTKIT_JOB_URL": "http://service", "FTKIT_JOB_ID": job.id}
    token = runner._folder.attempt(job.id, 1) / "token"
    assert token.read_text() == "ftattempt-secret"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


@pytest.mark.parametrize(("gpus", "hides"), [(0, True), (1, False)])
def test_a_job_that_reserves_no_gpu_sees_none(
    gpus: int, hides: bool, runner: RayJobs, job: JobObject
) -> None:
    job.recipe = {"gpus": gpus}
    handle = runner.start("train", job, Attempt(job.id, 1, "ftattempt-1"))
    assert ("CUDA_VISIBLE_DEVICES= " in runner._submissions[handle].command) is hides


def test_only_health_checks_are_answered_before_the_service_runs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with responding(listener, "nonce"):
            with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
                assert response.read() == b"nonce"
            with pytest.raises(urllib.error.HTTPError, match="503") as caught:
                urllib.request.urlopen(f"{url}/internal/jobs/a/events", b"{}", timeout=5)
            caught.value.close()


def test_a_request_that_drips_does_not_delay_the_start_of_the_service() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address, stop = listener.getsockname(), threading.Event()

        def drip() -> None:
            with socket.create_connection(address) as client, suppress(OSError):
                while not stop.wait(0.1):
                    client.sendall(b"a")

        dripping = threading.Thread(target=drip)
        started = time.monotonic()
        with responding(listener, "nonce"):
            dripping.start()
            time.sleep(0.5)
            url = f"http://127.0.0.1:{address[1]}/health"
            with urllib.request.urlopen(url, timeout=8) as response:
                assert response.read() == b"nonce"
        assert time.monotonic() - started < 8
        stop.set()
        dripping.join()


@pytest.mark.parametrize("line", ["", "null", '{"version": 1}', "[" * 100_000, '"\\ud800"'])
def test_a_node_with_an_odd_answer_is_named(line: str) -> None:
    job = RayJob("SUCCEEDED")
    error = _node_error(job, f"{MARK}{line}\n", Path("/data/jobs"), "nonce", "http://service")
    assert error
    assert error.startswith("does not answer as ftkit")
