"""Log of requests: a line with the method, path, status and duration of each."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftkit._text import printable

HEALTH = "/health"
"""Path of health checks, by which every command looks for the service. They are not logged."""

MAX_PATH = 200
"""Maximum number of characters of a path that are logged."""

logger = logging.getLogger("ftkit.requests")


def start_request_log() -> None:
    """Write the log of requests to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


class RequestLogMiddleware:
    """ASGI middleware: logs each request when its response has ended."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or scope["path"] == HEALTH:
            await self._app(scope, receive, send)
            return
        status: int | str = "no response"
        start = time.monotonic()

        async def send_and_read_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_read_status)
        finally:
            request = printable(f"{scope['method'][:MAX_PATH]} {scope['path'][:MAX_PATH]}")
            logger.info("%s  %s  %.2f s", request, status, time.monotonic() - start)
