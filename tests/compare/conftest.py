"""A command and prompts for the tests of `ftkit compare`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.fixture_types import Run
from support.recordings import chat_row, write_jsonl


@pytest.fixture
def ftkit(provider_url: str) -> Run:
    """Run `ftkit compare` against the service."""
    environment = {
        **os.environ,
        "OPENAI_API_KEY": "sk-test",
        "NEBIUS_API_KEY": "sk-test",
        "FTKIT_BASE_URL": provider_url,
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ftkit", "compare", *arguments]
        return subprocess.run(
            command, input="", capture_output=True, text=True, check=False, env=environment
        )

    return run


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    return write_jsonl(
        tmp_path / "prompts.jsonl",
        *(
            chat_row(f"one {number}", f"{number} one", metadata={"odd": number % 2})
            for number in range(20)
        ),
    )
