"""Processes of the service on this machine: itself, and those that answer, check and train."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Literal

import psutil
from msgspec import Struct

from ftkit.dashboard.checks import MODULE as FILE_CHECK

WORKER = "ftkit.server.worker"
"""Module of the processes that answer, and that validate and train jobs."""

Role = Literal["service", "answers", "file check", "validation", "training"]
"""Work that a process does."""

ROLES: dict[str, Role] = {"generate": "answers", "check": "validation", "train": "training"}
"""Roles of the processes of `WORKER` by their task."""

ProcessKey = tuple[int, float]
"""Id of a process, and its start as a Unix time: ids are used again."""


class ServiceProcess(Struct, frozen=True):
    """A process of the service, with its own child processes.

    Attributes:
        role: Role of the process.
        job: Job that it validates or trains, or "".
        pid: Its id.
        started: Its start as a Unix time in seconds.
        memory: Resident memory of all processes in bytes.
        cores: Number of CPU cores in use since the last reading, or None at the first one.
        pids: Ids of all processes.
    """

    role: Role
    job: str
    pid: int
    started: float
    memory: int
    cores: float | None
    pids: frozenset[int]


class ProcessReader:
    """Reader of the processes of the service, and of the CPU time between two readings."""

    def __init__(self) -> None:
        self._service = psutil.Process(os.getpid())
        self._time = time.monotonic()
        self._cpu_seconds: dict[ProcessKey, float] = {}

    def read(self) -> list[ServiceProcess]:
        """Return the processes, the service first."""
        now = time.monotonic()
        elapsed, earlier = now - self._time, self._cpu_seconds
        self._time, self._cpu_seconds = now, {}
        processes = []
        for role, job, tree in self._trees():
            with suppress(psutil.Error):  # it has ended
                processes.append(self._measure(role, job, tree, earlier, elapsed))
        return processes

    def _trees(self) -> Iterator[tuple[Role, str, list[psutil.Process]]]:
        """Yield the role, the job and the processes, the first of which has started the others."""
        yield "service", "", [self._service]
        for process in self._service.children():
            with suppress(psutil.Error):
                role, job = _identify(process.cmdline())
                if role:
                    yield role, job, [process, *process.children(recursive=True)]

    def _measure(
        self,
        role: Role,
        job: str,
        tree: Sequence[psutil.Process],
        earlier: dict[ProcessKey, float],
        elapsed: float,
    ) -> ServiceProcess:
        """Return the state of a process and its children.

        Raises:
            psutil.Error: It has ended, or cannot be read.
        """
        first, memory, used = tree[0], tree[0].memory_info().rss, 0.0
        has_earlier = (first.pid, first.create_time()) in earlier
        for process in tree:
            try:
                memory += process.memory_info().rss if process is not first else 0
                key, times = (process.pid, process.create_time()), process.cpu_times()
            except psutil.Error:
                if process is first:
                    raise
                continue
            seconds = self._cpu_seconds[key] = times.user + times.system
            used += seconds - earlier.get(key, seconds)
        return ServiceProcess(
            role=role,
            job=job,
            pid=first.pid,
            started=first.create_time(),
            memory=memory,
            cores=used / elapsed if has_earlier and elapsed else None,
            pids=frozenset(process.pid for process in tree),
        )


def _identify(command: Sequence[str]) -> tuple[Role | None, str]:
    """Return the role and the job of a process by its command line; None for other processes."""
    if FILE_CHECK in command:
        return "file check", ""
    if WORKER in command:
        task, _, *job = command[command.index(WORKER) + 1 :]
        return ROLES.get(task), "".join(job)
    return None, ""
