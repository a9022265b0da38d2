"""API-key authentication and tenancy.

Each API key is a tenant. Without keys there is one tenant, and only requests from this machine
are accepted.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from ftkit.server.errors import EXCERPT, AuthenticationError, ForeignOriginError, ServiceError
from ftkit.server.responses import error_response

LOCAL_TENANT = "local"
"""Tenant of all requests to a service without API keys."""

INTERNAL = "/internal/"
"""Beginning of the paths for training processes, which have tokens instead of API keys."""

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

    def tenant(self, headers: Mapping[str, str]) -> str:
        """Return the tenant of a request.

        Args:
            headers: Request headers, with lower-case names.

        Raises:
            AuthenticationError: The API key is missing or wrong.
            ForeignOriginError: The service has no API keys, and the request is for another host
                or from a page of another origin.
        """
        if not self._tenants:
            self.check_origin(headers)
            return LOCAL_TENANT
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        token = credentials.strip().encode()
        # Every key is compared, in constant time, so that the response time reveals nothing.
        matches = [tenant for key, tenant in self._tenants if hmac.compare_digest(key, token)]
        if scheme.lower() != "bearer" or not matches:
            message = (
                "Incorrect API key provided."
                if credentials
                else "You didn't provide an API key: send it as a Bearer token."
            )
            raise AuthenticationError(message, code="invalid_api_key")
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
        # Sandboxed pages have the origin "null".
        host, origin = headers.get("host", ""), headers.get("origin", "")
        name = HOST.fullmatch(host)
        if not name or name[1].lower() not in self._hosts:
            raise ForeignOriginError(
                f"Requests for the host {host[:EXCERPT]} need an API key.", code="forbidden"
            )
        if origin and origin not in (f"http://{host}", f"https://{host}"):
            raise ForeignOriginError(
                f"Requests from the origin {origin[:EXCERPT]} need an API key.", code="forbidden"
            )


class AuthenticationMiddleware:
    """ASGI middleware: authenticates each request and records its tenant.

    Args:
        app: Application that handles the requests.
        authenticator: Finds their tenants.
        internal: Leave the authentication of requests below `INTERNAL` to their routes.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator, internal: bool = False) -> None:
        self._app, self._authenticator, self._internal = app, authenticator, internal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; `/health` needs no API key."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        try:
            if scope["path"] == "/health":
                self._authenticator.check_origin(headers)
            elif not self._internal or not scope["path"].startswith(INTERNAL):
                scope.setdefault("state", {})["tenant"] = self._authenticator.tenant(headers)
        except ServiceError as error:
            await error_response(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)
