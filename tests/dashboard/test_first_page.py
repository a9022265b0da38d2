"""The first page after the start of the service: its templates are compiled before it is requested."""

from __future__ import annotations

import time
from pathlib import Path

from starlette.testclient import TestClient

from ftkit.dashboard.app import DASHBOARD
from ftkit.pages.page import environment
from ftkit.server.app import ServerSettings, create_app


def compiled() -> set[str]:
    """Return the names of the templates that are compiled."""
    cache = environment().cache
    assert cache is not None
    return {name for _, name in cache.keys()}  # noqa: SIM118, which is no dictionary


def test_the_service_compiles_the_templates_without_a_request(tmp_path: Path) -> None:
    environment.cache_clear()
    assert not compiled()
    names = {*environment().list_templates()}
    with TestClient(create_app(ServerSettings(tmp_path, pages=DASHBOARD))):
        deadline = time.monotonic() + 60
        while compiled() != names:
            assert time.monotonic() < deadline, names - compiled()
            time.sleep(0.05)
