"""The service on this machine: where it keeps its things, whether it runs, and how it is started in the background and stopped.

Knows nothing of what the service does; `ftkit.server` is only run, as a process of its own.
"""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from ftkit.errors import FtkitError

PORT = 8642
PATIENCE = 60.0
"""Seconds to wait for a service to start or to end."""

FOUND = "server.json"

RUN_MODULE = (sys.executable, "-P", "-m")
"""Runs a module in a process of its own; with -P, a `json.py` of the user's in the present folder is none of its imports."""


class Running(Struct, frozen=True):
    """A service that runs: its process, and the base URL of its API."""

    pid: int
    url: str


def data_folder(environment: Mapping[str, str]) -> Path:
    """Where the service keeps its things: `FTKIT_DATA_DIR`, or `ftkit` in the user's data directory."""
    if environment.get("FTKIT_DATA_DIR"):
        return Path(environment["FTKIT_DATA_DIR"])
    import platformdirs

    return Path(platformdirs.user_data_dir("ftkit", appauthor=False))


def is_loopback(host: str) -> bool:
    """Whether the name or number of a host means this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def announce(folder: Path, url: str) -> None:
    """Write down that this process serves the folder at `url`."""
    aside = folder / f"{FOUND}.part"
    aside.write_bytes(msgspec.json.encode(Running(os.getpid(), url)))
    os.replace(aside, folder / FOUND)


def withdraw(folder: Path) -> None:
    """Take that back."""
    (folder / FOUND).unlink(missing_ok=True)


def find_running(folder: Path) -> Running | None:
    """The service that serves the folder, if one answers."""
    try:
        found = msgspec.json.decode((folder / FOUND).read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None
    return found if _answers(found) else None


def _answers(service: Running) -> bool:
    """Whether that process answers there. After a kill, another service may have its port, and another process its number."""
    try:
        with urllib.request.urlopen(
            f"{service.url.removesuffix('/v1')}/health", timeout=5
        ) as answer:  # noqa: S310 - announced by ftkit
            return bool(json.load(answer).get("pid") == service.pid)
    except (OSError, ValueError, AttributeError):
        return False


def find_or_start(folder: Path, say: Callable[[str], None]) -> Running:
    """The service that serves the folder, started in the background if there is none; raises `FtkitError` if it does not start."""
    found = find_running(folder)
    if found:
        return found
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = folder / "service.log"
    command = [*RUN_MODULE, "ftkit", "serve", "--data-dir", str(folder), "--any-port"]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = find_running(folder)
        if found:
            say(f"started a service on this machine, {found.url}; `ftkit serve stop` ends it")
            return found
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise FtkitError(f"the service on this machine did not start{_last_line(log)}; see {log}")


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = [
            line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()
        ]
        return f" ({lines[-1][:300].removeprefix('ftkit: ')})" if lines else ""
    return ""


def stop(folder: Path) -> Running | None:
    """End the service that serves the folder; returns which it was. Its jobs go on when one is started again."""
    found = find_running(folder)
    if found is None:
        return None
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while find_running(folder):
        if time.monotonic() > deadline:
            raise FtkitError(f"the service (process {found.pid}) does not end")
        time.sleep(0.05)
    return found
