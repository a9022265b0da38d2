"""HTTP server of the local service, which runs until it is interrupted."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import uvicorn
from filelock import FileLock, Timeout
from msgspec.structs import replace
from starlette.types import ASGIApp

from ftkit._local import announce, register, withdraw
from ftkit._private import make_private_folder
from ftkit.errors import FileError, UsageError, os_error_message
from ftkit.server.app import LOCAL_HOSTS, ServerSettings, create_app
from ftkit.server.connections import BACKLOG, Connection, Server
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
        with _lock_folder(settings.folder):
            _serve(settings, host.strip("[]"), port, notify, any_port)
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


def _serve(
    settings: ServerSettings,
    host: str,
    port: int,
    notify: Callable[[str], None],
    any_port: bool,
) -> None:
    """Serve the data folder, whose lock is held, until the process is interrupted."""
    folder = settings.folder
    listener = _listen(host, port, any_port)
    host_name = f"[{host}]" if ":" in host else host
    url = f"http://{host_name}:{listener.getsockname()[1]}/v1"
    secret = secrets.token_hex(16)
    settings = replace(settings, hosts=(*LOCAL_HOSTS, host_name.lower()), secret=secret)
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
