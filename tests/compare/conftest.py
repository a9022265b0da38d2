"""A command and prompts for the tests of `ftkit compare`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.commands import run_ftkit
from support.fixture_types import Run
from support.recordings import chat_row, write_jsonl


@pytest.fixture
def ftkit(provider_url: str) -> Run:
    """Run `ftkit compare` against the service."""
    environment = {
        "OPENAI_API_KEY": "sk-test",
        "NEBIUS_API_KEY": "sk-test",
        "FTKIT_BASE_URL": provider_url,
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_ftkit("compare", *arguments, env=environment)

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
