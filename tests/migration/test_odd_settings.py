"""Settings of a job that no provider should report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.archives import add_job, save_archive
from support.fake_provider import FakeProvider
from support.fixture_types import Run


@pytest.mark.parametrize(
    "odd",
    [
        {"hyperparameters": {"n_epochs": 10**399, "learning_rate_multiplier": -(10**399)}},
        {"hyperparameters": {"n_epochs": 1e308, "batch_size": [1]}, "seed": 10**399},
        {"metadata": {"team": "\ud83d"}},
        {"model": "ft:\ud83d", "validation_file": "file-\ud83d"},
        {"user_provided_suffix": "\ud83d" * 300, "integrations": {}, "method": [1]},
    ],
)
def test_odd_settings_give_a_plan_or_an_obstacle(
    odd: dict[str, Any], fake_provider: FakeProvider, ftkit: Run, provider_url: str
) -> None:
    job = add_job(fake_provider, **odd)
    save_archive(provider_url, Path("a"))
    for place in (f"a/{job['id']}", job["id"]):
        done = ftkit("migrate", place, "--to", "openai", "--dry-run", "--output", "json")
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr
