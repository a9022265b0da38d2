"""HTTP connections: their number is limited, and slow clients are disconnected.

A connection waits for its client while it receives a request, and while the client does not take
the response. It must not wait for long, and the service never waits at its limit: a new connection
takes the place of the one whose client has been silent longest.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ftkit.server.request_ids import new_request_id

MAX_CONNECTIONS = 1_000
"""Maximum number of connections, if the limit on open files allows that many."""

RESERVED_FILES = 128
"""Open files that the service needs besides its connections: databases, pipes, logs."""

FILES_PER_CONNECTION = 2
"""Open files of a connection: the socket, and the file that it receives or sends."""

BACKLOG = 128
"""Maximum number of connections that wait to be accepted."""

HEADER_SECONDS = 10.0
"""Maximum time until the headers of a request are complete.

Idle connections are kept for as long. It must be longer than the 5 seconds for which httpx, and so
OpenAI's client, uses a connection again: a request that is sent just as it is closed would be lost.
"""

RATE_SECONDS = 30.0
"""Time over which the transfer of a request's body is measured."""

RATE_BYTES = 30_000
"""Minimum number of bytes that a client must send in `RATE_SECONDS`."""

RESPONSE_SECONDS = 300.0
"""Maximum time in which a client takes none of the response.

The operating system buffers megabytes, so a slow client seems to take them all at once.
"""

POLL_SECONDS = 1.0
"""Seconds between checks for slow clients."""

RETRY_SECONDS = 0.1
"""Seconds until a connection is accepted after that failed, or no place was free."""

State = Literal["request", "body", "response", "service"]
"""Cause of a wait: the client, which has to send a request or its body or to take the response, or
the service."""

logger = logging.getLogger("uvicorn.error")


def connection_limit() -> int:
    """Return the maximum number of connections, after raising the limit on open files."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MAX_CONNECTIONS
    needed = MAX_CONNECTIONS * FILES_PER_CONNECTION + RESERVED_FILES
    files, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < needed:
        files = needed if maximum == resource.RLIM_INFINITY else min(needed, maximum)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, maximum))
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, (files - RESERVED_FILES) // FILES_PER_CONNECTION))


class Connection(H11Protocol):
    """HTTP/1.1 connection that knows how long it has waited for its client.

    Attributes:
        last_progress: Time at which the client last sent or took data, or the service last worked.
    """

    # uvicorn has no interface for this. What is used of its internals, here and in `Server`:
    # `handle_events`, `send_400_response`, `on_response_complete`, `cycle` (`response_started`,
    # `response_complete`, `more_body`), `flow.read_paused`, `conn` (of h11),
    # `server_state.connections`, `lifespan.state`, `startup` and `shutdown`. Tested with uvicorn
    # 0.54 and h11 0.16.

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._state: State = "request"
        self._buffered = 0
        self._restart()

    def _restart(self) -> None:
        """Measure the client's progress from now on."""
        self.last_progress = self._start = self.loop.time()
        self._received = 0

    def data_received(self, data: bytes) -> None:
        """Process data from the client."""
        self.last_progress = self.loop.time()
        self._received += len(data)
        super().data_received(data)

    def handle_events(self) -> None:
        """Process what was received, such as the headers of a request."""
        cycle = self.cycle
        super().handle_events()
        if self.cycle is not cycle:
            self._restart()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._restart()
        super().on_response_complete()

    def resume_writing(self) -> None:
        """Continue the response, after the client took most of what was buffered."""
        self._restart()
        super().resume_writing()

    @property
    def state(self) -> State:
        """Cause of the connection's wait."""
        if self.transport.get_write_buffer_size():
            return "response"
        if self.cycle is None or self.cycle.response_complete:
            # The rest of a body may follow, which is ignored.
            return "body" if self.conn.their_state is h11.SEND_BODY else "request"
        return "body" if self.cycle.more_body and not self.flow.read_paused else "service"

    def check(self) -> None:
        """Close the connection if its client is too slow."""
        state, buffered = self.state, self.transport.get_write_buffer_size()
        if state != self._state or state == "service" or buffered < self._buffered:
            self._restart()
        self._state, self._buffered = state, buffered
        waited = self.loop.time() - self._start
        if state == "service":
            return  # its work may take as long as it needs
        if state == "body":
            if waited > RATE_SECONDS:
                if self._received < RATE_BYTES:
                    self._time_out()
                self._start, self._received = self.loop.time(), 0
        elif waited > (HEADER_SECONDS if state == "request" else RESPONSE_SECONDS):
            self._time_out()

    def _time_out(self) -> None:
        """Close the connection, with a response if the client still expects one."""
        unanswered = self.cycle is not None and not self.cycle.response_started
        if self.transport.is_closing() or self._state == "response":
            self.transport.abort()
            return
        if unanswered or (self._state == "request" and self._received):
            self.transport.write(_plain_response("408 Request Timeout"))
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Respond to a request that is not HTTP, and close the connection."""
        self.transport.write(_plain_response("400 Bad Request", msg))
        self.transport.close()


def _plain_response(status: str, text: str = "") -> bytes:
    """Return a response outside of the application."""
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
        f"content-length: {len(text)}\r\nx-request-id: {new_request_id()}\r\n\r\n"
    )
    return (head + text).encode("ascii")


class Server(uvicorn.Server):
    """HTTP server with a limited number of connections.

    Args:
        config: Configuration of uvicorn.
        on_ready: Called once the server accepts requests.
    """

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._limit = connection_limit()
        self._tasks: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections on listening sockets."""
        await super().startup([])
        if not self.started:
            return
        for listener in sockets or ():
            listener.setblocking(False)
            self._tasks.append(asyncio.create_task(self._accept(listener)))
        self._tasks.append(asyncio.create_task(self._check_connections()))
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, and finish the open requests."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().shutdown(sockets)

    @property
    def _connections(self) -> list[Connection]:
        return [item for item in self.server_state.connections if isinstance(item, Connection)]

    async def _accept(self, listener: socket.socket) -> None:
        """Accept connections one by one: asyncio's own server would accept more than fit."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(listener)
                await self._make_room()
                await loop.connect_accepted_socket(self._create_connection, client)
            except Exception as error:  # for example too many open files, or the client is gone
                logger.warning("Cannot accept a connection: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    def _create_connection(self) -> Connection:
        return Connection(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def _make_room(self) -> None:
        """Wait until a connection is free, after closing the one with the most silent client."""
        while len(self.server_state.connections) >= self._limit:
            waiting = [item for item in self._connections if item.state != "service"]
            slowest = min(waiting, key=lambda connection: connection.last_progress, default=None)
            if slowest:
                slowest.transport.abort()
            await asyncio.sleep(0 if slowest else RETRY_SECONDS)

    async def _check_connections(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            for connection in self._connections:
                connection.check()
