"""Request ids: the header `x-request-id` of every response, as in OpenAI's API."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftkit.server.objects import new_id

HEADER = b"x-request-id"


def new_request_id() -> str:
    """Return the id of a new request."""
    return new_id("req_", 32)


class RequestIdMiddleware:
    """ASGI middleware: adds an id to each response, and to the log of an unexpected error."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id = new_request_id()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (HEADER, id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            error.add_note(f"x-request-id of the response: {id}")
            raise
