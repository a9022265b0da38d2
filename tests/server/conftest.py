"""A local server for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from ftkit.server.database import Database
from support.local_server import LocalServer
from support.models import SMOKE


@pytest.fixture(scope="module")
def local_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("service") / "data"
    with LocalServer(folder, {"gpt-3.5-turbo": SMOKE}) as server:
        yield server


@pytest.fixture
def client(local_server: LocalServer) -> Iterator[openai.OpenAI]:
    with local_server.client() as client:
        yield client


@pytest.fixture
def store(tmp_path: Path) -> Database:
    return Database(tmp_path / "service.db")
