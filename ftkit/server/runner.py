"""Interface between the supervisor and what runs the processes of jobs: this machine, or a cluster.

The queue stays in the database. The supervisor starts only processes that may run now, and polls
the state of each until it ends.
"""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from ftkit.errors import FtkitError
from ftkit.server.objects import JobObject

JOB_URL, JOB_ID, JOB_TOKEN = "FTKIT_JOB_URL", "FTKIT_JOB_ID", "FTKIT_JOB_TOKEN"
"""Environment variables of a remote worker: address of the service, id of its job, its token."""

Task = Literal["check", "train"]
"""Task of a process: to validate the files of a job, or to train it."""

EndKind = Literal["completed", "crashed", "killed", "out_of_memory"]
"""End of a process. A killed one was ended from outside, which is not the fault of its job."""


class RunnerError(FtkitError):
    """The runner refuses a process. The message is shown to the owner of the job."""


class RunnerUnavailableError(FtkitError):
    """The runner cannot be reached. A call may have had its effect all the same."""


class NotConnectedError(RunnerUnavailableError):
    """The runner has just been started and knows nothing of the cluster yet: no outage."""


class Attempt(Struct, frozen=True):
    """One start of a job's process.

    Attributes:
        job: Id of the job.
        number: Number of the attempt among those of the job, from 1; 0 for a validation, which
            runs on the machine of the service and has no token.
        token: Secret with which the process authenticates to the service. It is never in a
            command line or a log: a runner passes it in the environment, or in a private file
            that the process removes.
    """

    job: str
    number: int
    token: str = ""

    @property
    def name(self) -> str:
        """Name that no other attempt has: letters, digits and hyphens."""
        return f"{self.job}-{self.number}"


def worker_environment(url: str, attempt: Attempt) -> dict[str, str]:
    """Return the environment variables of the worker of an attempt on another machine.

    Its command is `python -m ftkit.server.worker train-remote DATA_DIR`, with the path that the
    data folder has there.

    Args:
        url: Address at which the worker reaches the service, without a path.
        attempt: The attempt.
    """
    return {JOB_URL: url, JOB_ID: attempt.job, JOB_TOKEN: attempt.token}


class Room(Struct, frozen=True):
    """Room for another process.

    Attributes:
        is_free: True if the process can start now.
        obstacle: Reason why it could not start even if no other process ran, or "".
        reason: Reason why it can start only after another process has ended, or "".
    """

    is_free: bool
    obstacle: str = ""
    reason: str = ""


class Waiting(Struct, frozen=True):
    """State of a process that a cluster has accepted, but not started yet."""


class Running(Struct, frozen=True):
    """State of a process that runs."""


class Ended(Struct, frozen=True):
    """State of a process that has ended, or was never started.

    Attributes:
        kind: End of the process. "completed" is the exit code 0, even if the job is not done.
        cause: Reason of any other end in one line, such as "exit code 1: LAST LINE OF THE LOG".
    """

    kind: EndKind
    cause: str = ""


RunState = Waiting | Running | Ended


class Runner(Protocol):
    """Starts, observes and stops the processes of jobs.

    The supervisor calls it from one thread, up to ten times a second for each process. A remote
    runner thus answers from what it asked for recently, and no call takes longer than 5 seconds,
    apart from those of the disk.

    Any method but `close` may raise `RunnerUnavailableError`. The supervisor then waits and asks
    for the state, by which it finds out whether a call had its effect. It logs the beginning and
    the end of such an outage (`outages.py`), but waits without a word for `NotConnectedError`.
    """

    def start(self, task: Task, job: JobObject, attempt: Attempt) -> str:
        """Start a process, and return its handle.

        The name of the attempt is stored before this call, and the handle after it, before it is
        relied on. Where a cluster lets its clients choose ids, the handle must be the name of the
        attempt: then a service that is killed in between finds the process again.

        Args:
            task: Task of the process.
            job: The job, as it is stored.
            attempt: The attempt, which is started only once.

        Raises:
            RunnerError: No process of this kind can be started; the job fails.
        """
        ...

    def room(self, job: JobObject) -> Room:
        """Return the room for the training process of a job, besides the processes that run."""
        ...

    def state(self, handle: str) -> RunState:
        """Return the state of a process.

        Returns `Ended` for a handle that is not known, for example after a cluster was replaced.
        A process may live on although its cluster says that it has ended: the service refuses
        what it reports, and it ends by itself.
        """
        ...

    def stop(self, handle: str) -> None:
        """Have a process end soon, if it runs. May be called again."""
        ...

    def close(self) -> None:
        """Release everything when the service ends.

        Processes on this machine end with the service. Those of a cluster continue, and the next
        service asks for their state.
        """
        ...
