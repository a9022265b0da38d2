"""Client of the REST API of a Ray cluster: jobs, nodes and their free resources.

The API is that of Ray's dashboard, on port 8265 of the head. Whoever reaches it can run any command
on the cluster, and read the environment variables of every job: they hold no secrets of ftkit's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from ftkit._text import last_line_of, printable
from ftkit.errors import FtkitError
from ftkit.server.http_clients import client_options, httpx
from ftkit.server.runner import RunnerUnavailableError

TIMEOUT = 15.0
"""Maximum seconds to wait for a response, or its next bytes. Ray itself may wait 10 seconds."""

CONNECT_SECONDS = 3.0
"""Maximum seconds to wait for a connection."""

MAX_BYTES = 64 << 20
"""Maximum size of a response."""

RESOURCES = ("CPU", "GPU")
"""Resources that a job reserves."""

T = TypeVar("T")


class RejectedJobError(FtkitError):
    """The cluster does not accept a job."""


class FailedCallError(RunnerUnavailableError):
    """The cluster answers a call with an error, which need not concern other calls.

    Attributes:
        reason: Status and last line of the response.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Version(Struct, frozen=True):
    """Version of the cluster: that of Ray, such as "2.60.0"."""

    ray_version: str


class Submission(Struct, frozen=True):
    """Job to submit.

    Attributes:
        id: Id that the cluster accepts once.
        command: Command line for a shell.
        resources: Amounts that the job reserves on one node, by the name of the resource.
        environment: Environment variables, which are no secrets: the cluster shows them.
        metadata: Labels of the job.
    """

    id: str
    command: str
    resources: dict[str, float]
    environment: dict[str, str] = {}
    metadata: dict[str, str] = {}


class RayJob(Struct, frozen=True):
    """Job as the cluster shows it.

    Attributes:
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        error_type: Kind of a failure in Ray, such as JOB_SUPERVISOR_ACTOR_DIED.
        end_time: Unix time in milliseconds.
    """

    status: str
    submission_id: str | None = None
    message: str | None = None
    error_type: str | None = None
    driver_exit_code: int | None = None
    driver_node_id: str | None = None
    end_time: int | None = None
    metadata: dict[str, str] | None = None


class Node(Struct, frozen=True):
    """Node of a cluster that is alive.

    Attributes:
        total: Amounts of its resources, by their names.
        used: Amounts that are reserved, as of some seconds ago.
        address: IP address, or "".
    """

    id: str
    total: dict[str, float]
    used: dict[str, float]
    address: str


