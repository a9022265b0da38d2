"""Settings of a Ray cluster that trains the jobs of the service."""

from __future__ import annotations

import ipaddress

from msgspec import Struct


class RaySettings(Struct, frozen=True):
    """Settings of a cluster.

    Attributes:
        url: Address of its dashboard, such as http://HEAD:8265.
        service_url: Address at which its nodes reach the service, without a path, or "" for the one
            that the service listens on.
        token: Token of a cluster with token authentication, or "".
    """

    url: str
    service_url: str = ""
    token: str = ""


def service_metadata(id: str) -> dict[str, str]:
    """Return the metadata that Ray shows of the jobs of a service with that id."""
    return {"ftkit_service": id}


def connectable_host(host: str) -> str:
    """Return the host that a service on this machine is reached at, from its address to listen on.

    A wildcard such as "::" stands for all addresses, also that of loopback.
    """
    try:
        is_wildcard = ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        is_wildcard = False
    return "127.0.0.1" if is_wildcard else host
