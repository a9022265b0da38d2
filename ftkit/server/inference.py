"""Text generation by a separate process, which is started on demand and ended when it is idle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from msgspec import Struct

from ftkit._local import RUN_MODULE
from ftkit._private import open_private
from ftkit.server.errors import (
    BusyError,
    InternalError,
    InvalidRequestError,
    LimitReachedError,
    MissingObjectError,
    ServiceError,
    UnavailableError,
)
from ftkit.server.folder import COMPLETIONS_LOG, Folder
from ftkit.server.models import ModelRef
from ftkit.server.objects import new_id

IDLE_SECONDS = 600.0
"""Seconds without a request after which the process is ended, to free its memory for training."""

MAX_PENDING = 256
"""Maximum number of pending requests."""

MAX_PENDING_OF_TENANT = 64
"""Maximum number of pending requests of a tenant."""

MAX_LINE_BYTES = 16 << 20
"""Maximum size of a response line of the process."""

MAX_UNREAD_BYTES = 4 << 20
"""Size of the unread responses to a request from which on it fails; a stream may be read slowly."""

PROCESS_ENDED = "The generation process ended; try again."
"""Message for requests that the process did not complete."""

UNREAD = "The client reads the stream too slowly, so that the rest is not generated."
"""Message for requests with too many unread responses."""

logger = logging.getLogger("ftkit.server")


class Pending(Struct):
    """A request that the process has not completed.

    Attributes:
        tenant: Tenant that sent it.
        responses: Responses to the request that were not read yet, with their sizes in bytes.
        process: Process that the request was sent to, or None before that.
        unread: Size of the unread responses in bytes.
        has_failed: The last response is an error; further ones are ignored.
    """

    tenant: str
    responses: asyncio.Queue[tuple[int, dict[str, Any]]]
    process: asyncio.subprocess.Process | None = None
    unread: int = 0
    has_failed: bool = False

    def add(self, response: dict[str, Any], size: int = 0) -> None:
        """Add a response."""
        if not self.has_failed:
            self.unread += size
            self.responses.put_nowait((size, response))

    async def next_response(self) -> dict[str, Any]:
        """Return the next response."""
        size, response = await self.responses.get()
        self.unread -= size
        return response

    def fail(self, message: str, code: str) -> None:
        """Have an error follow the responses that were read."""
        self.responses = asyncio.Queue()
        self.add({"error": message, "code": code})
        self.has_failed = True


class Generator:
    """Client of the generation process.

    One process serves all requests. `ftkit.server.generation.process` describes its protocol.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._pending: dict[str, Pending] = {}
        self._ends_when_idle = False
        self._start_lock = asyncio.Lock()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._readers: set[asyncio.Task[None]] = set()

    async def generate(
        self, served: ModelRef, tenant: str, fields: dict[str, Any]
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Send a request to the process and yield the responses.

        The request is cancelled if the generator is closed before the last response.

        Args:
            served: Model to generate with.
            tenant: Tenant that sent the request.
            fields: Fields of the request: the prompt and the sampling parameters.

        Raises:
            BusyError: Too many requests are pending.
            ServiceError: The process returned an error.
        """
        self._check_pending(tenant)
        id = new_id("")
        pending = self._pending[id] = Pending(tenant, asyncio.Queue())
        self._stop_idle_timer()
        request = {
            "id": id,
            "base": served.base,
            "job": served.job,
            "step": served.step,
            "recipe": served.recipe,
            "tenant": tenant,
            **fields,
        }
        finished = False
        try:
            pending.process = await self._running_process()
            try:
                await _send(pending.process, request)
            except OSError as error:  # a closed pipe
                raise InternalError(PROCESS_ENDED) from error
            while not finished:
                response = await pending.next_response()
                finished = "done" in response or "error" in response
                if "error" in response:
                    raise _error(response)
                yield response
        finally:
            del self._pending[id]
            if not finished and pending.process:
                with contextlib.suppress(OSError):
                    await _send(pending.process, {"cancel": id})
            self._end_if_idle()

    def _check_pending(self, tenant: str) -> None:
        """Raise `BusyError` if too many requests are pending, in all or of a tenant."""
        counts = Counter(pending.tenant for pending in self._pending.values())
        for count, limit in (
            (counts[tenant], MAX_PENDING_OF_TENANT),
            (counts.total(), MAX_PENDING),
        ):
            if count >= limit:
                raise BusyError(
                    f"{limit} requests are pending already; try again later.",
                    code="rate_limit_exceeded",
                )

    async def _running_process(self) -> asyncio.subprocess.Process:
        """Return the process, started if necessary."""
        async with self._start_lock:
            if self._process is None or self._process.returncode is not None:
                self._process = await self._start()
            return self._process

    async def _start(self) -> asyncio.subprocess.Process:
        self._ends_when_idle = False
        command = [*RUN_MODULE, "ftkit.server.worker", "generate", str(self._folder.root)]
        pipe = asyncio.subprocess.PIPE
        with open_private(self._folder.root / COMPLETIONS_LOG, "wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=pipe,
                stdout=pipe,
                stderr=log,
                limit=MAX_LINE_BYTES,
                start_new_session=True,
                cwd=self._folder.working_directory,
            )
        # The event loop itself keeps only a weak reference to the task.
        reader = asyncio.create_task(self._read(process))
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        return process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Hand each response of the process to its request, and an error to the rest at its end."""
        assert process.stdout
        try:
            async for line in process.stdout:
                response = json.loads(line)
                pending = self._pending.get(response["id"])
                if pending and pending.unread:
                    await asyncio.sleep(0)  # buffered lines alone do not let others read
                if pending:
                    self._add_response(pending, response, len(line))
        except ValueError:  # for example a line that is too long
            logger.exception("The generation process is ended, since it sent an invalid response")
            process.kill()
        await process.wait()
        for pending in self._pending.values():
            if pending.process is process:
                pending.add({"error": PROCESS_ENDED, "code": "server_error"})

    def _add_response(self, pending: Pending, response: dict[str, Any], size: int) -> None:
        """Add a response to its request, which fails if its client does not read them."""
        if pending.unread <= MAX_UNREAD_BYTES:
            pending.add(response, size)
        elif not pending.has_failed:
            pending.fail(UNREAD, "rate_limit_exceeded")
            if pending.process and pending.process.stdin:
                pending.process.stdin.write(_encode({"cancel": response["id"]}))

    def end_when_idle(self) -> None:
        """Kill the process as soon as no request is pending, to free its memory for training.

        The next request starts another process.
        """
        self._ends_when_idle = True
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        """Kill the process if no request is pending: at once if that was asked for, or later."""
        self._stop_idle_timer()
        if self._pending:
            return
        if self._ends_when_idle:
            self.end()
        else:
            self._idle_timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.end)

    def _stop_idle_timer(self) -> None:
        if self._idle_timer:
            self._idle_timer.cancel()
            self._idle_timer = None

    def end(self) -> None:
        """Kill the process."""
        process, self._process = self._process, None
        if process and process.returncode is None:
            process.kill()


async def _send(process: asyncio.subprocess.Process, request: dict[str, Any]) -> None:
    assert process.stdin
    process.stdin.write(_encode(request))
    await process.stdin.drain()


def _encode(request: dict[str, Any]) -> bytes:
    return msgspec.json.encode(request) + b"\n"


def _error(response: dict[str, Any]) -> ServiceError:
    """Return the error of a response as that of a request."""
    message, code = response["error"], response["code"]
    if code == "server_error":
        return InternalError(message)
    if code == "out_of_memory":
        return UnavailableError(message, code=code)
    if code == "rate_limit_exceeded":
        return LimitReachedError(message, code=code)
    if code == "model_not_found":
        return MissingObjectError(message, "model", code)
    return InvalidRequestError(message, response.get("param"), code)
