"""Logins of browsers to the pages of the service."""

from __future__ import annotations

import hashlib
import ipaddress
import math
import secrets
import time
from collections import deque
from collections.abc import Callable

COOKIE = "ftkit_session"
"""Cookie that holds the token of a login."""

MAX_SESSIONS = 1_000
"""Maximum number of logins of a tenant; the oldest one ends."""

SESSION_SECONDS = 7 * 86_400
"""Seconds until a login ends."""

MAX_FAILURES = 10
"""Maximum number of failed logins from an address in `FAILURE_SECONDS`."""

FAILURE_SECONDS = 60
"""Seconds for which failed logins count."""

MAX_ADDRESSES = 10_000
"""Maximum number of addresses whose failed logins are counted; the oldest are forgotten."""

NETWORK_BITS = 64
"""Leading bits of an IPv6 address that count: a client usually has all addresses below them."""


class Sessions:
    """Logins, by the SHA-256 of their tokens, so that no comparison reveals a part of a token.

    They are kept in memory, so they end with the service.

    Args:
        clock: Returns the time in seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[bytes, tuple[str, float]] = {}

    def start(self, tenant: str) -> str:
        """Start a login, and return its token."""
        now = self._clock()
        sessions = self._sessions
        for expired in [name for name, (_, end) in sessions.items() if now >= end]:
            del sessions[expired]
        own = [name for name, (owner, _) in sessions.items() if owner == tenant]
        for oldest in own[: max(len(own) - MAX_SESSIONS + 1, 0)]:
            del sessions[oldest]
        token = secrets.token_urlsafe(32)
        sessions[_digest(token)] = tenant, now + SESSION_SECONDS
        return token

    def tenant(self, token: str) -> str | None:
        """Return the tenant of a login, or None if there is no such login."""
        tenant, end = self._sessions.get(_digest(token), (None, 0.0))
        return tenant if self._clock() < end else None

    def end(self, token: str) -> None:
        """End a login, if there is one."""
        self._sessions.pop(_digest(token), None)


class LoginLimit:
    """Counts failed logins by the address of the client, so that keys cannot be guessed quickly.

    Args:
        clock: Returns the time in seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}

    def wait_seconds(self, address: str) -> int:
        """Return the seconds until a client may try again; 0 if it may now."""
        failures = self._failures.get(_network(address))
        if failures is None or len(failures) < MAX_FAILURES:
            return 0
        left = failures[0] + FAILURE_SECONDS - self._clock()
        return max(math.ceil(left), 0)

    def count_failure(self, address: str) -> None:
        """Count a failed login."""
        network = _network(address)
        failures = self._failures.pop(network, deque(maxlen=MAX_FAILURES))
        failures.append(self._clock())
        self._failures[network] = failures  # as the newest
        if len(self._failures) > MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]


def session_token(cookies: str) -> str:
    """Return the token in a `Cookie` header, or "".

    Of two cookies of that name neither counts: servers on other ports of the host can set one.
    """
    pairs = (cookie.partition("=") for cookie in cookies.split(";"))
    tokens = [value.strip() for name, _, value in pairs if name.strip() == COOKIE]
    return tokens[0] if len(tokens) == 1 else ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _network(address: str) -> str:
    """Return an address, or the first half of an IPv6 address."""
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return address
    if version == 4:
        return address
    return str(ipaddress.ip_network(f"{address.partition('%')[0]}/{NETWORK_BITS}", strict=False))
