"""Pages for browsers that the service has beside its API."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ftkit.server.database import Database
from ftkit.server.folder import Folder


class WebPages(Struct, frozen=True):
    """Pages for browsers.

    Attributes:
        routes: Their routes. Requests are authenticated as those of the API are.
        login: Path of the page to which browsers without a login are redirected.
        open_paths: Paths that need no login, such as that of the login itself. With a slash at the
            end, all paths below one.
        not_found: Returns the page for an address that does not exist.
        create_state: Returns what the pages keep between requests, the `page_state` of the
            application. It is called once, with the data folder and the database of the service,
            and True if the service has API keys.
        part_header: Header, in lower case, of requests for a part of a page: its value is the
            address of the page.
        redirect_header: Header of responses to these whose address the page goes to.
        prepare: Does what the first request for a page would have to wait for.
    """

    routes: Sequence[Route]
    login: str
    open_paths: tuple[str, ...]
    not_found: Callable[[Request], Response]
    create_state: Callable[[Folder, Database, bool], object]
    part_header: str
    redirect_header: str
    prepare: Callable[[], None]
