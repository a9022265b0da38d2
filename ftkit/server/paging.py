"""List endpoints: pages with `limit`, `after` and `order`, as in OpenAI's API."""

from __future__ import annotations

import json
from collections.abc import Mapping

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from ftkit.server.context import get_context
from ftkit.server.database import PageQuery
from ftkit.server.errors import EXCERPT, InvalidRequestError, missing_object
from ftkit.server.objects import StoredObject
from ftkit.server.responses import encoded_response


class PageSize(Struct, frozen=True):
    """Maximum and default number of objects on a page."""

    maximum: int = 100
    default: int = 20


def list_response(
    request: Request,
    type: type[StoredObject],
    *,
    parent: str = "",
    size: PageSize = PageSize(),  # noqa: B008, immutable
    equal: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Response:
    """Return the page that the query parameters select.

    Args:
        request: Request whose query parameters are `limit`, `after` and `order`.
        type: Type of the objects.
        parent: Id of the object that they belong to, or "".
        size: Bounds of `limit`.
        equal: Values that the public JSON must have, by JSON path.
        metadata: Values that the metadata must have, by key.

    Raises:
        InvalidRequestError: A query parameter is invalid.
        MissingObjectError: There is no object with the id `after`.
    """
    service, tenant = get_context(request)
    after, order = (request.query_params.get(name, "") for name in ("after", "order"))
    limit = _parse_limit(request.query_params.get("limit", ""), size)
    if order not in ("", "asc", "desc"):
        message = f"Invalid 'order': expected asc or desc, got '{order[:EXCERPT]}'."
        raise InvalidRequestError(message, "order", "invalid_value")
    if after and service.database.get(type, after, tenant) is None:
        raise missing_object(type.title, after, "after")
    query = PageQuery(
        parent=parent,
        after=after,
        limit=limit,
        oldest_first=order == "asc",
        equal=equal or {},
        metadata=metadata or {},
    )
    rows, has_more = service.database.page(type, tenant, query)
    ends = {
        "first_id": _id(rows[0]) if rows else None,
        "last_id": _id(rows[-1]) if rows else None,
    }
    tail = json.dumps({"has_more": has_more, **ends}).encode()
    return encoded_response(b'{"object": "list", "data": [' + b", ".join(rows) + b"], " + tail[1:])


def _parse_limit(text: str, size: PageSize) -> int:
    if not text:
        return size.default
    # The length is checked first: Python refuses to convert texts of thousands of digits.
    short = text.isascii() and text.isdecimal() and len(text) <= len(str(size.maximum))
    if not short or not 1 <= int(text) <= size.maximum:
        raise InvalidRequestError(
            f"Invalid 'limit': expected a number from 1 to {size.maximum:,},"
            f" got '{text[:EXCERPT]}'.",
            "limit",
            "invalid_value",
        )
    return int(text)


def _id(data: bytes) -> str:
    return str(json.loads(data)["id"])


def object_response(request: Request, type: type[StoredObject], id: str) -> Response:
    """Return the tenant's object with that id.

    Raises:
        MissingObjectError: The object does not exist.
    """
    service, tenant = get_context(request)
    data = service.database.encoded(type, id, tenant)
    if data is None:
        raise type.missing(id)
    return encoded_response(data)
