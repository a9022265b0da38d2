"""A server that answers for a base model in place of the generation process, and real jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.answering_server import answering_server
from support.local_server import LocalServer, wait_for_job
from support.models import SMOKE
from support.training import ask_model, method_with, start_job

pytestmark = pytest.mark.training


def test_the_adapter_of_a_job_is_loaded_when_it_succeeds_and_unloaded_when_it_is_deleted(
    tmp_path: Path,
) -> None:
    with (
        answering_server(SMOKE) as vllm,
        LocalServer(tmp_path / "data", answers={SMOKE: vllm.url}) as server,
        server.client() as client,
    ):
        job = start_job(client, method=method_with(n_epochs=2))
        model = wait_for_job(client, job.id, "succeeded").fine_tuned_model
        _wait_until(lambda: vllm.adapters)
        (path,) = vllm.adapters.values()
        files = {file.name for file in Path(path).iterdir()}
        assert files == {"adapter_config.json", "adapter_model.safetensors"}
        assert ask_model(client, model, "Lima") == "amiL yaS"
        (checkpoint, *_) = sorted(
            client.fine_tuning.jobs.checkpoints.list(job.id), key=lambda item: item.step_number
        )
        assert ask_model(client, checkpoint.fine_tuned_model_checkpoint, "Lima") == "amiL yaS"
        assert len(vllm.adapters) == 2
        vllm.fault = "500"
        assert ask_model(client, model, "Lima", max_tokens=2) != "amiL yaS"
        client.models.delete(model)
        _wait_until(lambda: not vllm.adapters)


def _wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
