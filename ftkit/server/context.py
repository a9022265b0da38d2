"""Context of a request: the components of the service, the tenant, and the JSON body."""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct
from starlette.requests import Request

from ftkit.server.bodies import BODY_BYTES, read_body
from ftkit.server.database import Database
from ftkit.server.errors import too_large
from ftkit.server.folder import Folder
from ftkit.server.inference import Generator
from ftkit.server.job_limits import TenantLimits
from ftkit.server.models import ModelRegistry
from ftkit.server.relay import Relay

T = TypeVar("T")


class Service(Struct, frozen=True):
    """Components that the routes use.

    Attributes:
        trains_elsewhere: True if a runner trains the jobs on other machines.
    """

    database: Database
    folder: Folder
    models: ModelRegistry
    generator: Generator
    relay: Relay
    limits: TenantLimits
    trains_elsewhere: bool = False


def get_context(request: Request) -> tuple[Service, str]:
    """Return the components of the service, and the tenant of a request."""
    service: Service = request.app.state.service
    return service, request.state.tenant


async def read_json(request: Request, type: type[T], limit: int = BODY_BYTES) -> T:
    """Return the JSON body of a request as `type`.

    Raises:
        InvalidRequestError: The body is not such JSON.
        TooLargeError: The body is larger than `limit` bytes.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limit:
            raise too_large("The body", limit)
    return read_body(bytes(data), type)
