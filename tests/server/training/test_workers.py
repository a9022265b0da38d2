"""Worker processes with PyTorch end with their server, also while they import it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from support.local_server import LocalServer
from support.models import SMOKE
from support.processes import wait_for_end, wait_for_worker
from support.training import ask_model, method_with, start_job

pytestmark = pytest.mark.training


def train(server: LocalServer) -> None:
    with server.client() as client:
        start_job(client, method=method_with(n_epochs=50))


def generate(server: LocalServer) -> None:
    def ask() -> None:
        with server.client() as client, contextlib.suppress(openai.OpenAIError):
            ask_model(client, SMOKE, "x", n=16, max_tokens=1000)

    threading.Thread(target=ask, daemon=True).start()


@pytest.mark.parametrize("seconds", [0, 0.1, 0.3, 0.6, 1, 2, 4])
@pytest.mark.parametrize(("task", "start"), [("train", train), ("generate", generate)])
def test_a_worker_ends_with_its_server(
    task: str, start: Callable[[LocalServer], None], seconds: float, tmp_path: Path
) -> None:
    with LocalServer(tmp_path / "data", forked=False) as server:
        start(server)
        wait_for_worker(server.folder, task)
        time.sleep(seconds)
        server.kill()
        wait_for_end(server.folder, task, 0.5)


def test_a_prompt_whose_process_is_killed_before_it_is_read_gets_an_error(tmp_path: Path) -> None:
    with (
        LocalServer(tmp_path / "data", forked=False) as server,
        server.client() as client,
        ThreadPoolExecutor() as pool,
    ):
        answer = pool.submit(ask_model, client, SMOKE, "x" * 5_000_000)  # more than a pipe holds
        os.kill(wait_for_worker(server.folder, "generate"), signal.SIGKILL)
        with pytest.raises(openai.InternalServerError, match="The generation process ended"):
            answer.result(timeout=30)
