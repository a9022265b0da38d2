"""Cursor pagination of lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from ftkit._text import is_encodable
from ftkit.errors import InvalidResponseError

PAGE_SIZE = 100
"""Items per page, the maximum of the protocol."""

MAX_PAGES = 100_000
"""Number of pages after which a list counts as endless."""


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
        """Return the page in a JSON response. Raises `ValueError` if it has none."""
        if not isinstance(response, dict) or not isinstance(response.get("data") or [], list):
            raise ValueError("it holds no list")  # noqa: TRY004 - of the response
        items = response.get("data") or []
        if not all(isinstance(item, dict) for item in items):
            raise ValueError("an item of the list is not an object")
        has_more = response.get("has_more")
        return cls(items, has_more if isinstance(has_more, bool) else None)

    @property
    def last_id(self) -> str:
        """Id of the last item whose id can be part of a request, or "".

        The next page begins after that item, so it may repeat the items without such an id.
        """
        ids = (item.get("id") for item in reversed(self.items))
        return next((id for id in ids if isinstance(id, str) and is_encodable(id)), "")


def paginate(
    fetch: Callable[[dict[str, Any]], Page], parameters: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the items of a list, fetching each page when it is needed.

    Args:
        fetch: Returns the page for some query parameters.
        parameters: Query parameters of the first page.

    Raises:
        InvalidResponseError: The list has more than `MAX_PAGES` pages, or cannot be continued.
    """
    parameters, cursors = dict(parameters), set[str]()
    while len(cursors) < MAX_PAGES:
        page = fetch(parameters)
        if page.last_id in cursors:
            return  # the provider ignores `after` and has sent the same page again
        yield from page.items
        if page.has_more and not page.last_id:
            raise InvalidResponseError("the list goes on, but no item has an id to go on after")
        if not page.last_id or page.has_more is False:
            return
        parameters["after"] = page.last_id
        cursors.add(page.last_id)
    raise InvalidResponseError(f"the list does not end after {MAX_PAGES:,} pages")
