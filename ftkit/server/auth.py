"""API-key authentication and tenancy.

Each API key is a tenant. Without keys there is one tenant, and only requests from this machine
are accepted. A browser sends an API key once, and then the cookie of its login.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ftkit.server.errors import EXCERPT, AuthenticationError, ForeignOriginError, ServiceError
from ftkit.server.responses import error_response
from ftkit.server.sessions import LoginLimit, Sessions, session_token
from ftkit.server.web_pages import WebPages

LOCAL_TENANT = "local"
"""Tenant of all requests to a service without API keys."""

INTERNAL = "/internal/"
"""Beginning of the paths for training processes, which have tokens instead of API keys."""

API = "/v1/"
"""Beginning of the paths of the API."""

SAFE_METHODS = ("GET", "HEAD")
"""Methods of requests that change nothing."""

HOST = re.compile(r"([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.IGNORECASE)
"""`Host` header: a name or an IP address, and optionally a port."""


class Authenticator:
    """Finds the tenant of a request by its headers.

    Args:
        keys: Accepted API keys.
        hosts: Host names under which a service without API keys accepts requests.
    """

    def __init__(self, keys: tuple[str, ...], hosts: tuple[str, ...]) -> None:
        self._tenants = [
            (key.encode(), hashlib.sha256(key.encode()).hexdigest()[:16]) for key in keys
        ]
        self._hosts = hosts
        self.sessions, self.login_limit = Sessions(), LoginLimit()

    @property
    def needs_keys(self) -> bool:
        """True if requests need an API key, or the cookie of a login."""
        return bool(self._tenants)

    def tenant(self, headers: Mapping[str, str], method: str = "GET") -> str:
        """Return the tenant of a request.

        Args:
            headers: Request headers, with lower-case names.
            method: Request method.

        Raises:
            AuthenticationError: The API key is missing or wrong.
            ForeignOriginError: The service has no API keys, and the request is for another host
                or from a page of another origin; or a request with the cookie of a login is not
                from a page of the service.
        """
        if not self._tenants:
            self.check_origin(headers)
            return LOCAL_TENANT
        authorization = headers.get("authorization")
        if authorization is None:
            tenant = self.sessions.tenant(session_token(headers.get("cookie", "")))
            if tenant is not None:
                check_same_origin(headers, method)
                return tenant
        scheme, _, credentials = (authorization or "").partition(" ")
        key = credentials.strip()
        if key and scheme.lower() == "bearer":
            return self.tenant_of_key(key)
        raise AuthenticationError(
            "Incorrect API key provided."
            if credentials
            else "You didn't provide an API key: send it as a Bearer token.",
            code="invalid_api_key",
        )

    def tenant_of_key(self, key: str) -> str:
        """Return the tenant with an API key.

        Raises:
            AuthenticationError: No tenant has this key.
        """
        token = key.encode()
        # Every key is compared, in constant time, so that the response time reveals nothing.
        matches = [tenant for own, tenant in self._tenants if hmac.compare_digest(own, token)]
        if not matches:
            raise AuthenticationError("Incorrect API key provided.", code="invalid_api_key")
        return matches[0]

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Refuse requests for another host and from other origins, if there are no API keys.

        This prevents DNS rebinding and cross-site requests: a web page could otherwise reach a
        server on loopback through the user's browser.

        Raises:
            ForeignOriginError: See `tenant`.
        """
        if self._tenants:
            return
        name = HOST.fullmatch(headers.get("host", ""))
        if not name or name[1].lower() not in self._hosts:
            host = headers.get("host", "")[:EXCERPT]
            raise ForeignOriginError(
                f"Requests for the host {host} need an API key.", code="forbidden"
            )
        if headers.get("origin") and not _is_same_origin(headers):
            origin = headers["origin"][:EXCERPT]
            raise ForeignOriginError(
                f"Requests from the origin {origin} need an API key.", code="forbidden"
            )


def check_same_origin(headers: Mapping[str, str], method: str) -> None:
    """Refuse requests that change something unless they come from a page of the service.

    Raises:
        ForeignOriginError: The request has another origin, or none.
    """
    if method not in SAFE_METHODS and not _is_same_origin(headers):
        raise ForeignOriginError(
            "Requests with a cookie must come from a page of this service; others need an API key.",
            code="forbidden",
        )


def _is_same_origin(headers: Mapping[str, str]) -> bool:
    """Return True if a request is from a page of its own host. Sandboxed pages have "null"."""
    host, origin = headers.get("host", ""), headers.get("origin", "")
    return bool(host) and origin in (f"http://{host}", f"https://{host}")


class AuthenticationMiddleware:
    """ASGI middleware: authenticates each request and records its tenant.

    Args:
        app: Application that handles the requests.
        authenticator: Finds their tenants.
        internal: Leave the authentication of requests below `INTERNAL` to their routes.
        pages: Pages for browsers, or None.
    """

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        internal: bool = False,
        pages: WebPages | None = None,
    ) -> None:
        self._app, self._authenticator, self._pages = app, authenticator, pages
        self._unchecked = (INTERNAL,) if internal else ()
        self._open = ("/health", *(pages.open_paths if pages else ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; `/health` and the open paths of the pages need no API key."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        path, method = scope["path"], scope["method"]
        try:
            if _is_listed(path, self._open):
                self._authenticator.check_origin(headers)
            elif not _is_listed(path, self._unchecked):
                tenant = self._authenticator.tenant(headers, method)
                scope.setdefault("state", {})["tenant"] = tenant
        except ServiceError as error:
            await self._refusal(error, scope, headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, error: ServiceError, scope: Scope, headers: Mapping[str, str]) -> Response:
        """Return the response to a request without access: a browser is sent to the login.

        A page that updates itself gets the address of the login in a header, since it would show
        the login within itself.
        """
        path, is_read = scope["path"], scope["method"] in SAFE_METHODS
        is_page = is_read and not path.startswith(API)
        if not self._pages or not is_page or not isinstance(error, AuthenticationError):
            return error_response(error)
        query = scope["query_string"].decode("latin-1")
        page = headers.get(self._pages.part_header)
        if page is not None:
            path, query = _path_and_query(page)
        address = f"{path}?{query}" if query else path
        login = f"{self._pages.login}?next={quote(address, safe='/')}"
        if headers.get("sec-fetch-mode", "navigate") == "navigate" and page is None:
            return RedirectResponse(login, 303, {"cache-control": "no-store"})
        response = error_response(error)
        response.headers[self._pages.redirect_header] = login
        return response


def _path_and_query(url: str) -> tuple[str, str]:
    """Return the path and the query of a URL; of one that is invalid, those of the first page."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "/", ""
    return parts.path, parts.query


def _is_listed(path: str, listed: tuple[str, ...]) -> bool:
    """Return True if a path is in a list, or below a path in it that ends with a slash."""
    return any(path.startswith(name) if name.endswith("/") else path == name for name in listed)
