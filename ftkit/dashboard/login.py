"""Login with an API key, for a service that has keys."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ftkit.dashboard.respond import page, respond
from ftkit.server.auth import Authenticator, check_same_origin
from ftkit.server.errors import AuthenticationError, too_large
from ftkit.server.sessions import COOKIE, SESSION_SECONDS, session_token

PATH = "/login"
"""Path of the login."""

FORM_BYTES = 16_384
"""Maximum size of the form."""


@page
async def show(request: Request) -> Response:
    """Return the form, or go on if the service has no API keys or the browser has a login."""
    authenticator, next = _authenticator(request), request.query_params.get("next", "/")
    is_logged_in = authenticator.sessions.tenant(_token(request)) is not None
    if is_logged_in or not authenticator.needs_keys:
        return _redirect(_local_path(next))
    return _form(request, next)


@page
async def log_in(request: Request) -> Response:
    """Start a login, and go to the page that was requested."""
    check_same_origin(request.headers, request.method)
    authenticator = _authenticator(request)
    form = await _read_form(request)
    next, address = form.get("next", "/"), request.client.host if request.client else ""
    seconds = authenticator.login_limit.wait_seconds(address)
    if seconds:
        message = f"Too many failed logins from your address. Try again in {seconds} s."
        response = _form(request, next, message, 429)
        response.headers["retry-after"] = str(seconds)
        return response
    try:
        tenant = authenticator.tenant_of_key(form.get("key", "").strip())
    except AuthenticationError:
        authenticator.login_limit.count_failure(address)
        return _form(request, next, "This API key is not accepted.", 401)
    # The token is always a new one, and never one that the browser sent.
    authenticator.sessions.end(_token(request))
    response = _redirect(_local_path(next))
    response.set_cookie(
        COOKIE,
        authenticator.sessions.start(tenant),
        max_age=SESSION_SECONDS,
        path="/",
        secure=request.headers.get("origin", "").startswith("https://"),
        httponly=True,
        samesite="strict",
    )
    return response


@page
async def log_out(request: Request) -> Response:
    """End the login."""
    check_same_origin(request.headers, request.method)
    _authenticator(request).sessions.end(_token(request))
    response = _redirect(PATH)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


def _authenticator(request: Request) -> Authenticator:
    authenticator: Authenticator = request.app.state.authenticator
    return authenticator


def _token(request: Request) -> str:
    return session_token(request.headers.get("cookie", ""))


def _redirect(path: str) -> Response:
    return RedirectResponse(path, 303, {"cache-control": "no-store"})


def _form(request: Request, next: str, message: str = "", status: int = 200) -> Response:
    return respond(
        request, "login", status=status, title="Log in", next=_local_path(next), message=message
    )


def _local_path(path: str) -> str:
    """Return a path of this service, and "/" instead of an address of another one."""
    is_local = path.startswith("/") and path.isprintable() and path[1:2] not in ("/", "\\")
    return path if is_local else "/"


async def _read_form(request: Request) -> dict[str, str]:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > FORM_BYTES:
            raise too_large("The form", FORM_BYTES)
    return {name: values[0] for name, values in parse_qs(data.decode("utf-8", "replace")).items()}


ROUTES = [
    Route(PATH, show),
    Route(PATH, log_in, methods=["POST"]),
    Route("/logout", log_out, methods=["POST"]),
]
