"""Pages for browsers that the service has beside its API."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class WebPages(Struct, frozen=True):
    """Pages for browsers.

    Attributes:
        routes: Their routes. Requests are authenticated as those of the API are.
        login: Path of the page to which browsers without a login are redirected.
        open_paths: Paths that need no login, such as that of the login itself. With a slash at the
            end, all paths below one.
        not_found: Returns the page for an address that does not exist.
        part_header: Header, in lower case, of requests for a part of a page: its value is the
            address of the page.
        redirect_header: Header of responses to these whose address the page goes to.
        prepare: Does what the first request for a page would have to wait for.
    """

    routes: Sequence[Route]
    login: str
    open_paths: tuple[str, ...]
    not_found: Callable[[Request], Response]
    part_header: str
    redirect_header: str
    prepare: Callable[[], None]
