"""HTTP server of the local service, which runs until it is interrupted."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sqlite3
from collections.abc import Callable

import uvicorn
from filelock import FileLock, Timeout
from msgspec.structs import replace

from ftkit._local import announce, withdraw
from ftkit._private import make_private_folder
from ftkit.errors import FileError, UsageError, os_error_message
from ftkit.server.app import LOCAL_HOSTS, ServerSettings, create_app
from ftkit.server.connections import Connection, Server
from ftkit.server.folder import LOCK, PRIVATE_UMASK
from ftkit.server.logs import LogLimit

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
) -> None:
    """Run the service until it is interrupted.

    Args:
        settings: Settings of the service; `host` is added to its hosts.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        notify: Receives a message with the address once the service accepts requests.
        any_port: Use a free port if `port` is in use.

    Raises:
        FileError: The data folder cannot be created or written to.
        UsageError: Another service uses the data folder, or the port is in use.
    """
    umask = os.umask(PRIVATE_UMASK)
    try:
        _run(settings, host, port, notify, any_port)
    except (OSError, sqlite3.Error) as error:
        reason = os_error_message(error)
        raise FileError(f"cannot serve from {settings.folder}: {reason}") from error
    finally:
        os.umask(umask)


def _run(
    settings: ServerSettings,
    host: str,
    port: int,
    notify: Callable[[str], None],
    any_port: bool,
) -> None:
    folder = settings.folder
    try:
        make_private_folder(folder)
    except OSError as error:
        raise FileError(f"cannot create {folder}: {os_error_message(error)}") from error
    host = host.strip("[]")
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"another service uses {folder}; show its address with: ftkit serve status"
        ) from error
    with lock:
        listener = _bind(host, port, any_port)
        host_name = f"[{host}]" if ":" in host else host
        url = f"http://{host_name}:{listener.getsockname()[1]}/v1"
        secret = secrets.token_hex(16)
        app = create_app(replace(settings, hosts=(*LOCAL_HOSTS, host_name.lower()), secret=secret))

        def on_ready() -> None:
            announce(folder, url, secret)
            notify(f"Serving {url} from {folder}")

        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
        )
        for name in LOGGERS:
            logging.getLogger(name).addFilter(LogLimit())
        try:
            Server(config, on_ready).run([listener])
        finally:
            withdraw(folder)


def _bind(host: str, port: int, any_port: bool) -> socket.socket:
    """Return a socket bound to an address, or to a free port if `any_port` and it is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY, without which small responses are delayed, only on sockets whose
    # protocol is TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if any_port and port:
            return _bind(host, 0, False)
        reason = os_error_message(error)
        raise UsageError(
            f"cannot listen on {host}:{port}: {reason}; choose another `port`"
        ) from error
    return listener
