"""What the routes read from a request: the parts of the service, whose it is, and its body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Request

from ftkit.server.bodies import BODY_BYTES, read_body
from ftkit.server.errors import too_large

if TYPE_CHECKING:
    from ftkit.server.app import Parts

T = TypeVar("T")


def parts_of(request: Request) -> tuple[Parts, str]:
    """What the routes work with, and whose the request is."""
    parts: Any = request.app.state.parts
    return parts, request.state.tenant


async def body_of(request: Request, type: type[T]) -> T:
    """The JSON of the body as `type`; raises `Refusal`."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_BYTES:
            raise too_large("The body", BODY_BYTES)
    return read_body(bytes(data), type)
