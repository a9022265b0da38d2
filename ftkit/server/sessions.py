"""Logins of browsers to the pages of the service."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

COOKIE = "ftkit_session"
"""Cookie that holds the token of a login."""

MAX_SESSIONS = 1_000
"""Maximum number of logins of a tenant; the oldest one ends."""

SECONDS = 7 * 86_400
"""Seconds until a login ends."""


class Sessions:
    """Logins, by their tokens. They are kept in memory, so they end with the service.

    Args:
        clock: Returns the time in seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[str, tuple[str, float]] = {}

    def start(self, tenant: str) -> str:
        """Start a login, and return its token."""
        own = [token for token, (owner, _) in self._sessions.items() if owner == tenant]
        for token in own[: len(own) - MAX_SESSIONS + 1]:
            del self._sessions[token]
        token = secrets.token_urlsafe(32)
        self._sessions[token] = tenant, self._clock() + SECONDS
        return token

    def tenant(self, token: str) -> str | None:
        """Return the tenant of a login, or None if there is no such login."""
        tenant, end = self._sessions.get(token, ("", 0.0))
        if not tenant:
            return None
        if self._clock() >= end:
            self.end(token)
            return None
        return tenant

    def end(self, token: str) -> None:
        """End a login, if there is one."""
        self._sessions.pop(token, None)


def session_token(cookies: str) -> str:
    """Return the token in a `Cookie` header, or ""."""
    try:
        morsel = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
