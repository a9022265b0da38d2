"""A local server that every tool reaches by `OPENAI_BASE_URL` alone, and one tuned model."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from support.local_server import LocalServer, wait_for_job
from support.models import MINI, SMOKE
from support.training import start_job

OFFLINE = {
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
"""Variables that switch off LangSmith's tracing and the download of LiteLLM's prices."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that has the smoke model under the name of a hosted one."""
    folder = tmp_path_factory.mktemp("clients") / "data"
    with LocalServer(folder, {MINI: SMOKE}, max_jobs=2) as server:
        yield server


@pytest.fixture(scope="session")
def tuned(server: LocalServer) -> str:
    """A model that has memorized CITY_DATA."""
    with server.client() as client:
        job = start_job(client, model=MINI, seed=7)
        return str(wait_for_job(client, job.id, "succeeded").fine_tuned_model)


@pytest.fixture(autouse=True)
def environment(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a script whose base URL is the only change."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module", autouse=True)
def unused_connections() -> Iterator[None]:
    """Close the connections that a tool leaves open, while its warnings are ignored."""
    yield
    gc.collect()
