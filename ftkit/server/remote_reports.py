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
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.errors import FtkitError
from ftkit.server.exits import LOST_EXIT_CODE, STALE_EXIT_CODE
from ftkit.server.objects import JobError, JobHyperparameters, JobObject
from ftkit.server.report_messages import (
    BATCH_BYTES,
    BATCH_EVENTS,
    BeatResponse,
    DoneMessage,
    EmptyMessage,
    EventsMessage,
    StartResponse,
    StateMessage,
)
from ftkit.server.reports import Command, JobEvent, JobStart, ReportedError
from ftkit.server.runner import JOB_ID, JOB_TOKEN, JOB_URL

MAX_WAITING = 1_000
"""Number of messages that may wait; training then waits, too."""

RESPONSE_BYTES = 64 << 20
"""Maximum size of a response: a job with its checkpoints."""

STALE = 409
"""Status of the response to a stale attempt."""

FULL = 507
"""Status of the response if the disk of the service is nearly full."""

BUSY = (408, 429)
"""Statuses of a service that is too busy to answer, apart from those from 500."""

NO_RESPONSE = (OSError, http.client.HTTPException, urllib.error.URLError)
"""Exceptions of a request without a complete response."""


class FullServiceError(OSError):
    """The disk of the service is nearly full, so it accepts no events now."""


class LostServiceError(FtkitError):
    """The service has not accepted a message for so long that the process is to end."""


class RefusedReportError(FtkitError):
    """The service refuses a message, for example since it does not share the data folder."""


class Timing(Struct, frozen=True):
    """Durations in seconds.

    Attributes:
        beat: Time between two beats; the response to one may take twice as long.
        lost: Time without any response after which the service counts as lost.
        response: Time to wait for the response to another message, since an adapter may be copied.
        backoff: Maximum time before a message is repeated.
    """

    beat: float = 2.0
    lost: float = 30.0
    response: float = 60.0
    backoff: float = 3.0


TIMING = Timing()
"""Default durations."""


class Pending(Struct):
    """Message that waits to be sent, or for its response."""

    path: str
    body: Struct
    response: bytes | None = None


def next_batch(waiting: Iterable[Pending]) -> tuple[list[Pending], Struct]:
    """Return the waiting messages that are to be sent first, together, and the body to send.

    Events are sent together as long as the service accepts their size.

    Args:
        waiting: At least one message.
    """
    messages: list[Pending] = []
    events: list[JobEvent] = []
    size = 0
    for pending in waiting:
        body = pending.body
        if not isinstance(body, EventsMessage) or body.hyperparameters:
            break
        size += sum(len(msgspec.json.encode(event)) + 1 for event in body.events)
        if messages and (size > BATCH_BYTES or len(events) + len(body.events) > BATCH_EVENTS):
            break
        messages.append(pending)
        events += body.events
    if not messages:
        return [pending], pending.body
    return messages, EventsMessage(events)


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
        self._last_response = time.monotonic()
        self._lost = threading.Event()
        self._refusal: RefusedReportError | None = None
        self._is_pausing = self._is_disk_full = False
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
        start = msgspec.json.decode(data, type=StartResponse)
        job = JobObject.from_documents("", "", start.job, start.internal)
        return JobStart(job, start.reported_step, start.published_steps, is_remote=True)

    def beat(self) -> Command:
        """Report that the process runs, and return what it is to do.

        If the service is lost, it is to save its state and end, as for a pause.
        """
        if self.is_lost:
            return "pause"
        try:
            data = self._request("beat", EmptyMessage(), 2 * self._timing.beat)
        except NO_RESPONSE:
            if time.monotonic() - self._last_response < self._timing.lost:
                return "continue"
            self._lose()
            return "pause"
        command = msgspec.json.decode(data, type=BeatResponse).command
        if command == "pause":
            with self._changed:
                self._is_pausing = True
                self._changed.notify_all()
        return command

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
        """Queue a message, and return its response if the caller waits for it.

        Raises:
            LostServiceError: The caller waits for a response, and the service is lost, or accepts
                no events while the process is to be paused.
            RefusedReportError: The service refuses this message, or has refused an earlier one.
        """
        pending = Pending(path, body)
        with self._changed:
            if self._sender is None:
                self._sender = threading.Thread(target=self._send_all, name="reports", daemon=True)
                self._sender.start()
            self._changed.wait_for(lambda: len(self._waiting) < MAX_WAITING or self._stops_waiting)
            if not self._is_closed:
                self._waiting.append(pending)
                self._changed.notify_all()
            if wait:
                self._changed.wait_for(lambda: pending.response is not None or self._stops_waiting)
        if self._refusal:
            raise self._refusal
        if wait and pending.response is None:
            is_full = self._is_disk_full and not self.is_lost
            raise LostServiceError(
                "the disk of the service is nearly full"
                if is_full
                else "the service cannot be reached"
            )
        return pending.response or b""

    @property
    def _is_closed(self) -> bool:
        """True once no message will be answered any more."""
        return self.is_lost or self._refusal is not None

    @property
    def _stops_waiting(self) -> bool:
        """True if no caller is to wait for a response: a full disk must not delay a pause."""
        return self._is_closed or (self._is_pausing and self._is_disk_full)

    def _lose(self) -> None:
        with self._changed:
            self._lost.set()
            self._changed.notify_all()

    def _send_all(self) -> None:
        """Send the messages in their order, as the thread that does so."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                messages, body = next_batch(self._waiting)
            response = self._repeat(messages[0].path, body)
            if response is None:
                return
            with self._changed:
                for pending in messages:
                    pending.response = response
                    self._waiting.popleft()
                self._is_disk_full = False
                self._changed.notify_all()

    def _repeat(self, path: str, body: Struct) -> bytes | None:
        """Send a message until it is answered. Return None if it will not be."""
        delay = self._timing.backoff / 16
        while not self.is_lost:
            try:
                return self._request(path, body, self._timing.response)
            except RefusedReportError as error:
                with self._changed:
                    self._refusal = error
                    self._changed.notify_all()
                return None
            except NO_RESPONSE as error:
                if time.monotonic() - self._last_response > self._timing.lost:
                    self._lose()
                with self._changed:
                    self._is_disk_full = isinstance(error, FullServiceError)
                    self._changed.notify_all()
            time.sleep(delay)
            delay = min(2 * delay, self._timing.backoff)
        return None

    def _request(self, path: str, body: Struct, timeout: float) -> bytes:
        """Return the response to a request.

        Raises:
            RefusedReportError: It is an error.
            FullServiceError: It is that the disk of the service is nearly full.
            OSError, http.client.HTTPException, urllib.error.URLError: There is none.
        """
        request = urllib.request.Request(  # noqa: S310, the scheme is checked
            f"{self._base}/{path}", msgspec.json.encode(body), self._headers, method="POST"
        )
        try:
            with self._opener.open(request, timeout=timeout) as response:
                data: bytes = response.read(RESPONSE_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == FULL:
                    raise FullServiceError("the disk of the service is nearly full") from error
                if error.code >= http.client.INTERNAL_SERVER_ERROR or error.code in BUSY:
                    raise OSError(f"HTTP status {error.code}") from error
                self._last_response = time.monotonic()
                if error.code == STALE:
                    self._end(STALE_EXIT_CODE)
                raise _refusal(error) from error
        self._last_response = time.monotonic()
        return data


def _refusal(error: urllib.error.HTTPError) -> RefusedReportError:
    try:
        reason = msgspec.json.decode(error.read(RESPONSE_BYTES))["error"]["message"]
    except (*NO_RESPONSE, ValueError, LookupError, TypeError):
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
