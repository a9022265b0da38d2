"""`ftkit serve --runner`: a cluster that trains the jobs of the service."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from ftkit._local import is_loopback
from ftkit.errors import UsageError
from ftkit.server.ray_settings import RaySettings, connectable_host

MAX_CLUSTER_JOBS = 10_000
"""Maximum number of concurrent training jobs on a cluster, whose resources are the actual limit."""

EXAMPLE = "http://10.0.0.5:8642"
"""Address of a service in messages."""


def cluster_settings(
    runner: str | None, public_url: str | None, host: str, environment: Mapping[str, str]
) -> RaySettings | None:
    """Return the settings of the cluster that is to train the jobs, or None for this machine.

    Args:
        runner: Value of `--runner`, or None.
        public_url: Value of `--public-url`, or None for the address that the service listens on.
        host: Value of `--host`.
        environment: Environment variables.

    Raises:
        UsageError: A value is invalid, or the nodes of the cluster cannot reach that address.
    """
    if runner is None:
        if public_url:
            raise UsageError("--public-url needs --runner: it is the address for its nodes")
        return None
    kind, _, url = runner.partition("=")
    if kind != "ray" or not url:
        # Anything else may be a URL, which may have a password.
        value = f", not '{kind}'" if kind != "ray" and kind.isalnum() else ""
        raise UsageError(f"--runner must be ray=http://HEAD:8265{value}")
    head = _host(url, "--runner ray=URL")
    if public_url:
        service = _host(public_url, "--public-url")
    else:
        service = connectable_host(host)
    if is_loopback(service) and not is_loopback(head):
        raise UsageError(
            f"the nodes of the Ray cluster at {head} cannot reach the service at {service}; name"
            f" its address in their network with --public-url, such as {EXAMPLE}"
        )
    if public_url and not is_loopback(service) and not environment.get("FTKIT_API_KEY"):
        raise UsageError(
            f"--public-url {public_url} is reachable from other machines; set FTKIT_API_KEY to the"
            " API keys to accept"
        )
    return RaySettings(url.rstrip("/"), (public_url or "").rstrip("/"), _token(environment))


def _host(url: str, option: str) -> str:
    """Return the host of a URL, which is not in the errors, since it may have a password.

    Raises:
        UsageError: The URL is no HTTP URL of a host, or has more than that.
    """
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(f"{option}: the URL must be http://HOST:PORT or https://HOST")
    if parts.username is not None or parts.password is not None:
        advice = "; set FTKIT_RAY_TOKEN to the cluster's token" if "runner" in option else ""
        raise UsageError(f"{option}: the URL must not have a password{advice}")
    if parts.query or parts.fragment or parts.path not in ("", "/"):
        raise UsageError(f"{option}: the URL must end after the host and the port")
    return parts.hostname or ""


def _token(environment: Mapping[str, str]) -> str:
    """Return the token of the cluster, or "".

    Raises:
        UsageError: A header cannot have the token.
    """
    token = environment.get("FTKIT_RAY_TOKEN", "").strip()
    if not (token.isascii() and token.isprintable()):
        raise UsageError("FTKIT_RAY_TOKEN must be a token of printable ASCII characters")
    return token
