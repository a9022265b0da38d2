"""Pages of the dashboard, requested without a browser."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
from starlette.testclient import TestClient

from ftkit.dashboard.respond import UPDATE_SECONDS

POLLED = f"every {UPDATE_SECONDS}s"
"""Mark of a part of a page that is not final."""


def upload(
    client: httpx.Client, content: bytes, name: str = "data.jsonl", purpose: str = "fine-tune"
) -> str:
    """Upload a file, and return its id."""
    response = client.post("/v1/files", files={"file": (name, content)}, data={"purpose": purpose})
    assert response.status_code == 200, response.text
    return str(response.json()["id"])


def settled(client: httpx.Client, path: str, seconds: float = 120) -> str:
    """Poll a part of a page until it is final, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        response = client.get(path)
        if POLLED not in response.text:
            return response.text
        assert time.monotonic() < deadline, response.text
        time.sleep(0.1)


def results(folder: Path) -> list[str]:
    """The names of the files with results of checks."""
    return sorted(path.name for path in (folder / "checks").glob("*/*/*"))


KEY, ORIGIN = "sk-first", {"origin": "http://127.0.0.1"}
"""API key of a service, and the header of requests from its pages."""


def log_in(client: TestClient, key: str = KEY, next: str = "/") -> str:
    """Log in, and return where it leads."""
    response = client.post("/login", data={"key": key, "next": next}, headers=ORIGIN)
    assert response.status_code == 303, response.text
    return str(response.headers["location"])
