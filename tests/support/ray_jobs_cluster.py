"""A Ray cluster with the Jobs API, whose nodes and head tests can kill."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ftkit
from support import ray_cluster_process
from support.ray_cluster_process import MARKER, kill_marked


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class RayCluster:
    """A cluster whose head has no resources for jobs.

    Attributes:
        url: Address of its dashboard.
        nodes: Process ids of the raylets of the other nodes, with whose end they end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.nodes: list[int] = []
        self._marker = secrets.token_hex(8)
        self._log = (folder / "cluster.log").open("ab")
        ports = {"dashboard": free_port(), "gcs": free_port()}
        python_path = [str(Path(ftkit.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, ray_cluster_process.__file__, json.dumps(ports)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={
                **os.environ,
                MARKER: self._marker,
                "HF_HUB_OFFLINE": "1",
                # The nodes find Python on their PATH, and ftkit where it is not installed.
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "PYTHONPATH": os.pathsep.join(filter(None, python_path)),
                # Ray writes the address of the last cluster there, besides the files of the nodes.
                "RAY_TMPDIR": str(folder),
                # Ray then uses the loopback interface.
                "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
                "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
                "RAY_USAGE_STATS_ENABLED": "0",
                "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "180",
                # A node counts as dead after 5 seconds without an answer.
                "RAY_health_check_initial_delay_ms": "2000",
                "RAY_health_check_period_ms": "1000",
                "RAY_health_check_timeout_ms": "3000",
                "RAY_health_check_failure_threshold": "3",
            },
        )

    def _do(self, command: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{json.dumps({'do': command, **arguments})}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, (self.folder / "cluster.log").read_text()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def start_head(self) -> None:
        """Start the head, or start it again at the same address without what it knew."""
        self.url = self._do("start_head")["url"]
        self._wait_for("api/version")

    def add_node(self, cpus: int, gpus: int = 0) -> None:
        """Start a node."""
        self.nodes.append(self._do("add", cpus=cpus, gpus=gpus)["pid"])

    def wait_for_nodes(self, count: int) -> None:
        """Wait until that many nodes are alive, apart from the head."""
        deadline = time.monotonic() + 120
        while len(self._alive()) != count + 1:
            assert time.monotonic() < deadline, self._alive()
            time.sleep(0.2)

    def _alive(self) -> list[str]:
        rows = self._wait_for("api/v0/nodes")["data"]["result"]["result"]
        return [row["node_id"] for row in rows if row["state"] == "ALIVE"]

    def _wait_for(self, path: str) -> Any:
        """Return the answer to a request, as soon as there is one."""
        deadline = time.monotonic() + 60
        while True:
            with (
                suppress(OSError),
                urllib.request.urlopen(f"{self.url}/{path}", timeout=15) as reply,
            ):
                return json.load(reply)
            assert time.monotonic() < deadline, path
            time.sleep(0.2)

    def kill_node(self, pid: int) -> None:
        """Kill the raylet of a node; its processes may live on."""
        self.nodes.remove(pid)
        os.kill(pid, signal.SIGKILL)

    def kill_head(self) -> None:
        """Kill all processes of the head."""
        self._do("kill_head")

    def close(self) -> None:
        """End all processes of the cluster."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        kill_marked(self._marker)
        self._log.close()


@contextmanager
def ray_cluster(*nodes: int) -> Iterator[RayCluster]:
    """Run a cluster with nodes of so many CPUs until the block ends."""
    # The names of Unix sockets are short, and that of a test's folder is long.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    cluster = RayCluster(folder)
    try:
        cluster.start_head()
        for cpus in nodes:
            cluster.add_node(cpus)
        cluster.wait_for_nodes(len(nodes))
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)