class RayClient:
    """Client of a cluster, which may be used by one thread at a time.

    Args:
        url: Address of the dashboard, such as http://HEAD:8265.
        token: Token of a cluster with token authentication, or "".
    """

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url.rstrip("/")
        self._client = httpx.Client(
            timeout=httpx.Timeout(TIMEOUT, connect=CONNECT_SECONDS),
            # The head is inside the network, so no proxy may see the token.
            **client_options(self.url, token, bypass_proxies=True),
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def version(self) -> Version:
        """Return the version of the cluster.

        Raises:
            RunnerUnavailableError: The cluster cannot be reached, or refuses the token. All
                methods but `close` raise it.
        """
        return self._get("/api/version", Version)

    def submit(self, job: Submission) -> None:
        """Submit a job, unless the cluster has one with its id already.

        Raises:
            RejectedJobError: The cluster does not accept the job.
            FailedCallError: The submission failed. The cluster may have accepted the job.
            RunnerUnavailableError: The cluster did not answer. It may have accepted the job.
        """
        resources = dict(job.resources)
        fields = {
            "submission_id": job.id,
            "entrypoint": job.command,
            "entrypoint_num_cpus": resources.pop("CPU", 0),
            "entrypoint_num_gpus": resources.pop("GPU", 0),
            "entrypoint_resources": resources,
            "runtime_env": {"env_vars": job.environment} if job.environment else {},
            "metadata": job.metadata,
        }
        status, data = self._request("POST", "/api/jobs/", fields)
        if status == 200:
            return
        # Ray answers 500 to the second submission of an id, as it does to failures of its own.
        if b"already exists" in data and self.job(job.id):
            return
        if status >= 500:
            raise self._failure(status, data)
        raise RejectedJobError(f"Ray rejects the job: {_reason(data)}")

    def job(self, id: str) -> RayJob | None:
        """Return a job, or None if the cluster does not know it."""
        status, data = self._request("GET", _path(id))
        return None if status == 404 else self._decode(status, data, RayJob)

    def jobs(self, metadata: Mapping[str, str]) -> dict[str, RayJob]:
        """Return the jobs that have these metadata, by their ids."""
        return {
            job.submission_id: job
            for job in self._get("/api/jobs/", list[RayJob])
            if job.submission_id and metadata.items() <= (job.metadata or {}).items()
        }

    def logs(self, id: str) -> str:
        """Return the output of a job, "" if the cluster does not have it any more."""
        status, data = self._request("GET", f"{_path(id)}/logs")
        return "" if status == 404 else self._decode(status, data, _Logs).logs or ""

    def stop(self, id: str) -> None:
        """Have a job end soon, if it runs."""
        status, data = self._request("POST", f"{_path(id)}/stop", {})
        if status not in (200, 404):
            raise self._failure(status, data)

    def delete(self, id: str) -> None:
        """Remove a job that has ended from the memory of the cluster."""
        status, data = self._request("DELETE", _path(id))
        if status not in (200, 404):
            raise self._failure(status, data)

    def nodes(self) -> list[Node]:
        """Return the nodes that are alive."""
        state = self._get("/api/v0/nodes?detail=1&limit=10000", _NodeList).data.result.result
        status = self._get("/api/cluster_status", _ClusterStatus).data.cluster_status
        report = status.load_metrics_report if status else None
        usage = (report.usage_by_node if report else None) or {}
        return [
            Node(
                node.node_id,
                {name: node.resources_total.get(name, 0.0) for name in RESOURCES},
                {name: sum(usage.get(node.node_id, {}).get(name, [])[:1]) for name in RESOURCES},
                node.node_ip or "",
            )
            for node in state
            if node.state == "ALIVE"
        ]

    def _get(self, path: str, type: type[T]) -> T:
        return self._decode(*self._request("GET", path), type)

    def _request(
        self, method: str, path: str, fields: dict[str, Any] | None = None
    ) -> tuple[int, bytes]:
        """Return the status and the content of a response."""
        content = None if fields is None else msgspec.json.encode(fields)
        headers = {} if fields is None else {"Content-Type": "application/json"}
        data = bytearray()
        try:
            with self._client.stream(
                method, f"{self.url}{path}", content=content, headers=headers
            ) as response:
                for chunk in response.iter_raw():
                    data += chunk
                    if len(data) > MAX_BYTES:
                        raise self._unavailable(f"it answers with more than {MAX_BYTES:,} bytes")
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            raise self._unavailable(reason) from error
        status: int = response.status_code
        if status in (401, 403):
            raise self._failure(status, bytes(data))
        return status, bytes(data)

    def _decode(self, status: int, data: bytes, type: type[T]) -> T:
        """Return the content of a response as `type`."""
        if status != 200:
            raise self._failure(status, data)
        try:
            return msgspec.json.decode(data, type=type)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._unavailable(f"it does not answer as Ray does ({error})") from error

    def _failure(self, status: int, data: bytes) -> RunnerUnavailableError:
        if status in (401, 403):
            state = "refuses FTKIT_RAY_TOKEN" if status == 403 else "needs its token"
            return RunnerUnavailableError(
                f"the Ray cluster at {self.url} {state}; set FTKIT_RAY_TOKEN to the cluster's token"
            )
        reason = f"status {status}: {_reason(data)}".rstrip(": ")
        return FailedCallError(str(self._unavailable(reason)), reason)

    def _unavailable(self, reason: str) -> RunnerUnavailableError:
        return RunnerUnavailableError(f"the Ray cluster at {self.url} cannot be used: {reason}")


def _path(id: str) -> str:
    return f"/api/jobs/{quote(id, safe='')}"


def _reason(data: bytes) -> str:
    """Return the last line of an error response, which is a traceback, with text in it."""
    return printable(last_line_of(data.decode("utf-8", "replace").rstrip(" .\n")))


class _Logs(Struct):
    logs: str | None = ""


class _ListedNode(Struct):
    node_id: str
    state: str
    node_ip: str | None = None
    resources_total: dict[str, float] = {}


class _NodeRows(Struct):
    result: list[_ListedNode]


class _NodeData(Struct):
    result: _NodeRows


class _NodeList(Struct):
    data: _NodeData


class _LoadMetrics(Struct, rename="camel"):
    usage_by_node: dict[str, dict[str, list[float]]] | None = None


class _Autoscaler(Struct, rename="camel"):
    load_metrics_report: _LoadMetrics | None = None


class _StatusData(Struct, rename="camel"):
    cluster_status: _Autoscaler | None = None


class _ClusterStatus(Struct):
    data: _StatusData
