"""A local server that all the tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from ftkit.server.store import Store
from support.local_server import Local
from support.models import SMOKE


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    service = Local(tmp_path_factory.mktemp("service") / "data", {"gpt-3.5-turbo": SMOKE}).start()
    yield service
    service.stop()


@pytest.fixture
def client(local: Local) -> openai.OpenAI:
    return local.client()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "service.db")
