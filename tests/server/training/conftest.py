"""A local server that trains, shared by all files of this folder, and a job that it has trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from support.local_server import LocalServer, wait_for_job
from support.models import SMOKE
from support.training import CITIES, city_example, encode_jsonl, start_job


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke model as a folder like any other, safetensors and all."""
    from ftkit.server.training.smoke import build_model, build_tokenizer

    folder = tmp_path_factory.mktemp("base") / "tiny"
    build_model().save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def local_server(
    tmp_path_factory: pytest.TempPathFactory, base_model: Path
) -> Iterator[LocalServer]:
    service = LocalServer(
        tmp_path_factory.mktemp("service") / "data",
        {"gpt-3.5-turbo": SMOKE, "tiny": str(base_model)},
        max_jobs=2,
    ).start()
    yield service
    service.stop()


@pytest.fixture(scope="session")
def client(local_server: LocalServer) -> openai.OpenAI:
    return local_server.client()


@pytest.fixture(scope="session")
def tuned_job(client: openai.OpenAI) -> Any:
    """A job that has learned SHORT by heart, with a validation file; seed 7."""
    job = start_job(
        client,
        validation=encode_jsonl(
            [city_example(name.lower(), name.lower()[::-1]) for name in CITIES]
        ),
        seed=7,
        suffix="mine",
    )
    return wait_for_job(client, job.id, "succeeded")
