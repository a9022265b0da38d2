"""Submissions to models that are withdrawn or not trainable."""

from __future__ import annotations

import pytest

from support.fake_provider import FakeProvider
from support.fixture_types import Run
from support.models import GPT_35, MINI
from support.paths import ROOT


def test_a_model_that_is_over_is_not_tried_in_silence(
    fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    done = ftkit("submit", clean_file, "--model", GPT_35)
    assert done.returncode == 2
    assert (
        "can no longer be trained at OpenAI, since 2026-10-23; models that can still be trained"
        in done.stderr
    )
    assert ftkit("submit", clean_file, "--model", GPT_35, "--yes").returncode == 0


def test_a_model_that_is_not_trained_by_the_method_is_not_tried_in_silence(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    data = str(ROOT / "samples" / "preference.jsonl")
    done = ftkit("submit", data, "--model", MINI)
    assert done.returncode == 2
    assert (
        f"{MINI} is known to be trained at OpenAI by supervised only; preference files need dpo; models that can still be trained: gpt-4.1-2"
        in done.stderr
    )
    assert not fake_provider.created
    assert ftkit("submit", data, "--model", MINI, "--yes").returncode == 0


def add_model(fake_provider: FakeProvider, shutdown_date: str | None) -> None:
    fake_provider.models[MINI] = {
        "id": MINI,
        "object": "model",
        "created": 1,
        "owned_by": "openai",
        "shutdown_date": shutdown_date,
    }


def test_the_service_s_word_on_a_model_goes_before_the_catalog(
    fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    add_model(fake_provider, "2026-01-02")
    done = ftkit("submit", clean_file, "--model", MINI)
    assert (
        f"{MINI} can no longer be trained at OpenAI, which shut it down on 2026-01-02; models that can still be trained: "
        in done.stderr
    )
    assert f" {MINI}," not in done.stderr
    assert not fake_provider.created
    assert ftkit("submit", clean_file, "--model", MINI, "--yes").returncode == 0


@pytest.mark.parametrize("day", ["9999-01-02", None])
def test_a_model_that_goes_on_is_submitted_without_a_word(
    day: str | None, fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    add_model(fake_provider, day)
    assert "trained" not in ftkit("submit", clean_file, "--model", MINI, "--yes").stderr


@pytest.mark.parametrize("fault", ["drop before", "500 before", "truncate", "429"])
def test_a_model_that_cannot_be_looked_up_does_not_stop_the_submission(
    fault: str, fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    fake_provider.faults = lambda method, path: fault if "/models/" in path else ""
    done = ftkit("submit", clean_file, "--model", MINI, "--yes")
    assert done.returncode == 0, done.stderr
    assert len([path for _, path, _ in fake_provider.requests if "/models/" in path]) == 1
