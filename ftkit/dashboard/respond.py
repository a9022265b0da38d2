"""Responses with pages: templates, headers, and pages for errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ftkit._version import __version__
from ftkit.dashboard.static import static_url
from ftkit.pages.page import environment
from ftkit.server.errors import EXCERPT, ServiceError
from ftkit.server.responses import error_status

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Content security policy of each page."""

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""Headers of each page."""

SCRIPTS = ("vendor/htmx.js", "dashboard.js")
"""Scripts of each page."""

UPDATE_SECONDS = 2
"""Seconds between updates of a part of a page, as `update_seconds` in templates."""

Endpoint = Callable[[Request], Awaitable[Response]]


class NavigationLink(Struct, frozen=True):
    """Link to a page in the navigation."""

    title: str
    path: str


NAVIGATION = (
    NavigationLink("Jobs", "/"),
    NavigationLink("New job", "/new"),
    NavigationLink("Files", "/files"),
    NavigationLink("Playground", "/playground"),
    NavigationLink("Devices", "/devices"),
)
"""The pages in the navigation."""


def respond(
    request: Request,
    template: str,
    *,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    status: int = 200,
    **values: Any,
) -> Response:
    """Return a page, or a part of one.

    Args:
        request: Request that it answers.
        template: Name of a template in `templates/dashboard/` or else in `templates/`, without its
            ending.
        scripts: Scripts besides `SCRIPTS`, in the order in which they are loaded.
        styles: Style sheets besides that of all pages.
        status: HTTP status.
        **values: Values for the template. Texts are escaped, and made printable.
    """
    names = (f"dashboard/{template}.html", f"{template}.html")
    page = environment().select_template(names)
    path = request.url.path
    text = page.render(
        here=path,
        navigation=NAVIGATION,
        needs_login=request.app.state.authenticator.needs_keys,
        is_logged_in=hasattr(request.state, "tenant"),
        styles=[static_url(name) for name in ("ftkit.css", *styles)],
        scripts=[static_url(name) for name in (*SCRIPTS, *scripts)],
        version=__version__,
        update_seconds=UPDATE_SECONDS,
        **values,
    )
    return HTMLResponse(text.encode("utf-8", "replace"), status, HEADERS)


def not_found(request: Request) -> Response:
    """Return the page for an address that does not exist."""
    message = f"There is no page {request.url.path[:EXCERPT]}."
    return respond(request, "error", status=404, title="Not found", message=message)


def page(endpoint: Endpoint) -> Endpoint:
    """Decorate the endpoint of a page: errors of the service become pages."""
    return _explaining(endpoint, "error")


def fragment(endpoint: Endpoint) -> Endpoint:
    """Decorate the endpoint of a part of a page: errors of the service replace the part."""
    return _explaining(endpoint, "problem")


def _explaining(endpoint: Endpoint, template: str) -> Endpoint:
    @wraps(endpoint)
    async def respond_or_explain(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ServiceError as error:
            status = error_status(error)
            return respond(
                request,
                template,
                status=status,
                title="Not found" if status == 404 else "Error",
                message=str(error),
            )

    return respond_or_explain
