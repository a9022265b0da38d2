"""A local server that trains, and the jobs that several files share, each trained once."""

from __future__ import annotations

import codecs
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from support.examples import chat_lines
from support.local_server import LocalServer, wait_for_job
from support.models import SMOKE
from support.training import CITIES, city_example, encode_jsonl, method_with, start_job


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke model as a folder like any other, safetensors and all."""
    from ftkit.server.training.smoke import build_model, build_tokenizer

    folder = tmp_path_factory.mktemp("base") / "tiny"
    build_model().save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pickled_model(base_model: Path) -> Path:
    """The same model with pickled weights instead of safetensors."""
    import torch

    folder = base_model.with_name("pickled")
    shutil.copytree(base_model, folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    return folder


@pytest.fixture(scope="session")
def local_server(
    tmp_path_factory: pytest.TempPathFactory, base_model: Path, pickled_model: Path
) -> Iterator[LocalServer]:
    models = {"gpt-3.5-turbo": SMOKE, "tiny": str(base_model), "pickled": str(pickled_model)}
    server = LocalServer(tmp_path_factory.mktemp("service") / "data", models, max_jobs=2)
    yield server.start(HF_HUB_OFFLINE="1")  # an unknown model is not looked up on the hub
    server.stop()


@pytest.fixture(scope="session")
def client(local_server: LocalServer) -> Iterator[openai.OpenAI]:
    with local_server.client() as client:
        yield client


@pytest.fixture(scope="session")
def tuned_job(client: openai.OpenAI) -> Any:
    """A job that has memorized CITY_DATA, with a validation file; seed 7."""
    job = start_job(
        client,
        validation=encode_jsonl(
            [city_example(name.lower(), name.lower()[::-1]) for name in CITIES]
        ),
        seed=7,
        suffix="mine",
    )
    return wait_for_job(client, job.id, "succeeded")


@pytest.fixture(scope="session")
def folder_job(client: openai.OpenAI) -> Any:
    """A job on a base model in a folder, whose training file was deleted while the job ran.

    The file has a byte order mark, CRLF line ends, and none after the last line.
    """
    content = codecs.BOM_UTF8 + b"\r\n".join(chat_lines(12))
    job = start_job(client, content, model="tiny", method=method_with(n_epochs=2))
    wait_for_job(client, job.id, "queued", "running")
    client.files.delete(job.training_file)
    return wait_for_job(client, job.id, "succeeded")


@pytest.fixture(scope="session")
def seeded_jobs(client: openai.OpenAI) -> list[Any]:
    """Three jobs with the seeds 5, 5 and 6, on a hosted name that stands for the smoke model."""
    method = method_with(n_epochs=3)
    jobs = [
        start_job(client, model="gpt-3.5-turbo", method=method, seed=seed) for seed in (5, 5, 6)
    ]
    return [wait_for_job(client, job.id, "succeeded") for job in jobs]
