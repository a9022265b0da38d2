"""The client of Ray's REST API: what it sends, and what becomes of odd responses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from ftkit.server import ray_client
from ftkit.server.ray_client import RayClient, RejectedJobError, Submission
from ftkit.server.runner import RunnerUnavailableError
from support.ray_head import Head, running_head

JOB = {"status": "RUNNING", "submission_id": "ftjob-1-1", "metadata": {"ftkit_service": "a"}}


@pytest.fixture
def head() -> Iterator[Head]:
    with running_head() as head:
        yield head


@pytest.fixture
def client(head: Head) -> Iterator[RayClient]:
    with closing(RayClient(head.url)) as client:
        yield client


SUBMISSION = Submission(
    "ftjob-1-1", "true", {"CPU": 1.0, "GPU": 2.0, "node:10.0.0.1": 0.001}, {"A": "b"}, {"c": "d"}
)


def test_a_job_is_submitted_with_its_id_and_resources(head: Head, client: RayClient) -> None:
    head.respond("POST /api/jobs/", 200, {"submission_id": "ftjob-1-1"})
    client.submit(SUBMISSION)
    assert head.requests == [
        (
            "POST /api/jobs/",
            {
                "submission_id": "ftjob-1-1",
                "entrypoint": "true",
                "entrypoint_num_cpus": 1.0,
                "entrypoint_num_gpus": 2.0,
                "entrypoint_resources": {"node:10.0.0.1": 0.001},
                "runtime_env": {"env_vars": {"A": "b"}},
                "metadata": {"c": "d"},
            },
        )
    ]


def test_a_job_that_was_submitted_before_is_accepted(head: Head, client: RayClient) -> None:
    failure = b"RuntimeError: Job with submission_id ftjob-1-1 already exists. Please use another."
    head.respond("POST /api/jobs/", 500, failure)
    head.respond("GET /api/jobs/ftjob-1-1", 200, JOB)
    client.submit(SUBMISSION)


@pytest.mark.parametrize(
    ("status", "content", "error", "message"),
    [
        (400, b"Traceback\nTypeError: no such field\n.\n", RejectedJobError, "no such field"),
        (500, b"No available agent", RunnerUnavailableError, "status 500: No available agent"),
        (500, b"a job that already exists", RunnerUnavailableError, "already exists"),
        (503, b"", RunnerUnavailableError, "status 503"),
        (401, b"Unauthorized", RunnerUnavailableError, "needs its token; set FTKIT_RAY_TOKEN"),
        (403, b"Forbidden", RunnerUnavailableError, "refuses FTKIT_RAY_TOKEN"),
    ],
)
def test_a_failed_submission_is_an_error(
    status: int,
    content: bytes,
    error: type[Exception],
    message: str,
    head: Head,
    client: RayClient,
) -> None:
    head.respond("POST /api/jobs/", status, content)
    with pytest.raises(error, match=message) as caught:
        client.submit(SUBMISSION)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b"[" * 100_000, b"<html>"])
def test_a_response_that_is_not_ray_s_makes_the_cluster_unavailable(
    content: bytes, head: Head, client: RayClient
) -> None:
    head.respond("GET /api/jobs/", 200, content)
    with pytest.raises(RunnerUnavailableError, match="it does not answer as Ray does"):
        client.jobs({})


def test_a_response_that_is_too_long_makes_the_cluster_unavailable(
    head: Head, client: RayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_client, "MAX_BYTES", 100)
    head.respond("GET /api/jobs/", 200, [JOB] * 10)
    with pytest.raises(RunnerUnavailableError, match="more than 100 bytes"):
        client.jobs({})


def test_a_redirect_is_not_followed(head: Head, client: RayClient) -> None:
    head.respond("GET /api/version", 302, b"moved")
    head.respond("GET /elsewhere", 200, {"ray_version": "2.60.0"})
    head.location = f"{head.url}/elsewhere"
    with pytest.raises(RunnerUnavailableError, match="status 302"):
        client.version()
    assert [request for request, _ in head.requests] == ["GET /api/version"]


def test_a_head_that_is_not_there_or_does_not_answer_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_client, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with (
            closing(RayClient(url)) as client,
            pytest.raises(RunnerUnavailableError, match="ReadTimeout"),
        ):
            client.version()
    with closing(RayClient(url)) as client, pytest.raises(RunnerUnavailableError, match=url):
        client.version()


def test_jobs_of_other_services_are_left_out(head: Head, client: RayClient) -> None:
    other = {**JOB, "submission_id": "raysubmit_1", "metadata": None}
    driver = {"status": "RUNNING", "submission_id": None}
    head.respond("GET /api/jobs/", 200, [other, JOB, driver])
    assert list(client.jobs({"ftkit_service": "a"})) == ["ftjob-1-1"]


def test_a_job_that_the_cluster_does_not_know_is_none(client: RayClient) -> None:
    assert client.job("ftjob-1-1") is None
    assert client.logs("ftjob-1-1") == ""
    client.stop("ftjob-1-1")
    client.delete("ftjob-1-1")


def test_the_token_is_sent_to_the_cluster(head: Head) -> None:
    head.respond("GET /api/version", 200, {"ray_version": "2.60.0"})
    with closing(RayClient(head.url, "secret")) as client:
        assert client.version().ray_version == "2.60.0"
    assert head.headers["authorization"] == "Bearer secret"


def test_no_proxy_sees_the_token(monkeypatch: pytest.MonkeyPatch, head: Head) -> None:
    head.respond("GET /api/version", 200, {"ray_version": "2.60.0"})
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.1)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        with closing(RayClient(head.url, "secret")) as client:
            client.version()
        with pytest.raises(TimeoutError):
            proxy.accept()
    assert head.headers["authorization"] == "Bearer secret"


def test_a_reason_of_the_cluster_is_printable(head: Head, client: RayClient) -> None:
    head.respond("GET /api/version", 500, "Error \x1b[2J\u202e".encode())
    with pytest.raises(RunnerUnavailableError) as caught:
        client.version()
    assert str(caught.value).isprintable()


def test_nodes_have_what_the_autoscaler_reports_as_used(head: Head, client: RayClient) -> None:
    rows = [
        {"node_id": "a", "state": "ALIVE", "node_ip": "10.0.0.1", "resources_total": {"CPU": 4.0}},
        {"node_id": "b", "state": "DEAD", "resources_total": {"CPU": 4.0}},
    ]
    head.respond(
        "GET /api/v0/nodes?detail=1&limit=10000", 200, {"data": {"result": {"result": rows}}}
    )
    usage = {"loadMetricsReport": {"usageByNode": {"a": {"CPU": [1.5, 4.0]}}}}
    head.respond("GET /api/cluster_status", 200, {"data": {"clusterStatus": usage}})
    (node,) = client.nodes()
    assert (node.total, node.used) == ({"CPU": 4.0, "GPU": 0.0}, {"CPU": 1.5, "GPU": 0.0})
    head.respond("GET /api/cluster_status", 200, {"data": {"clusterStatus": None}})
    (node,) = client.nodes()
    assert node.used == {"CPU": 0.0, "GPU": 0.0}
