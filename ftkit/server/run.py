"""HTTP server of the local service, which runs until it is interrupted."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path

import uvicorn
from filelock import FileLock, Timeout
from msgspec.structs import replace
from starlette.types import ASGIApp

from ftkit._local import announce, register, withdraw
from ftkit._private import make_private_folder
from ftkit._text import plural
from ftkit.errors import FileError, UsageError, os_error_message
from ftkit.server.app import LOCAL_HOSTS, ServerSettings, create_app
from ftkit.server.connections import BACKLOG, HEADER_SECONDS, Connection, Server
from ftkit.server.folder import LOCK, PRIVATE_UMASK, Folder
from ftkit.server.logs import LogLimit
from ftkit.server.ray_settings import RaySettings, connectable_host

SHUTDOWN_SECONDS = 2
"""Seconds that open requests have to finish when the server shuts down."""

LOGGERS = ("uvicorn.error", "asyncio", "ftkit.server")
"""Loggers whose records are limited, since clients can cause them."""


def run(
    settings: ServerSettings,
    host: str,
    port: int,
    notify: Callable[[str], None],
    any_port: bool = False,
    cluster: RaySettings | None = None,
) -> None:
    """Run the service until it is interrupted.

    Args:
        settings: Settings of the service; `host` is added to its hosts.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        notify: Receives a message with the address once the service accepts requests.
        any_port: Use a free port if `port` is in use.
        cluster: Cluster that trains the jobs, or None for this machine.

    Raises:
        ClusterError: The cluster cannot train the jobs.
        RunnerUnavailableError: The cluster cannot be reached.
        FileError: The data folder cannot be created or written to.
        UsageError: Another service uses the data folder, or the port is in use.
    """
    umask = os.umask(PRIVATE_UMASK)
    try:
        with _lock_folder(settings.folder):
            host = host.strip("[]")
            with closing(_listen(host, port, any_port)) as listener:
                note = ""
                if cluster:
                    settings, note = _use_cluster(settings, cluster, listener, host)
                _serve(settings, listener, host, lambda message: notify(f"{message}{note}"))
    finally:
        os.umask(umask)


def _lock_folder(folder: Path) -> AbstractContextManager[object]:
    """Create the data folder if necessary and lock it, until the end of the returned context."""
    try:
        make_private_folder(folder)
    except OSError as error:
        raise FileError(f"cannot create {folder}: {os_error_message(error)}") from error
    try:
        return FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"another service uses {folder}; show its address with: ftkit serve status"
        ) from error
    except OSError as error:
        raise _cannot_serve(folder, error) from error


def _cannot_serve(folder: Path, error: OSError | sqlite3.Error) -> FileError:
    return FileError(f"cannot serve from {folder}: {os_error_message(error)}")


def _use_cluster(
    settings: ServerSettings,
    cluster: RaySettings,
    listener: socket.socket,
    host: str,
) -> tuple[ServerSettings, str]:
    """Check a cluster, and return the settings with which it trains the jobs, and a note."""
    # Not at the top: most services need no client of a cluster.
    from ftkit.server.cluster_check import check_cluster
    from ftkit.server.ray_client import RayClient
    from ftkit.server.ray_jobs import RayJobs

    address = _address(connectable_host(host), listener)
    cluster = replace(cluster, service_url=cluster.service_url or address)
    folder = Folder(settings.folder)
    with closing(RayClient(cluster.url, cluster.token)) as client:
        result = check_cluster(client, folder, cluster.service_url, listener)
    note = (
        f"; training on the Ray cluster at {cluster.url} (Ray {result.version},"
        f" {plural(result.nodes, 'node')}), whose jobs report to {cluster.service_url}"
    )
    return replace(settings, runner=RayJobs(folder, cluster)), note


def _host_name(host: str) -> str:
    """Return a host as URLs have it."""
    return f"[{host}]" if ":" in host else host


def _address(host: str, listener: socket.socket) -> str:
    """Return the address of a listening socket, without a path."""
    return f"http://{_host_name(host)}:{listener.getsockname()[1]}"


def _serve(
    settings: ServerSettings, listener: socket.socket, host: str, notify: Callable[[str], None]
) -> None:
    """Serve the data folder, whose lock is held, until the process is interrupted."""
    folder = settings.folder
    url = f"{_address(host, listener)}/v1"
    secret = secrets.token_hex(16)
    settings = replace(settings, hosts=(*LOCAL_HOSTS, _host_name(host).lower()), secret=secret)
    try:
        app = create_app(settings)
    except (OSError, sqlite3.Error) as error:
        raise _cannot_serve(folder, error) from error

    def on_ready() -> None:
        try:
            announce(folder, url, secret)
        except OSError as error:
            raise _cannot_serve(folder, error) from error
        with suppress(OSError):  # the service is then found by its data folder only
            register(folder, os.environ)
        notify(f"Serving {url} from {folder}")

    for name in LOGGERS:
        logging.getLogger(name).addFilter(LogLimit())
    try:
        Server(_configuration(app), on_ready).run([listener])
    finally:
        withdraw(folder)


def _configuration(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=int(HEADER_SECONDS),
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
    )


def _listen(host: str, port: int, any_port: bool) -> socket.socket:
    """Return a listening socket; at a free port if `any_port` and `port` is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY, without which small responses are delayed, only on sockets whose
    # protocol is TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if any_port and port:
            return _listen(host, 0, False)
        reason = os_error_message(error)
        raise UsageError(
            f"cannot listen on {host}:{port}: {reason}; choose another `port`"
        ) from error
    return listener
