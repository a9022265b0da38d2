"""Runner of training processes on a Ray cluster, as jobs of its REST API.

A thread submits, stops and lists jobs, so no caller waits for the cluster. The id of a job is the
name of its attempt, which the cluster accepts once. The process takes its token from a file in the
data folder, which all nodes share: a file can be renamed once, so an attempt has one process even
if a cluster that forgot the job after a restart accepts it again.
"""

from __future__ import annotations

import logging
import shlex
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

from msgspec import Struct

from ftkit._private import make_private_folder, open_private
from ftkit._text import last_line_of
from ftkit.server.backoff import Backoff
from ftkit.server.cluster_room import RESERVED, find_room, reservation
from ftkit.server.exits import explain_exit
from ftkit.server.folder import Folder
from ftkit.server.objects import JobObject
from ftkit.server.ray_client import (
    FailedCallError,
    Node,
    RayClient,
    RayJob,
    RejectedJobError,
    Submission,
)
from ftkit.server.ray_settings import RaySettings, service_metadata
from ftkit.server.recipes import restore_recipe
from ftkit.server.runner import (
    JOB_TOKEN,
    Attempt,
    Ended,
    EndKind,
    NotConnectedError,
    Room,
    RunnerUnavailableError,
    Running,
    RunState,
    Task,
    Waiting,
    worker_environment,
)

POLL_SECONDS = 1.0
"""Seconds between two lists of the jobs of the cluster."""

POLL_FACTOR, MAX_POLL_SECONDS = 10, 15.0
"""Pause before the next list, as a multiple of the duration of the last one, and its maximum."""

FIRST_LIST_SECONDS = 4.0
"""Maximum seconds that a caller waits for the first list."""

KEEP_SECONDS = 3600
"""Seconds after its end for which the cluster is left to show a job."""

CALL_SECONDS = 5.0
"""Seconds of an exchange after which no call of a kind is begun, such as a submission."""

MAX_ENDS = 10_000
"""Number of ends of jobs that were not accepted. Older ones count as forgotten by Ray."""

MAX_SUBMISSIONS = 8
"""Maximum number of failed submissions of an attempt, which take a minute or two."""

RUN_WORKER = ("python", "-P", "-m", "ftkit.server.worker", "train-remote")
"""Start of the command of a process. The cluster finds Python on the PATH of its nodes."""

WORKING_DIRECTORY = "cwd"
"""Working directory of a process, in the folder of its attempt."""

ENDS: dict[str, tuple[EndKind, str]] = {
    "JOB_SUPERVISOR_ACTOR_DIED": ("killed", "its node in the Ray cluster died"),
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": ("killed", "no node of the Ray cluster became free"),
    "JOB_SUPERVISOR_ACTOR_START_FAILURE": ("killed", "Ray could not start it"),
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": ("killed", "no node of the Ray cluster can run it"),
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": ("killed", "Ray lost it"),
    "RUNTIME_ENV_SETUP_FAILURE": ("crashed", "Ray could not set up its environment"),
}
"""Ends of jobs that Ray failed, by the type of its error."""

ACTIVE = ("PENDING", "RUNNING")
"""Statuses of jobs that have not ended."""

FORGOTTEN = Ended("killed", "the Ray cluster does not know it, perhaps after a restart")
"""State of a process whose job the cluster does not have."""

logger = logging.getLogger("ftkit.server")


class View(Struct, frozen=True):
    """State of the cluster when it last answered."""

    jobs: dict[str, RayJob]
    nodes: list[Node]


