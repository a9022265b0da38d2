"""A job spec and a journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.jobs.journal import Journal
from ftkit.jobs.spec import JobSpec
from support.examples import chat_lines
from support.fixture_types import Write
from support.models import MINI


@pytest.fixture
def order(write: Write) -> JobSpec:
    return JobSpec(MINI, str(write(chat_lines(12))))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upload in parts of 300 bytes."""
    monkeypatch.setattr("ftkit.jobs.uploads.PART_SIZE", 300)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state")
