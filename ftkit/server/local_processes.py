"""Runner of job processes on the machine of the service, with which they end."""

from __future__ import annotations

import subprocess

from msgspec import Struct

from ftkit._local import RUN_MODULE
from ftkit._private import make_private_folder, open_private
from ftkit.server.exits import count_memory_kills, explain_exit
from ftkit.server.folder import Folder
from ftkit.server.objects import JobObject
from ftkit.server.runner import Attempt, Ended, Room, Running, RunState, Task

UNKNOWN = Ended("killed", "it ended with an earlier service")
"""State of a process that this service has not started."""


class LocalProcess(Struct):
    """Process on this machine.

    Attributes:
        memory_kills: Processes that the kernel had killed for want of memory when it was started.
    """

    job: str
    process: subprocess.Popen[bytes]
    memory_kills: int


class LocalProcesses:
    """Runner whose processes are children of the service.

    Args:
        folder: Data folder of the service.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._processes: dict[str, LocalProcess] = {}

    def start(self, task: Task, job: JobObject, attempt: Attempt) -> str:
        """Start a process, and return its handle."""
        make_private_folder(self._folder.job(job.id))
        command = [*RUN_MODULE, "ftkit.server.worker", task, str(self._folder.root), job.id]
        memory_kills = count_memory_kills()
        with open_private(self._folder.log(job.id), "wb") as log:
            # In a session of its own: Ctrl-C must end only the server, or the job would be treated
            # as one whose process crashed.
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._folder.working_directory,
            )
        self._processes[attempt.name] = LocalProcess(job.id, process, memory_kills)
        return attempt.name

    def room(self, job: JobObject) -> Room:
        """Return that there is room: only the service limits the number of processes."""
        return Room(True)

    def state(self, handle: str) -> RunState:
        """Return the state of a process. One that has ended is not known any more."""
        local = self._processes.get(handle)
        if local is None:
            return UNKNOWN
        exit_code = local.process.poll()
        if exit_code is None:
            return Running()
        self._release(handle)
        return explain_exit(exit_code, self._folder.log(local.job), local.memory_kills)

    def stop(self, handle: str) -> None:
        """Kill a process."""
        if local := self._processes.get(handle):
            local.process.kill()

    def close(self) -> None:
        """Kill all processes, and wait for their end."""
        for handle in list(self._processes):
            self.stop(handle)
            self._processes[handle].process.wait()
            self._release(handle)

    def _release(self, handle: str) -> None:
        process = self._processes.pop(handle).process
        assert process.stdin
        process.stdin.close()