class RayJobs:
    """Runner whose processes are jobs of a Ray cluster.

    Args:
        folder: Data folder of the service, which each node has at the same path.
        settings: Settings of the cluster.
    """

    def __init__(self, folder: Folder, settings: RaySettings) -> None:
        self._folder, self._settings = folder, settings
        self._metadata = service_metadata(folder.service_id())
        self._lock = threading.Lock()
        self._view: View | None = None
        self._error = ""
        self._submissions: dict[str, Submission] = {}  # not listed by the cluster yet
        self._ends: dict[str, Ended] = {}  # of jobs that the cluster did not accept
        self._stops: set[str] = set()
        self._backoff = Backoff()  # by the call and its job; of the thread only
        self._failed_submissions: Counter[str] = Counter()  # by job; of the thread only
        self._wake, self._listed = threading.Event(), threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="ray-jobs", daemon=True)
        self._thread.start()

    def start(self, task: Task, job: JobObject, attempt: Attempt) -> str:
        """Submit a training process soon, and return its handle."""
        assert task == "train", task
        attempt_folder = self._folder.attempt(job.id, attempt.number)
        # An empty folder, so a model id such as `owner/name` is never taken for a local path.
        make_private_folder(attempt_folder / WORKING_DIRECTORY)
        with open_private(attempt_folder / "token", "wb") as token:
            token.write(attempt.token.encode())
        log = self._folder.log(job.id)
        log.unlink(missing_ok=True)  # a process of an earlier attempt may still write to it
        open_private(log, "wb").close()
        environment = worker_environment(self._settings.service_url, attempt)
        del environment[JOB_TOKEN]
        resources = reservation(restore_recipe(job.base, job.recipe))
        # Ray may leave the GPUs of a node visible to a job that reserves none.
        hiding = "" if resources["GPU"] else "export CUDA_VISIBLE_DEVICES= && "
        amounts = {f"{RESERVED}{name}": str(amount) for name, amount in resources.items()}
        submission = Submission(
            attempt.name,
            hiding + self._command(job.id, attempt.number),
            resources,
            environment,
            {**self._metadata, **amounts},
        )
        with self._lock:
            self._submissions[attempt.name] = submission
        self._wake.set()
        return attempt.name

    def _command(self, job: str, attempt: int) -> str:
        """Return the command line of a process, which takes its token first."""
        folder = self._folder.attempt(job, attempt)
        paths = (folder / "token", folder / "token-taken", folder / WORKING_DIRECTORY)
        token, taken, directory, log = (
            shlex.quote(str(path)) for path in (*paths, self._folder.log(job))
        )
        worker = shlex.join([*RUN_WORKER, str(self._folder.root)])
        return (
            f"umask 077 && cd {directory} && mv {token} {taken}"
            f" && {JOB_TOKEN}=$(cat {taken}) && export {JOB_TOKEN} && rm {taken}"
            f" && exec {worker} </dev/null >>{log} 2>&1"
        )

    def state(self, handle: str) -> RunState:
        """Return the state of a process, as of the last list.

        Raises:
            NotConnectedError: The first list of the jobs takes long.
            RunnerUnavailableError: The cluster does not answer.
        """
        self._listed.wait(FIRST_LIST_SECONDS)
        with self._lock:
            if handle in self._ends:
                return self._ends[handle]
            job = self._last_view().jobs.get(handle)
            if handle in self._submissions:
                return Waiting()
        if job is None:
            return FORGOTTEN
        return self._explain(handle, job)

    def _explain(self, handle: str, job: RayJob) -> RunState:
        """Return the state of a process whose job the cluster shows."""
        if job.status in ACTIVE:
            return Waiting() if job.status == "PENDING" else Running()
        if job.status == "STOPPED":
            return Ended("killed", "it was stopped in Ray")
        message = job.message or ""
        if job.driver_exit_code is not None:
            id = handle.rpartition("-")[0]
            # The counter of this machine cannot show why a process of another one was killed.
            end = explain_exit(job.driver_exit_code, self._folder.log(id), sys.maxsize)
            has_reason = end.kind != "crashed" or ":" in end.cause
            return end if has_reason else Ended(end.kind, f"{end.cause}: {last_line_of(message)}")
        if "running low on memory" in message:
            return Ended("out_of_memory", "Ray killed it because the memory of its node was full")
        kind, cause = ENDS.get(job.error_type or "", ("killed", last_line_of(message)))
        return Ended(kind, cause)

    def stop(self, handle: str) -> None:
        """Have a process end soon, if it runs."""
        with self._lock:
            self._stops.add(handle)
        self._wake.set()

    def room(self, job: JobObject) -> Room:
        """Return the room that the cluster has for a job, besides those that were started.

        Raises:
            NotConnectedError: The first list of the nodes takes long.
            RunnerUnavailableError: The cluster does not answer.
        """
        self._listed.wait(FIRST_LIST_SECONDS)
        with self._lock:
            view = self._last_view()
            unplaced = [submission.resources for submission in self._submissions.values()]
        needed = reservation(restore_recipe(job.base, job.recipe))
        return find_room(needed, view.nodes, view.jobs.values(), unplaced)

    def _last_view(self) -> View:
        """Return the state of the cluster, as of the last list."""
        if self._error:
            raise RunnerUnavailableError(self._error)
        if self._view is None:
            raise NotConnectedError(
                f"the Ray cluster at {self._settings.url} has not shown its jobs and nodes yet"
            )
        return self._view

    def close(self) -> None:
        """End the thread. The processes continue."""
        self._closing = True
        self._wake.set()
        self._thread.join(POLL_SECONDS)

    def _run(self) -> None:
        client = RayClient(self._settings.url, self._settings.token)
        while not self._closing:
            self._wake.clear()
            pause, problem = POLL_SECONDS, ""
            try:
                pause = max(pause, POLL_FACTOR * self._exchange(client))
                self._backoff.clear("")
            except RunnerUnavailableError as error:
                problem = str(error)
            except Exception as error:  # for example a full disk, which may have room again later
                reason = f"{type(error).__name__}: {error}"
                problem = f"the Ray cluster at {self._settings.url} cannot be used: {reason}"
                if self._backoff.record("", error):
                    logger.exception("The Ray cluster cannot be used")
            with self._lock:
                self._error = problem
            self._listed.set()
            self._wake.wait(min(pause, MAX_POLL_SECONDS))
        client.close()

    def _exchange(self, client: RayClient) -> float:
        """Submit and stop jobs, and list all. Return the seconds that the list took."""
        with self._lock:
            submissions, stops = dict(self._submissions), list(self._stops)
        submitted = self._call_each(
            "submit", submissions, lambda job: self._submit(client, submissions[job])
        )
        stopped = self._call_each("stop", stops, client.stop)
        start = time.monotonic()
        view = View(client.jobs(self._metadata), client.nodes())
        seconds = time.monotonic() - start
        # Only now: a job that was submitted, but is not in the list, would seem forgotten.
        with self._lock:
            self._view, self._error = view, ""
            self._listed.set()
            for id in submitted:
                self._submissions.pop(id, None)
            # Ray may accept a job after its stop, so that of a waiting submission is repeated.
            self._stops.difference_update(id for id in stopped if id not in self._submissions)
            self._stops.difference_update(id for id in stops if not self._may_run(id, view))
        oldest = (time.time() - KEEP_SECONDS) * 1000
        expired = [id for id, job in view.jobs.items() if job.end_time and job.end_time < oldest]
        self._call_each("delete", expired, client.delete)
        return seconds

    def _may_run(self, id: str, view: View) -> bool:
        """Return True unless a job has ended, or the cluster does not know it."""
        job = view.jobs.get(id)
        return id in self._submissions or bool(job and job.status in ACTIVE)

    def _call_each(
        self, action: str, ids: Iterable[str], call: Callable[[str], object]
    ) -> list[str]:
        """Make a call for each job, unless it failed recently. Return the jobs of those done.

        A call that fails is repeated later, after those that have not failed. If the calls take
        more than `CALL_SECONDS`, or the cluster does not answer at all, the next exchange has the
        others.
        """
        done = []
        end = time.monotonic() + CALL_SECONDS
        keys = {id: f"{action} {id}" for id in ids}
        for id in sorted(keys, key=lambda job: self._backoff.retry_time(keys[job])):
            key = keys[id]
            if self._backoff.is_waiting(key):
                continue
            if time.monotonic() >= end:
                break
            try:
                call(id)
            except RunnerUnavailableError as error:
                if self._backoff.record(key, error):
                    logger.warning("Cannot %s; trying again: %s", key, error)
                if not isinstance(error, FailedCallError):
                    break  # the list shows if the cluster can be reached
            else:
                self._backoff.clear(key)
                done.append(id)
        return done

    def _submit(self, client: RayClient, submission: Submission) -> None:
        """Submit a job, or store its end if the cluster does not accept it.

        Raises:
            RunnerUnavailableError: The submission failed, and is to be repeated.
        """
        id = submission.id
        try:
            client.submit(submission)
        except RejectedJobError as error:
            self._end(id, Ended("crashed", str(error)))
        except FailedCallError as error:
            self._failed_submissions[id] += 1
            if self._failed_submissions[id] < MAX_SUBMISSIONS:
                raise
            self._end(id, Ended("killed", f"Ray did not accept it: {error.reason}"))
        del self._failed_submissions[id]

    def _end(self, id: str, end: Ended) -> None:
        """Store the end of a job that the cluster did not accept, or not for certain."""
        with self._lock:
            self._ends[id] = end
            if len(self._ends) > MAX_ENDS:
                del self._ends[next(iter(self._ends))]
            self._submissions.pop(id, None)
            self._stops.add(id)
