"""A service for the tests of a file, and a client for its pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from ftkit.dashboard.app import DASHBOARD
from ftkit.server.app import ServerSettings, create_app
from support.dashboard import KEY
from support.local_server import LocalServer
from support.models import SMOKE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """The service."""
    folder = tmp_path_factory.mktemp("service") / "data"
    with LocalServer(folder, {"gpt-test": SMOKE}) as running:
        yield running


@pytest.fixture
def browser_client(server: LocalServer) -> Iterator[httpx.Client]:
    """A client that requests pages, as a browser does."""
    with httpx.Client(base_url=server.url.removesuffix("/v1"), timeout=60) as client:
        yield client


@pytest.fixture
def service(tmp_path: Path) -> Iterator[TestClient]:
    """A browser at a service with API keys."""
    app = create_app(ServerSettings(tmp_path, keys=(KEY, "sk-second"), pages=DASHBOARD))
    with TestClient(app, "http://127.0.0.1", follow_redirects=False) as client:
        yield client
