"""Reports of a training process on another machine, sent to the service over HTTP.

One thread sends all messages in their order and repeats each until it is answered. Each has the
same effect if it arrives twice. The beats, in a thread of their own, notice when the service cannot
be reached: the process then saves its state and ends, and another attempt resumes from there.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.errors import FtkitError
from ftkit.server.event_limits import MetricValues
from ftkit.server.exits import LOST_EXIT_CODE, STALE_EXIT_CODE
from ftkit.server.objects import JobError, JobHyperparameters, JobObject
from ftkit.server.reports import (
    Command,
    Count,
    JobEvent,
    JobStart,
    ReportedError,
)
from ftkit.server.runner import JOB_ID, JOB_TOKEN, JOB_URL

MAX_EVENTS = 100
"""Maximum number of events in a message."""

MAX_WAITING = 1_000
"""Number of messages that may wait; training then waits, too."""

ANSWER_BYTES = 64 << 20
"""Maximum size of an answer: a job with its checkpoints."""

STALE = 409
"""Status of the answer to a stale attempt."""

BUSY = (408, 429)
"""Statuses of a service that is too busy to answer, apart from those from 500."""

NO_ANSWER = (OSError, http.client.HTTPException, urllib.error.URLError)
"""Exceptions of a request that got no complete answer."""


class LostServiceError(FtkitError):
    """The service has not answered for so long that the process is to end."""


class RefusedReportError(FtkitError):
    """The service refuses a message, for example since it does not share the data folder."""


class Timing(Struct, frozen=True):
    """Durations in seconds.

    Attributes:
        beat: Time between two beats; the answer to one may take twice as long.
        lost: Time without any answer after which the service counts as lost.
        answer: Time to wait for the answer to another message, since an adapter may be copied.
        backoff: Maximum time before a message is repeated.
    """

    beat: float = 2.0
    lost: float = 30.0
    answer: float = 60.0
    backoff: float = 3.0


TIMING = Timing()
"""Durations of all workers, except in tests."""


class EmptyMessage(Struct, frozen=True):
    """Body of `spec` and `beat`."""


class StateMessage(Struct, frozen=True):
    """Body of `checkpoint`: the state of a step was saved.

    Attributes:
        metrics: Metrics of the step if its adapter is to become a model, or None.
    """

    step: Count
    metrics: MetricValues | None = None


class EventsMessage(Struct, frozen=True):
    """Body of `events`: events to add, and hyperparameters to set, or None."""

    events: list[JobEvent] = []
    hyperparameters: JobHyperparameters | None = None


class DoneMessage(Struct, frozen=True):
    """Body of `done`: the error that the job fails with, or its number of steps and of tokens."""

    steps: Count = 0
    tokens: Count = 0
    error: ReportedError | None = None


class BeatAnswer(Struct, frozen=True):
    """Answer to `beat`."""

    command: Command


class StartAnswer(Struct, frozen=True):
    """Answer to `spec`: the public and internal fields of the job, and see `JobStart`."""

    job: dict[str, Any]
    internal: dict[str, Any]
    reported_step: int
    published_steps: list[int]


class Pending(Struct):
    """Message that waits to be sent, or for its answer.

    Attributes:
        answered: Set with its answer, or when there will be none.
    """

    path: str
    body: Struct
    answered: threading.Event
    answer: bytes | None = None


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Handler that follows no redirect, which could send the token elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


class HttpReports:
    """Reports that are sent over HTTP.

    Args:
        url: Address of the service, without a path.
        job: Id of the job.
        token: Token of the attempt.
        timing: Durations.
        end: Ends the process with an exit code, without cleaning up.
    """

    def __init__(
        self,
        url: str,
        job: str,
        token: str,
        timing: Timing = TIMING,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._base = f"{url.rstrip('/')}/internal/jobs/{job}"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._timing, self._end = timing, end
        # The service is inside the network, so no proxy may see the token.
        handlers = (urllib.request.ProxyHandler({}), NoRedirects())
        self._opener = urllib.request.build_opener(*handlers)
        self._last_answer = time.monotonic()
        self._lost = threading.Event()
        self._refusal: RefusedReportError | None = None
        self._waiting: deque[Pending] = deque()
        self._changed = threading.Condition()
        self._sender: threading.Thread | None = None

    @property
    def is_lost(self) -> bool:
        """True once the service has not answered for too long."""
        return self._lost.is_set()

    def begin(self) -> JobStart:
        """Report that training starts, and return the job."""
        data = self._send("spec", EmptyMessage(), wait=True)
        answer = msgspec.json.decode(data, type=StartAnswer)
        job = JobObject.from_documents("", "", answer.job, answer.internal)
        return JobStart(job, answer.reported_step, answer.published_steps, is_remote=True)

    def beat(self) -> Command:
        """Report that the process runs, and return what it is to do.

        If the service is lost, it is to save its state and end, as for a pause.
        """
        if self.is_lost:
            return "pause"
        try:
            data = self._request("beat", EmptyMessage(), 2 * self._timing.beat)
        except NO_ANSWER:
            if time.monotonic() - self._last_answer < self._timing.lost:
                return "continue"
            self._lose()
            return "pause"
        return msgspec.json.decode(data, type=BeatAnswer).command

    def set_hyperparameters(self, hyperparameters: JobHyperparameters) -> None:
        """Replace the requested hyperparameters with the resolved ones."""
        self._send("events", EventsMessage(hyperparameters=hyperparameters))

    def add_event(self, event: JobEvent) -> None:
        """Add an event to the job soon."""
        self._send("events", EventsMessage([event]))

    def commit(self, step: int) -> None:
        """Report that a state was saved. If the service is lost, the next attempt finds it."""
        if not self.is_lost:
            self._send("checkpoint", StateMessage(step), wait=True)

    def publish(self, step: int, metrics: dict[str, Any]) -> None:
        """Publish the adapter of a saved state. If the service is lost, the next attempt does."""
        if not self.is_lost:
            self._send("checkpoint", StateMessage(step, metrics), wait=True)

    def fail(self, error: JobError) -> None:
        """End the job with an error."""
        self._send("done", DoneMessage(error=ReportedError.of(error)), wait=True)

    def succeed(self, steps: int, tokens: int) -> None:
        """End the job with the adapter of its last step."""
        self._send("done", DoneMessage(steps, tokens), wait=True)

    def _send(self, path: str, body: Struct, wait: bool = False) -> bytes:
        """Queue a message, and return its answer if the caller waits for it.

        Raises:
            LostServiceError: The service is lost, and the caller waits for an answer.
            RefusedReportError: The service refuses this message, or has refused an earlier one.
        """
        pending = Pending(path, body, threading.Event())
        with self._changed:
            if self._sender is None:
                self._sender = threading.Thread(target=self._send_all, name="reports", daemon=True)
                self._sender.start()
            self._changed.wait_for(lambda: len(self._waiting) < MAX_WAITING or self._is_over)
            if not self._is_over:
                self._waiting.append(pending)
                self._changed.notify_all()
            if wait:
                self._changed.wait_for(lambda: pending.answered.is_set() or self._is_over)
        if self._refusal:
            raise self._refusal
        if wait and pending.answer is None:
            raise LostServiceError("the service cannot be reached")
        return pending.answer or b""

    @property
    def _is_over(self) -> bool:
        """True once no message will be answered any more."""
        return self.is_lost or self._refusal is not None

    def _lose(self) -> None:
        with self._changed:
            self._lost.set()
            self._changed.notify_all()

    def _send_all(self) -> None:
        """Send the messages in their order, as the thread that does so."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                pending, number = self._next()
            answer = self._repeat(pending)
            if answer is None:
                return
            with self._changed:
                pending.answer = answer
                pending.answered.set()
                for _ in range(number):
                    self._waiting.popleft()
                self._changed.notify_all()

    def _next(self) -> tuple[Pending, int]:
        """Return the next message, and the number of waiting ones whose events it contains."""
        first = self._waiting[0]
        if not isinstance(first.body, EventsMessage) or not first.body.events:
            return first, 1
        events: list[JobEvent] = []
        for pending in self._waiting:
            body = pending.body
            is_event = isinstance(body, EventsMessage) and body.events
            if not is_event or len(events) >= MAX_EVENTS:
                break
            events += body.events  # type: ignore[attr-defined]
        return Pending("events", EventsMessage(events), first.answered), len(events)

    def _repeat(self, pending: Pending) -> bytes | None:
        """Send a message until it is answered. Return None if it will not be."""
        delay = self._timing.backoff / 16
        while not self.is_lost:
            try:
                return self._request(pending.path, pending.body, self._timing.answer)
            except RefusedReportError as error:
                with self._changed:
                    self._refusal = error
                    self._changed.notify_all()
                return None
            except NO_ANSWER:
                if time.monotonic() - self._last_answer > self._timing.lost:
                    self._lose()
            time.sleep(delay)
            delay = min(2 * delay, self._timing.backoff)
        return None

    def _request(self, path: str, body: Struct, timeout: float) -> bytes:
        """Return the answer to a request.

        Raises:
            RefusedReportError: It is an error.
            OSError, http.client.HTTPException, urllib.error.URLError: There is none.
        """
        request = urllib.request.Request(  # noqa: S310, the scheme is checked
            f"{self._base}/{path}", msgspec.json.encode(body), self._headers, method="POST"
        )
        try:
            with self._opener.open(request, timeout=timeout) as response:
                data: bytes = response.read(ANSWER_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                if error.code >= http.client.INTERNAL_SERVER_ERROR or error.code in BUSY:
                    raise OSError(f"HTTP status {error.code}") from error
                self._last_answer = time.monotonic()
                if error.code == STALE:
                    self._end(STALE_EXIT_CODE)
                raise _refusal(error) from error
        self._last_answer = time.monotonic()
        return data


def _refusal(error: urllib.error.HTTPError) -> RefusedReportError:
    try:
        reason = msgspec.json.decode(error.read(ANSWER_BYTES))["error"]["message"]
    except (*NO_ANSWER, ValueError, LookupError, TypeError):
        reason = "no reason given"
    return RefusedReportError(f"the service refused a report with status {error.code}: {reason}")


def connect_reports(environment: Mapping[str, str], timing: Timing = TIMING) -> HttpReports:
    """Return the reports of the process of an attempt.

    Args:
        environment: Environment variables, see `runner.worker_environment`.
        timing: Durations.
    """
    missing = [name for name in (JOB_URL, JOB_ID, JOB_TOKEN) if not environment.get(name)]
    if missing:
        raise SystemExit(f"a remote worker needs the environment variable {missing[0]}")
    if not environment[JOB_URL].startswith(("http://", "https://")):
        raise SystemExit(f"{JOB_URL} must begin with http:// or https://")
    return HttpReports(environment[JOB_URL], environment[JOB_ID], environment[JOB_TOKEN], timing)


def run_remote(
    train: Callable[[HttpReports], object], reports: HttpReports, end: Callable[[int], object]
) -> None:
    """Train a job, and end the process if the service was lost meanwhile.

    Args:
        train: Trains the job, and saves a state once the service is lost.
        reports: Where it reports.
        end: Ends the process with an exit code.
    """
    try:
        train(reports)
    except LostServiceError:
        end(LOST_EXIT_CODE)
    except RefusedReportError as error:
        raise SystemExit(str(error)) from error  # the last line of the log
    if reports.is_lost:
        end(LOST_EXIT_CODE)
