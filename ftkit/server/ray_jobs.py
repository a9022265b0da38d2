"""Runner of training processes on a Ray cluster, as jobs of its REST API.

A thread submits, stops and lists jobs, so no caller waits for the cluster. The id of a job is the
name of its attempt, which the cluster accepts once. The process takes its token from a file in the
data folder, which all nodes share: a file can be renamed once, so an attempt has one process even
if a cluster that forgot the job after a restart accepts it again.
"""

from __future__ import annotations

import logging
import math
import shlex
import sys
import threading
import time
from collections.abc import Iterable

from msgspec import Struct

from ftkit._private import make_private_folder, open_private
from ftkit._text import last_line_of
from ftkit.server.exits import explain_exit
from ftkit.server.folder import Folder
from ftkit.server.objects import JobObject
from ftkit.server.ray_client import (
    RESOURCES,
    Node,
    RayClient,
    RayJob,
    RejectedJobError,
    Submission,
)
from ftkit.server.ray_settings import RaySettings, service_metadata
from ftkit.server.recipes import Recipe, restore_recipe
from ftkit.server.runner import (
    JOB_TOKEN,
    Attempt,
    Ended,
    EndKind,
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

POLL_SHARE, MAX_POLL_SECONDS = 10, 15.0
"""Times as long to wait for the next list as the last one took, to spare a large cluster."""

FIRST_LIST_SECONDS = 4.0
"""Maximum seconds that a caller waits for the first list."""

KEEP_SECONDS = 3600
"""Seconds after its end for which the cluster is left to show a job."""

RUN_WORKER = ("python", "-P", "-m", "ftkit.server.worker", "train-remote")
"""Start of the command of a process. The cluster finds Python on the PATH of its nodes."""

WORKING_DIRECTORY = "cwd"
"""Working directory of a process, in the folder of its attempt."""

RESERVED = "ftkit_reserved_"
"""Start of the metadata of a job with the amount of each resource."""

ENDS: dict[str, tuple[EndKind, str]] = {
    "JOB_SUPERVISOR_ACTOR_DIED": ("killed", "its node in the Ray cluster died"),
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": ("killed", "no node of the Ray cluster became free"),
    "JOB_SUPERVISOR_ACTOR_START_FAILURE": ("killed", "Ray could not start it"),
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": ("killed", "no node of the Ray cluster can run it"),
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": ("killed", "Ray lost it"),
    "RUNTIME_ENV_SETUP_FAILURE": ("crashed", "Ray could not set up its environment"),
}
"""Ends of jobs that Ray failed, by the type of its error."""

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
        self._metadata = service_metadata(folder.root)
        self._lock = threading.Lock()
        self._view: View | None = None
        self._error = "it has not answered yet"
        self._submissions: dict[str, Submission] = {}  # which no list has had yet
        self._rejections: dict[str, str] = {}
        self._stops: set[str] = set()
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
            RunnerUnavailableError: The cluster does not answer.
        """
        self._listed.wait(FIRST_LIST_SECONDS)
        with self._lock:
            if handle in self._rejections:
                return Ended("crashed", self._rejections[handle])
            if handle in self._submissions:
                return Waiting()
            if self._view is None or self._error:
                raise RunnerUnavailableError(self._error)
            job = self._view.jobs.get(handle)
        if job is None:
            return FORGOTTEN
        return self._explain(handle, job)

    def _explain(self, handle: str, job: RayJob) -> RunState:
        """Return the state of a process whose job the cluster shows."""
        if job.status in ("PENDING", "RUNNING"):
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
        """Return the room that the cluster has for a job, besides those that were started."""
        needed = reservation(restore_recipe(job.base, job.recipe))
        with self._lock:
            if self._view is None or self._error:
                return Room(False)
            nodes, jobs = self._view.nodes, self._view.jobs
            unplaced = [submission.resources for submission in self._submissions.values()]
        if not any(_fits(needed, node.total) for node in nodes):
            return Room(False, _obstacle(needed, nodes))
        running = [job for job in jobs.values() if job.status == "RUNNING"]
        free = [
            _free(node, [_reserved(job) for job in running if job.driver_node_id == node.id])
            for node in nodes
        ]
        unplaced += [_reserved(job) for job in jobs.values() if job.status == "PENDING"]
        for resources in unplaced:
            _place(resources, free)
        return Room(any(_fits(needed, amounts) for amounts in free))

    def close(self) -> None:
        """End the thread. The processes continue."""
        self._closing = True
        self._wake.set()
        self._thread.join(POLL_SECONDS)

    def _run(self) -> None:
        client = RayClient(self._settings.url, self._settings.token)
        while not self._closing:
            self._wake.clear()
            pause = POLL_SECONDS
            try:
                pause = max(pause, POLL_SHARE * self._exchange(client))
            except RunnerUnavailableError as error:
                self._error = str(error)
            except Exception as error:  # for example a full disk, which may have room again later
                logger.exception("The Ray cluster cannot be used")
                self._error = f"{type(error).__name__}: {error}"
            self._listed.set()
            self._wake.wait(min(pause, MAX_POLL_SECONDS))
        client.close()

    def _exchange(self, client: RayClient) -> float:
        """Submit and stop jobs, and list all. Return the seconds that the list took."""
        with self._lock:
            submissions, stops = list(self._submissions.values()), list(self._stops)
        rejections = {}
        for submission in submissions:
            try:
                client.submit(submission)
            except RejectedJobError as error:
                rejections[submission.id] = str(error)
        for handle in stops:
            client.stop(handle)
        start = time.monotonic()
        view = View(client.jobs(self._metadata), client.nodes())
        seconds = time.monotonic() - start
        # Only now: a job that was submitted, but is not in the list, would seem forgotten.
        with self._lock:
            self._view, self._error = view, ""
            self._rejections |= rejections
            self._stops.difference_update(stops)
            for submission in submissions:
                del self._submissions[submission.id]
        oldest = (time.time() - KEEP_SECONDS) * 1000
        for id, job in view.jobs.items():
            if job.end_time and job.end_time < oldest:
                client.delete(id)
        return seconds


def reservation(recipe: Recipe) -> dict[str, float]:
    """Return the resources that a job reserves on a node, by Ray's names.

    It has at least one CPU: Ray runs jobs without any resources on the head.
    """
    return {"CPU": float(max(1, recipe.threads)), "GPU": float(recipe.gpus)}


def _reserved(job: RayJob) -> dict[str, float]:
    """Return the resources of a job of this service."""
    metadata = job.metadata or {}
    return {name: _amount(metadata.get(f"{RESERVED}{name}", "0")) for name in RESOURCES}


def _amount(text: str) -> float:
    """Return an amount in the metadata of a job, which any user of the cluster can set."""
    try:
        amount = float(text)
    except ValueError:
        return 0.0
    return amount if math.isfinite(amount) and amount > 0 else 0.0


def _fits(needed: dict[str, float], amounts: dict[str, float]) -> bool:
    return all(amounts.get(name, 0.0) >= amount for name, amount in needed.items())


def _free(node: Node, reserved: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return the free resources of a node.

    Args:
        node: The node. What it reports as used is some seconds old.
        reserved: Resources of the jobs of this service that run there.
    """
    own = dict.fromkeys(node.total, 0.0)
    for resources in reserved:
        _add(own, resources)
    return {
        name: total - max(node.used.get(name, 0.0), own[name]) for name, total in node.total.items()
    }


def _place(resources: dict[str, float], free: list[dict[str, float]]) -> None:
    """Take the resources of a job from the first node that has them."""
    amounts = next((amounts for amounts in free if _fits(resources, amounts)), None)
    if amounts is not None:
        _add(amounts, {name: -amount for name, amount in resources.items()})


def _add(amounts: dict[str, float], more: dict[str, float]) -> None:
    for name, amount in more.items():
        amounts[name] = amounts.get(name, 0.0) + amount


def _obstacle(needed: dict[str, float], nodes: list[Node]) -> str:
    """Return the reason why no node can run a job, however long it waits."""
    texts = [f"{amount:g} {name}" for name, amount in needed.items() if amount]
    if not nodes:
        return f"the Ray cluster has no node; the job needs one with {' and '.join(texts)}"
    largest = {name: max(node.total.get(name, 0.0) for node in nodes) for name in needed}
    present = " and ".join(f"{amount:g} {name}" for name, amount in largest.items())
    return (
        f"no node of the Ray cluster has {' and '.join(texts)}, which the job reserves; the"
        f" largest have {present}; see `gpus` and `threads` of its recipe"
    )
