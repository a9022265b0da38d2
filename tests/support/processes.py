"""Processes of the local server's workers."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


def worker_processes(folder: Path, task: str, job: str = "") -> list[int]:
    """Return the ids of the worker processes of a service with that task, or those of one job."""
    pgrep = subprocess.run(
        ["pgrep", "-f", f"ftkit.server.worker {task} {folder} {job}".rstrip()],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(pid) for pid in pgrep.stdout.split()]


def wait_for_worker(folder: Path, task: str, job: str = "", seconds: float = 180) -> int:
    """Return the id of the worker process with that task, once there is one."""
    deadline = time.monotonic() + seconds
    while not (pids := worker_processes(folder, task, job)):
        assert time.monotonic() < deadline, task
        time.sleep(0.01)
    return pids[0]


def wait_for_end(folder: Path, task: str, seconds: float, job: str = "") -> None:
    """Wait until there is no such worker process."""
    deadline = time.monotonic() + seconds
    while pids := worker_processes(folder, task, job):
        assert time.monotonic() < deadline, f"{task}: {pids} still run"
        time.sleep(0.01)
