"""The live view of `ftkit serve` on a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import openai
import pytest

from ftkit._local import find_running
from support.terminal import run_in_terminal
from support.training import start_job

pytestmark = pytest.mark.training


def start_jobs(folder: Path) -> None:
    """Wait for the service on a folder, and start two jobs there."""
    while not (running := find_running(folder)):
        time.sleep(0.1)
    with openai.OpenAI(api_key="none", base_url=running.url, max_retries=0) as client:
        for seed in (3, 4):
            start_job(client, hyperparameters={"n_epochs": 30}, seed=seed)


def test_a_terminal_shows_the_jobs_that_run_and_what_became_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    thread = threading.Thread(target=start_jobs, args=(folder,), daemon=True)
    thread.start()
    code, shown = run_in_terminal(
        "", "serve", "--port", "0", "--data-dir", str(folder), interrupt=b"succeeded"
    )
    thread.join()
    text = shown.decode()
    assert code == 130, text
    assert text.index("Serving http://") < text.index("POST /v1/files")
    assert "train_loss" in text
    assert "more jobs: 1 queued" in text
    assert "\x1b[?25h" in text.rsplit("\x1b[?25l", 1)[1]  # the cursor is shown again


def test_without_a_terminal_nothing_is_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    command = [sys.executable, "-m", "ftkit", "serve", "--port", "0", "--data-dir", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=dict(os.environ)) as process:
        while not find_running(folder):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        assert process.stderr.read().decode().splitlines()[0].startswith("Serving http://")
