"""Cursor pagination of lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct

PAGE_SIZE = 100
"""Items per page, the maximum of the protocol."""


class Page(Struct, frozen=True):
    """One page of a list.

    Attributes:
        items: JSON objects as the provider sent them.
        has_more: False if this is the last page, None if the provider does not say.
    """

    items: list[dict[str, Any]]
    has_more: bool | None

    @classmethod
    def read(cls, response: Any) -> Page:
        """Return the page in a decoded response. Raises `ValueError` if it has none."""
        body: Any = json.loads(response) if isinstance(response, str) else response
        if body.get("error"):
            raise ValueError(f"an error: {body['error']}")
        items = list(body.get("data") or ())
        if not all(isinstance(item, dict) for item in items):
            raise ValueError("an item of the list is not an object")
        return cls(items, body.get("has_more"))

    @property
    def last_id(self) -> str:
        """Id of the last item whose id can be part of a request, or "".

        The next page begins after that item, so it may repeat the items without such an id.
        """
        ids = [str(item.get("id") or "") for item in reversed(self.items)]
        return next((id for id in ids if id and _is_encodable(id)), ids[0] if ids else "")


def paginate(
    fetch: Callable[[dict[str, Any]], Page], parameters: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the items of a list, fetching each page when it is needed.

    Args:
        fetch: Returns the page for some query parameters.
        parameters: Query parameters of the first page.
    """
    parameters, last_id = dict(parameters), ""
    while True:
        page = fetch(parameters)
        if page.last_id and page.last_id == last_id:
            return  # the provider ignores `after` and has sent the same page again
        yield from page.items
        if not page.last_id or page.has_more is False:
            return
        parameters["after"] = last_id = page.last_id


def _is_encodable(id: str) -> bool:
    """Return False for half of a surrogate pair."""
    try:
        id.encode()
    except UnicodeEncodeError:
        return False
    return True


def path_segment(id: str) -> str:
    """Quote an id as one segment of a URL path; a segment of dots would name another path."""
    return quote(id, safe="") if id.strip(".") else id.replace(".", "%2E")
