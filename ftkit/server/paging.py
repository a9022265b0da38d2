"""What the routes share: pages of a list, and the objects of one tenant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from ftkit.server.errors import invalid, not_there
from ftkit.server.store import Kind, Store

MOST = 100


def shown(data: bytes) -> Response:
    """An answer of JSON that is written already."""
    return Response(data, media_type="application/json")


def as_json(value: Any) -> Response:
    """An answer of JSON."""
    return shown(json.dumps(value).encode())


def page(
    request: Request,
    store: Store,
    kind: Kind,
    tenant: str,
    *,
    parent: str = "",
    most: int = MOST,
    usual: int = 20,
    equal: Mapping[str, str] | None = None,
) -> Response:
    """The page that the query asks for with `limit`, `after` and `order`."""
    after, limit, order = (
        request.query_params.get(name, "") for name in ("after", "limit", "order")
    )
    if limit and not (
        limit.isdecimal() and len(limit) <= len(str(most)) and 1 <= int(limit) <= most
    ):
        raise invalid(
            f"Invalid 'limit': expected a number from 1 to {most:,}, got '{limit[:20]}'.",
            "limit",
            "invalid_value",
        )
    if order not in ("", "asc", "desc"):
        raise invalid(
            f"Invalid 'order': expected asc or desc, got '{order[:20]}'.", "order", "invalid_value"
        )
    if after and store.get(kind, after, tenant) is None:
        raise not_there(kind, after, "after")
    found, more = store.page(
        kind,
        tenant,
        parent=parent,
        after=after,
        limit=int(limit or usual),
        oldest_first=order == "asc",
        equal=equal,
    )
    ends = (
        {"first_id": _id(found[0]), "last_id": _id(found[-1])}
        if found
        else {"first_id": None, "last_id": None}
    )
    rest = json.dumps({"has_more": more, **ends}).encode()
    return shown(b'{"object": "list", "data": [' + b", ".join(found) + b"], " + rest[1:])


def _id(data: bytes) -> str:
    found: str = json.loads(data)["id"]
    return found


def one(
    store: Store,
    kind: Kind,
    id: str,
    tenant: str,
    what: str,
    param: str = "id",
    code: str | None = None,
) -> Response:
    """The object of that id; raises `Refusal`."""
    found = store.text(kind, id, tenant)
    if found is None:
        raise not_there(what, id, param, code)
    return shown(found)
