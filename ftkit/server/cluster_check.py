"""Check of a Ray cluster before the service starts: each node is probed by a short job."""

from __future__ import annotations

import secrets
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from ftkit._private import open_private
from ftkit._text import last_line_of
from ftkit._version import __version__
from ftkit.errors import FtkitError, install_command
from ftkit.server.folder import Folder
from ftkit.server.packages import WORKER_PACKAGES
from ftkit.server.probe import MARK, ProbeResult
from ftkit.server.ray_client import RayClient, RayJob, Submission
from ftkit.server.ray_settings import service_metadata
from ftkit.server.runner import RunnerUnavailableError

MIN_VERSION = (2, 40)
"""Lowest version of Ray whose REST API has all that is used."""

MAX_PROBES = 16
"""Maximum number of nodes that are probed."""

PROBE_SECONDS = 120.0
"""Maximum seconds for all probes. The first job of a node starts a process, which takes seconds."""

SUBMIT_SECONDS = 30.0
"""Seconds for which the submission of a probe is tried again."""

POLL_SECONDS = 0.3
"""Seconds between polls of a probe."""

REQUEST_BYTES, REQUEST_SECONDS = 1 << 16, 1.0
"""Maximum size and duration of a request while the service is not running yet."""

PIN = 0.001
"""Amount of the resource `node:ADDRESS`, of which each node has 1, that pins a probe to a node."""


class ClusterError(FtkitError):
    """The cluster cannot train the jobs of the service."""


class Cluster(Struct, frozen=True):
    """Result of the check: version of Ray, and the number of nodes that jobs run on."""

    version: str
    nodes: int


def check_cluster(client: RayClient, folder: Folder, url: str, listener: socket.socket) -> Cluster:
    """Check that the nodes of a cluster can train the jobs of a service.

    Args:
        client: Client of the cluster.
        folder: Data folder of the service.
        url: Address at which the nodes reach the service, without a path.
        listener: Listening socket of the service, which responds to nobody else meanwhile.

    Raises:
        ClusterError: A node lacks something.
        RunnerUnavailableError: The cluster cannot be reached.
    """
    version = client.version().ray_version
    if _numbers(version) < MIN_VERSION:
        lowest = ".".join(map(str, MIN_VERSION))
        raise ClusterError(
            f"the Ray cluster at {client.url} has Ray {version}; update it to {lowest} or later"
        )
    nodes = [node for node in client.nodes() if node.total.get("CPU", 0.0) >= 1]
    if not nodes:
        raise ClusterError(
            f"the Ray cluster at {client.url} has no node with a CPU for jobs; start one with:"
            " ray start --address HEAD:6379"
        )
    nonce = secrets.token_hex(16)
    path = folder.jobs / f"probe-{secrets.token_hex(8)}"
    try:
        with open_private(path) as file:
            file.write(nonce.encode())
        with responding(listener, nonce):
            addresses = sorted({node.address for node in nodes})
            _probe_nodes(client, addresses, folder, path.name, nonce, url)
    finally:
        path.unlink(missing_ok=True)
    return Cluster(version, len(nodes))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def _probe_nodes(
    client: RayClient, addresses: list[str], folder: Folder, name: str, nonce: str, url: str
) -> None:
    """Run a probe on each node, up to `MAX_PROBES`, all at the same time."""
    arguments = shlex.join([str(folder.jobs), name, url, *WORKER_PACKAGES])
    metadata = service_metadata(folder.service_id())
    command = f"exec python -P -m ftkit.server.probe {arguments}"
    probes = {f"ftkit-probe-{secrets.token_hex(8)}": name for name in addresses[:MAX_PROBES]}
    deadline = time.monotonic() + PROBE_SECONDS
    try:
        for id, address in probes.items():
            _submit(client, Submission(id, command, {f"node:{address}": PIN}, {}, metadata))
        for id, address in probes.items():
            job = _wait_for_end(client, id, deadline)
            error = _node_error(job, client.logs(id), folder.jobs, nonce, url)
            if error:
                raise ClusterError(f"the node {address} of the Ray cluster {error}")
    finally:
        for id in probes:
            with suppress(FtkitError):
                client.stop(id)


