"""Who may ask, and what is theirs. Each key is a tenant; without keys there is one, and only this machine may ask."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from ftkit.server.errors import Refusal

EVERYONE = "local"


class Access:
    """The keys that are taken. Without any, requests must be for one of `hosts`, and not from a page of another origin."""

    def __init__(self, keys: tuple[str, ...], hosts: tuple[str, ...]) -> None:
        self._tenants = [
            (key.encode(), hashlib.sha256(key.encode()).hexdigest()[:16]) for key in keys
        ]
        self._hosts = hosts

    def tenant(self, headers: Mapping[str, str]) -> str:
        """Whose the request is; raises `Refusal`."""
        if not self._tenants:
            self._must_be_from_here(headers)
            return EVERYONE
        kind, _, given = headers.get("authorization", "").partition(" ")
        # All keys are compared, so that the time tells nothing.
        found = [
            tenant
            for key, tenant in self._tenants
            if hmac.compare_digest(key, given.strip().encode())
        ]
        if kind.lower() != "bearer" or not found:
            told = (
                "Incorrect API key provided."
                if given
                else "You didn't provide an API key: send it as a Bearer token."
            )
            raise Refusal(401, told, code="invalid_api_key")
        return found[0]

    def _must_be_from_here(self, headers: Mapping[str, str]) -> None:
        # A page on the web could ask a server on loopback through the user's browser, under a name of its own or of ours. Pages
        # in a sandbox have the origin "null".
        host, origin = headers.get("host", ""), headers.get("origin", "")
        odd = (
            host
            if host and _host(host) not in self._hosts
            else origin
            if origin and origin.partition("://")[2] != host
            else ""
        )
        if odd:
            raise Refusal(
                403,
                f"Requests for or from {odd[:100]} are not taken without a key.",
                code="forbidden",
            )


def _host(named: str) -> str:
    return named if named.endswith("]") else named.rpartition(":")[0] or named
