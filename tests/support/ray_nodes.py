"""A Ray cluster of several nodes on this machine, held by a process of its own.

The process, `python -m support.ray_nodes`, reads a JSON object per line and answers with one; the
cluster ends with its standard input. The tests themselves never import Ray.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

STORE_BYTES = 80 << 20
"""Size of the object store of a node."""

TASK = "ray::scan_shard"
"""Part of the title of a worker that scans a shard."""

COMPARISON = "ray::process_fingerprints"
"""Part of the title of a worker that partitions or compares the fingerprints of examples."""

MARKER, RUN = "FTKIT_TEST_RUN", secrets.token_hex(8)
"""Environment variable of the processes of this test run, and its value."""

ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    MARKER: RUN,
}
"""Environment in which Ray uses the loopback interface, and reports nothing to its makers."""


class RayNodes:
    """Client of that process.

    Attributes:
        address: Address of the cluster.
        nodes: Process ids of the raylets by the number of their node.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.nodes: dict[int, int] = {}
        answer = self._ask()
        self.address: str = answer["address"]
        self.head: dict[str, int] = answer["processes"]

    def add(self, env: dict[str, str] | None = None) -> int:
        """Start a node with one processor and return its number."""
        answer = self._ask({"env": env})
        self.nodes[answer["node"]] = answer["raylet"]
        return int(answer["node"])

    def kill(self, node: int) -> None:
        """Kill the raylet of a node without a chance to say goodbye."""
        os.kill(self.nodes[node], signal.SIGKILL)

    def kill_during_tasks(self, node: int, delay: float) -> None:
        """Kill a node, some seconds after tasks have begun to run."""
        self.wait_for_workers(TASK)
        time.sleep(delay)
        self.kill(node)

    def remove(self, node: int) -> None:
        """Clean up after a node that was killed, or end one."""
        del self.nodes[node]
        self._ask({"remove": node})

    def workers(self, text: str) -> list[int]:
        """Return the ids of the workers of its nodes whose title contains a text."""
        raylets = {*self.nodes.values(), self.head["raylet"]}
        return [pid for pid in _processes(text) if _parent(pid) in raylets]

    def wait_for_workers(self, text: str, seconds: float = 60) -> list[int]:
        """Return the ids of the workers whose title contains a text, once there are any."""
        deadline = time.monotonic() + seconds
        while not (pids := self.workers(text)):
            assert time.monotonic() < deadline, text
            time.sleep(0.02)
        return pids

    def wait_for_no_worker(self, text: str, seconds: float = 15) -> None:
        """Wait until there is no worker whose title contains a text."""
        _wait_until(lambda: not self.workers(text), text, seconds)

    def _ask(self, question: dict[str, Any] | None = None) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        if question is not None:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def ray_nodes(number: int) -> Iterator[RayNodes]:
    """Yield a cluster of a head without processors and some nodes with one each."""
    tests = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        path = os.pathsep.join((str(tests), os.environ.get("PYTHONPATH", "")))
        process = subprocess.Popen(
            [sys.executable, "-m", "support.ray_nodes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **ENVIRONMENT, "RAY_TMPDIR": folder, "PYTHONPATH": path},
            start_new_session=True,
        )
        try:
            nodes = RayNodes(process)
            for _ in range(number):
                nodes.add()
            yield nodes
        finally:
            process.communicate(timeout=60)


def drivers(text: str) -> list[int]:
    """Return the ids of the processes of this test run whose command line contains a text.

    Workers of Ray are not among them, since their titles replace their environment.
    """
    mark = f"{MARKER}={RUN}".encode()
    return [pid for pid in _processes(text) if mark in _read(pid, "environ").split(b"\0")]


def wait_for_no_driver(text: str, seconds: float = 15) -> None:
    """Wait until there is no process of this test run whose command line contains a text."""
    _wait_until(lambda: not drivers(text), text, seconds)


def _processes(text: str) -> list[int]:
    """Return the ids of the processes of the machine whose command line contains a text."""
    pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [
        pid
        for pid in pids
        if pid != os.getpid() and text.encode() in _read(pid, "cmdline").replace(b"\0", b" ")
    ]


def _parent(pid: int) -> int:
    """Return the id of the parent of a process, or 0 if the process has ended."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def _read(pid: int, name: str) -> bytes:
    """Return the content of a file in /proc, or nothing if the process has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def _wait_until(condition: Callable[[], object], text: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, text
        time.sleep(0.02)


def main() -> None:
    """Hold a cluster until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from ray.cluster_utils import Cluster

    options = {
        "object_store_memory": STORE_BYTES,
        "include_dashboard": False,
        "node_ip_address": "127.0.0.1",
    }
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **options})

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    pids = {name: held[0].process.pid for name, held in cluster.head_node.all_processes.items()}
    answer({"address": cluster.address, "processes": pids})
    nodes: list[Any] = []
    for line in sys.stdin:
        question = json.loads(line)
        if "remove" in question:
            cluster.remove_node(nodes[question["remove"]], allow_graceful=False)
            answer({})
            continue
        env = question["env"]
        node = cluster.add_node(num_cpus=1, **options, **({"env_vars": env} if env else {}))
        nodes.append(node)
        answer({"node": len(nodes) - 1, "raylet": node.all_processes["raylet"][0].process.pid})
    cluster.shutdown()


if __name__ == "__main__":
    main()
