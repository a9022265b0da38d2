"""`ftkit serve --runner`: a cluster that trains the jobs of the service."""

from __future__ import annotations

from collections.abc import Mapping

from ftkit._local import is_loopback
from ftkit.cli.server_urls import read_key, split_url
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
    head = _host(url, "--runner ray=URL", "set FTKIT_RAY_TOKEN to the cluster's token")
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
    token = read_key(environment, "FTKIT_RAY_TOKEN")
    return RaySettings(url.rstrip("/"), (public_url or "").rstrip("/"), token)


def _host(url: str, option: str, advice: str = "") -> str:
    """Return the host of a URL.

    Raises:
        UsageError: The URL is no HTTP URL of a host, or has more than that.
    """
    parts = split_url(url, option, "http://HOST:PORT or https://HOST", advice)
    if parts.path not in ("", "/"):
        raise UsageError(f"{option}: the URL must end after the host and the port")
    return parts.hostname or ""
