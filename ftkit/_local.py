"""Address and data folder of the local service, shared by the server, which announces itself, and its clients."""

from __future__ import annotations

import ipaddress
import json
import os
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

PORT = 8642
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
        ) as answer:
            return bool(json.load(answer).get("pid") == service.pid)
    except (OSError, ValueError, AttributeError):
        return False
