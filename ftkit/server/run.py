"""Runs the service until it is told to end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from filelock import FileLock, Timeout

from ftkit._local import announce, withdraw
from ftkit.errors import FileError, UsageError, os_error_message
from ftkit.server.app import LOCAL_HOSTS, Settings, create_app

LINGER = 2
"""Seconds that requests under way have when the service ends."""


class Server(uvicorn.Server):
    """Says where it is once it takes requests."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def run(
    folder: Path,
    host: str,
    port: int,
    models: dict[str, str],
    keys: tuple[str, ...],
    max_jobs: int,
    any_port: bool,
    say: Callable[[str], None],
) -> None:
    """Serve the folder; raises `FileError` or `UsageError` where that cannot begin."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise FileError(f"cannot make {folder}: {os_error_message(error)}") from error
    host = host.strip("[]")
    lock = FileLock(folder / "service.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(f"{folder} is served already; `ftkit serve status` says where") from error
    with lock:
        bound = _bind(host, port, any_port)
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{bound.getsockname()[1]}/v1"
        app = create_app(Settings(folder, models, keys, max_jobs, (*LOCAL_HOSTS, name)))

        def ready() -> None:
            announce(folder, url)
            say(f"serving {url} from {folder}")

        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=LINGER,
            server_header=False,
            lifespan="on",
        )
        try:
            Server(config, ready).run([bound])
        finally:
            withdraw(folder)


def _bind(host: str, port: int, any_port: bool) -> socket.socket:
    """The socket to listen on; with `any_port`, of a free port where that one is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio only sends small answers at once on sockets that name TCP as their protocol.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        if any_port and port:
            return _bind(host, 0, False)
        why = os_error_message(error)
        raise UsageError(f"cannot listen on {host}:{port}: {why}; choose another --port") from error
    return bound
