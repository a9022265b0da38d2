"""A runner of real processes that outlive the service, as those of a cluster do.

Their states are files, so any number of services can use one folder one after the other: `NAME.pid`
is the id of a shell that waits for the process, and `NAME.exit` the exit code. `NAME.lost` stands
for a node that the cluster takes for dead, while its process lives on.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from ftkit.server.exits import explain_exit
from ftkit.server.objects import JobObject
from ftkit.server.runner import (
    Attempt,
    Ended,
    Room,
    RunnerError,
    RunnerUnavailableError,
    Running,
    RunState,
    Task,
    Waiting,
    worker_environment,
)

SIGNALED = 128
"""Number that shells add to the number of a signal that ended a process."""


class DetachedRunner:
    """Runner of processes in sessions of their own.

    `folder` has their states. `url` is the address that they report to, and `command` what they
    run. A file `unavailable` in the folder stands for a cluster that cannot be reached, `refuses`
    for one that cannot run such jobs, and `waits` for one without a free node.
    """

    def __init__(self, folder: str, url: str, command: list[str]) -> None:
        self._folder, self._url, self._command = Path(folder), url, command
        self._folder.mkdir(exist_ok=True)

    def start(self, task: Task, job: JobObject, attempt: Attempt) -> str:
        self._check_available()
        if (self._folder / "refuses").exists():
            raise RunnerError("the cluster has no node with 8 GPUs")
        if (self._folder / "waits").exists():
            (self._folder / f"{attempt.name}.waiting").touch()
            return attempt.name
        code = self._folder / f"{attempt.name}.exit"
        command = shlex.join(self._command)
        script = f"{command}; echo $? > {code}.part; mv {code}.part {code}"
        environment = {
            **os.environ,
            **worker_environment(self._url, attempt),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        with (self._folder / f"{attempt.name}.log").open("wb") as log:
            process = subprocess.Popen(
                ["sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        (self._folder / f"{attempt.name}.pid").write_text(str(process.pid))
        process.returncode = 0  # it is not waited for, and Popen would warn of that
        return attempt.name

    def room(self, job: JobObject) -> Room:
        self._check_available()
        return Room(True)

    def _check_available(self) -> None:
        if (self._folder / "unavailable").exists():
            raise RunnerUnavailableError("the cluster cannot be reached")

    def state(self, handle: str) -> RunState:
        self._check_available()
        if (self._folder / f"{handle}.lost").exists():
            return Ended("killed", "its node is dead")
        if (self._folder / f"{handle}.waiting").exists():
            return Waiting()
        if not (self._folder / f"{handle}.pid").exists():
            return Ended("killed", "the cluster does not know it")
        code = self._folder / f"{handle}.exit"
        if not code.exists():
            return Running()
        number = int(code.read_text())
        number = SIGNALED - number if number > SIGNALED else number
        return explain_exit(number, self._folder / f"{handle}.log", 1 << 60)

    def stop(self, handle: str) -> None:
        self._check_available()
        (self._folder / f"{handle}.waiting").unlink(missing_ok=True)
        for pid in worker_ids(self._folder, handle):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def close(self) -> None:
        pass


def worker_ids(folder: Path, name: str) -> list[int]:
    """Return the ids of the processes of an attempt that run, without the shell."""
    path = folder / f"{name}.pid"
    if not path.exists():
        return []
    shell = path.read_text()
    children = subprocess.run(["pgrep", "-P", shell], capture_output=True, text=True, check=False)
    return [int(pid) for pid in children.stdout.split()]


def exit_code(folder: Path, name: str, seconds: float = 60) -> int:
    """Return the exit code of an attempt, once it has ended."""
    path, deadline = folder / f"{name}.exit", time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{name} still runs"
        time.sleep(0.02)
    return int(path.read_text())


def kill_all(folder: Path) -> None:
    """Kill all processes of a folder."""
    for path in folder.glob("*.pid"):
        for pid in worker_ids(folder, path.stem):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
