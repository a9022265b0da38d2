"""Addresses and data folders of local services, shared by the servers and their clients.

The server announces itself in a file of the data folder, with a secret that only the user can read.
A client reads the file, and the server at that address must prove that it knows the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import json
import os
import secrets
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from ftkit._atomic import atomic_write
from ftkit._private import make_private_folder, open_private

PORT = 8642
"""Default port of the local service."""

ANNOUNCEMENT = "server.json"
"""File in the data folder that holds the `Running` service."""

SERVICES = "services"
"""Folder in the state folder with a file for each data folder that was ever served."""

HEALTH_TIMEOUT = 5.0
"""Seconds to wait for a response to a health check."""

HEALTH_BYTES = 1 << 16
"""Maximum bytes of a response to a health check."""

RUN_MODULE = (sys.executable, "-P", "-m")
"""Start of a command that runs a module in a new process.

With -P, the module does not import a `json.py` of the user's from the working directory.
"""


class Running(Struct, frozen=True):
    """Running service.

    Attributes:
        pid: Id of its process.
        url: Base URL of its API.
        secret: Key with which it proves its identity.
    """

    pid: int
    url: str
    secret: str


def data_folder(environment: Mapping[str, str]) -> Path:
    """Return the service's data folder: `FTKIT_DATA_DIR`, or `ftkit` in the user's data folder."""
    if environment.get("FTKIT_DATA_DIR"):
        return Path(environment["FTKIT_DATA_DIR"])
    import platformdirs

    return Path(platformdirs.user_data_dir("ftkit", appauthor=False))


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return the journal's folder: `FTKIT_STATE_DIR`, or `ftkit` in the user's state folder."""
    if environment.get("FTKIT_STATE_DIR"):
        return Path(environment["FTKIT_STATE_DIR"])
    if environment.get("XDG_STATE_HOME"):
        return Path(environment["XDG_STATE_HOME"]) / "ftkit"
    import platformdirs

    return Path(platformdirs.user_state_dir("ftkit", appauthor=False))


def is_loopback(host: str) -> bool:
    """Return True if a host name or IP address means this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def announce(folder: Path, url: str, secret: str) -> None:
    """Record that this process serves the data folder at `url`, in a file for its user alone."""
    with atomic_write(folder / ANNOUNCEMENT) as temporary, open_private(temporary) as file:
        file.write(msgspec.json.encode(Running(os.getpid(), url, secret)))


def withdraw(folder: Path) -> None:
    """Remove the record of `announce`."""
    (folder / ANNOUNCEMENT).unlink(missing_ok=True)


def register(folder: Path, environment: Mapping[str, str]) -> None:
    """Record that a service uses the data folder, so that `find_services` finds it.

    Raises:
        OSError: The state folder cannot be written.
    """
    path = _registration(folder, environment)
    make_private_folder(path.parent)
    with atomic_write(path) as temporary, open_private(temporary) as file:
        file.write(os.fsencode(folder.absolute()))


def find_services(environment: Mapping[str, str]) -> Iterator[tuple[Path, Running]]:
    """Yield the data folder and the address of each service of the user that responds."""
    folders = {data_folder(environment).absolute(): None}
    for path in sorted((state_folder(environment) / SERVICES).glob("*")):
        with suppress(OSError, ValueError):
            folders[Path(os.fsdecode(path.read_bytes()))] = None
    for folder in folders:
        running = find_running(folder)
        if running:
            yield folder, running


def _registration(folder: Path, environment: Mapping[str, str]) -> Path:
    name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
    return state_folder(environment) / SERVICES / name


def find_running(folder: Path) -> Running | None:
    """Return the service that serves the data folder, or None if none responds."""
    try:
        running = msgspec.json.decode((folder / ANNOUNCEMENT).read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None
    return running if _responds(running) else None


def dashboard_url(url: str, path: str = "") -> str:
    """Return the address of a page of the dashboard of the service with this base URL.

    A wildcard, such as 0.0.0.0 for all addresses, becomes the address of loopback.
    """
    address = url.rstrip("/").removesuffix("/v1")
    address = address.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")
    return f"{address}/{path}"


def prove(secret: str, challenge: str) -> str:
    """Return the proof that a service knows its secret: the HMAC-SHA256 of a client's challenge."""
    return hmac.new(secret.encode(), challenge.encode(), hashlib.sha256).hexdigest()


def _responds(service: Running) -> bool:
    """Return True if the service responds at its address.

    After a crash, another service may use the port, and another process the id.
    """
    challenge = secrets.token_hex(16)
    health = f"{service.url.removesuffix('/v1')}/health?challenge={challenge}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # without proxies
    try:
        with opener.open(health, timeout=HEALTH_TIMEOUT) as response:
            proof = json.loads(response.read(HEALTH_BYTES)).get("proof")
    except (OSError, ValueError, AttributeError, RecursionError, http.client.HTTPException):
        return False
    return bool(proof == prove(service.secret, challenge))
