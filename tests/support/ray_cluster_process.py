"""A Ray cluster on this machine, in a process of its own that ends with its standard input.

It reads commands as lines of JSON, and answers each with a line. A node has processes of its own,
as on another machine, but the address of this one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

MARKER = "FTKIT_TEST_CLUSTER"
"""Environment variable of all processes of a cluster, by which they are found at the end."""

ATTEMPTS = 3
"""Number of attempts to start the head or a node."""

MEMORY = 80_000_000
"""Size of the object store of a node in bytes."""


class Nodes:
    """Nodes of the cluster: the head, and others by their numbers."""

    def __init__(self, ports: dict[str, int]) -> None:
        from ray.cluster_utils import Cluster

        self._cluster_type, self._ports = Cluster, ports
        self._cluster: Any = None
        self._nodes: dict[int, Any] = {}
        self._number = 0

    def start_head(self) -> dict[str, Any]:
        head = {
            "num_cpus": 0,
            "num_gpus": 0,
            "object_store_memory": MEMORY,
            "include_dashboard": True,
            "dashboard_host": "127.0.0.1",
            "dashboard_port": self._ports["dashboard"],
            "gcs_server_port": self._ports["gcs"],
            "dashboard_agent_listen_port": 0,
        }

        def start() -> None:
            self._cluster = self._cluster_type(initialize_head=True, head_node_args=head)

        _repeat(start, lambda: kill_marked(os.environ[MARKER]))
        return {"url": f"http://{self._cluster.head_node.address_info['webui_url']}"}

    def add(self, cpus: int, gpus: int = 0) -> dict[str, Any]:
        node = _repeat(
            lambda: self._cluster.add_node(
                wait=False,
                num_cpus=cpus,
                num_gpus=gpus,
                object_store_memory=MEMORY,
                dashboard_agent_listen_port=0,
            )
        )
        self._number += 1
        self._nodes[self._number] = node
        return {"node": self._number, "pid": node.all_processes["raylet"][0].process.pid}

    def kill_head(self) -> dict[str, Any]:
        """Kill all processes of the head, as a loss of power would."""
        for processes in self._cluster.head_node.all_processes.values():
            for item in processes:
                with suppress(ProcessLookupError):
                    os.kill(item.process.pid, signal.SIGKILL)
        return {}

    def end(self) -> None:
        kill_marked(os.environ[MARKER])


def _repeat(start: Callable[[], Any], clean_up: Callable[[], object] = lambda: None) -> Any:
    """Return the result of a start, tried again: a busy machine may need longer than Ray waits."""
    for number in range(ATTEMPTS):
        try:
            return start()
        except Exception:
            if number == ATTEMPTS - 1:
                raise
            traceback.print_exc()
            clean_up()
    return None


def kill_marked(marker: str) -> None:
    """Kill all processes of a cluster but this one."""
    wanted = f"{MARKER}={marker}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_marked = wanted in (path / "environ").read_bytes().split(b"\0")
            if is_marked and path.name != str(os.getpid()):
                os.kill(int(path.name), signal.SIGKILL)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints goes to the log
    nodes = Nodes(json.loads(sys.argv[1]))
    try:
        for line in sys.stdin:
            command = json.loads(line)
            result = getattr(nodes, command.pop("do"))(**command)
            answers.write(f"{json.dumps(result)}\n")
            answers.flush()
    finally:
        nodes.end()


if __name__ == "__main__":
    main()
