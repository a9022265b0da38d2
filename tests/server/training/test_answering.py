"""A server that answers for a base model in place of the generation process, and real jobs."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftkit.server.folder import Folder
from ftkit.server.models import ModelRef
from ftkit.server.recipes import builtin_recipes
from ftkit.server.template_facts import TemplateReader
from support.answering_server import answering_server
from support.local_server import LocalServer, popen_forked, wait_for_job
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


@pytest.mark.parametrize(
    ("name", "obstacle"),
    [
        ("qwen3", ""),
        ("gemma", ""),
        ("mistral_small_3", ""),
        ("deepseek_r1_distill", "it leaves a block for reasoning open"),
        ("gptoss", "it writes '<|channel|>final<|message|>' before an answer"),
    ],
)
def test_a_template_that_training_completes_is_an_obstacle(name: str, obstacle: str) -> None:
    from ftkit.server.training.template import ChatTemplate
    from support.chat_templates import build_tokenizer

    assert ChatTemplate(build_tokenizer(name)).obstacle == obstacle


def test_a_template_that_leaves_out_system_messages_before_results_is_an_obstacle() -> None:
    from ftkit.server.training.template import ChatTemplate
    from support.chat_templates import create_tokenizer

    tokenizer = create_tokenizer("mistral_v0_3")
    template = tokenizer.chat_template
    tokenizer.chat_template = template.replace('" " + m.content', "m.content")
    assert ChatTemplate(tokenizer).obstacle.startswith("it leaves out a system message")


def test_the_facts_about_a_base_model_are_read_by_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", popen_forked())
    reader = TemplateReader(Folder(tmp_path))
    recipe = builtin_recipes().find(SMOKE).as_json()

    async def read(base: str) -> Any:
        return await reader.read(ModelRef(base, recipe=recipe))

    facts = asyncio.run(read(SMOKE))
    assert (facts.end_ids, facts.obstacle) == ([256], "")
    assert facts.features.end == "<|end|>"
    assert asyncio.run(read(str(tmp_path / "none"))) is None


def _wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