def _submit(client: RayClient, submission: Submission) -> None:
    """Submit a job. A head that was started just now needs some seconds until it accepts any."""
    deadline = time.monotonic() + SUBMIT_SECONDS
    while True:
        try:
            client.submit(submission)
        except RunnerUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
        else:
            return


def _wait_for_end(client: RayClient, id: str, deadline: float) -> RayJob | None:
    """Return a job once it has ended, or as it is at the deadline."""
    while True:
        job = client.job(id)
        is_over = job is None or job.status not in ("PENDING", "RUNNING")
        if is_over or time.monotonic() > deadline:
            return job
        time.sleep(POLL_SECONDS)


def _node_error(job: RayJob | None, output: str, folder: Path, nonce: str, url: str) -> str | None:
    """Return what is wrong with the node that a probe ran on, as a predicate, or None."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if job is None or not lines:
        return _failure(job, output)
    try:
        result = msgspec.json.decode(lines[-1].removeprefix(MARK), type=ProbeResult)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return f"does not answer as ftkit {__version__} does; install that version there"
    if result.version != __version__:
        return f"has ftkit {result.version}, and the service has {__version__}; install the same"
    if result.missing:
        packages = ", ".join(result.missing)
        return f"lacks packages of ftkit ({packages}); install: {install_command('local')}"
    if result.folder_error:
        return (
            f"cannot use {folder} ({result.folder_error}); the data folder must be on a disk that"
            " all nodes share, at the same path, and belong to the user that runs Ray"
        )
    if result.nonce != nonce:
        return f"has another folder at {folder}; all nodes must share the data folder"
    if result.service_error:
        return (
            f"cannot reach the service at {url} ({result.service_error}); name the address that it"
            " can reach with --public-url"
        )
    return None


def _failure(job: RayJob | None, output: str) -> str:
    """Return why a probe has no result."""
    last = last_line_of(output)
    if "No module named 'ftkit" in last or "No module named ftkit" in last:
        return f"does not have ftkit; install it there with: {install_command('local')}"
    if "not found" in last and "python" in last:
        return "has no `python` on its PATH; start Ray in the environment that has ftkit"
    if job and job.status in ("PENDING", "RUNNING"):
        return f"did not complete a test within {PROBE_SECONDS:.0f} seconds"
    reason = last or (job and last_line_of(job.message or "")) or "Ray forgot the job"
    return f"cannot run ftkit: {reason}"


@contextmanager
def responding(listener: socket.socket, content: str) -> Iterator[None]:
    """Answer the health checks of a listening socket with a text, during the block.

    Other requests get status 503: they are those of processes that outlived an earlier service,
    and try again.
    """
    stop = threading.Event()
    listener.settimeout(POLL_SECONDS)

    def respond() -> None:
        while not stop.is_set():
            with suppress(OSError):  # no connection yet, or one that the client closed
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(POLL_SECONDS)
                    is_check = _read_head(connection).startswith(b"GET /health ")
                    connection.sendall(_response(content if is_check else ""))

    thread = threading.Thread(target=respond, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        listener.settimeout(None)


def _response(content: str) -> bytes:
    """Return an HTTP response, with status 503 if it has no content."""
    status = "200 OK" if content else "503 Service Unavailable"
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(content)}\r\n"
    return f"{head}Connection: close\r\n\r\n{content}".encode()


def _read_head(connection: socket.socket) -> bytes:
    """Return the head of a request, or its beginning if it takes too long."""
    head, deadline = b"", time.monotonic() + REQUEST_SECONDS
    while b"\r\n\r\n" not in head and len(head) < REQUEST_BYTES and time.monotonic() < deadline:
        data = connection.recv(4096)
        if not data:
            break
        head += data
    return head
