"""Prompts and answers that a provider refuses or garbles."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ftkit.compare.recordings import (
    read_recordings,
)
from support.fake_provider import FakeProvider, error_body
from support.fixture_types import Run


def test_a_group_that_the_service_refuses_leaves_the_rest_to_be_compared(
    fake_provider: FakeProvider, ftkit: Run, prompts: str
) -> None:
    fake_provider.on_chat = lambda body: (
        error_body("flagged")
        if int(body["messages"][-1]["content"].split()[-1]) % 2
        else {"content": "x"}
    )
    done = ftkit(
        "m", "n", "--prompts", prompts, "--yes", "--group-by", "metadata.odd", "--output", "json"
    )
    assert done.returncode == 0, done.stderr
    assert [group["value"] for group in json.loads(done.stdout)["groups"]] == ["0"]


def test_an_answer_that_cannot_be_read_is_left_out_like_a_refused_one(
    fake_provider: FakeProvider, ftkit: Run, prompts: str
) -> None:
    answer = fake_provider.answer

    def filtered(method: str, path: str, query: Any, body: Any) -> Any:
        status, reply = answer(method, path, query, body)
        return (
            (status, {**reply, "choices": []})
            if body["messages"][-1]["content"].endswith(" 4")
            else (status, reply)
        )

    fake_provider.answer = filtered  # type: ignore[method-assign]
    done = ftkit("m", "n", "--prompts", prompts, "--yes")
    assert done.returncode == 0, done.stderr
    assert (
        "skipped the prompt on line 5: cannot ask m: OpenAI sent a response that cannot be read"
        in done.stderr
    )


def test_answers_under_way_when_the_service_refuses_are_kept(
    fake_provider: FakeProvider, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    answers_file, begun = str(tmp_path / "a.jsonl"), threading.Barrier(4)
    first = threading.Lock()

    def one_is_refused(method: str, path: str) -> str:
        begun.wait(20)
        if first.acquire(blocking=False):
            fake_provider.refuse["POST /chat/completions"] = (401, error_body("no"))
            return ""
        time.sleep(0.7)
        fake_provider.refuse.clear()
        return ""

    fake_provider.faults = one_is_refused
    done = ftkit(
        "m",
        "n",
        "--prompts",
        prompts,
        "--yes",
        "--save-a",
        answers_file,
        "--concurrency",
        "4",
        "--limit",
        "4",
    )
    assert done.returncode == 2
    assert len(read_recordings(f"{answers_file}.part")) == 3


def test_a_prompt_that_the_service_refuses_is_left_out_and_named(
    fake_provider: FakeProvider, ftkit: Run, prompts: str
) -> None:
    fake_provider.on_chat = lambda body: (
        error_body("flagged by the filter")
        if body["messages"][-1]["content"].endswith("7")
        else {"content": "x"}
    )
    done = ftkit("m", "n", "--prompts", prompts, "--yes")
    assert done.returncode == 0, done.stderr
    assert "18 of" in done.stdout
    assert "2 skipped, not answered by both: lines 8, 18" in done.stdout
    assert (
        "skipped the prompt on line 8: cannot ask m: OpenAI responded with 400: flagged by the filter"
        in done.stderr
    )


def test_many_skipped_prompts_are_counted(
    fake_provider: FakeProvider, ftkit: Run, prompts: str
) -> None:
    fake_provider.on_chat = lambda body: (
        error_body("flagged")
        if int(body["messages"][-1]["content"].split()[-1]) > 8
        else {"content": "x"}
    )
    done = ftkit("m", "n", "--prompts", prompts, "--yes", "--concurrency", "1")
    assert done.stderr.count("ftkit: skipped the prompt on line") == 20
    assert done.stderr.count("ftkit: skipped 1 more prompt\n") == 2


def test_a_service_that_refuses_all_is_asked_a_few_times_only(
    fake_provider: FakeProvider, ftkit: Run, prompts: str
) -> None:
    fake_provider.on_chat = lambda body: error_body("temperature does not go with this model")
    done = ftkit("m", "n", "--prompts", prompts, "--yes")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "ftkit: cannot ask m: OpenAI responded with 400: temperature"
    )
    assert len(fake_provider.requests) < 20


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": {"a": 1}},
        {"choices": [{}]},
        {"choices": [3]},
        [1],
        b"no JSON",
    ],
)
def test_an_answer_that_is_none_is_one_clear_line(
    fake_provider: FakeProvider, ftkit: Run, prompts: str, body: Any
) -> None:
    fake_provider.refuse["POST /chat/completions"] = (200, body)
    done = ftkit("m", "n", "--prompts", prompts, "--yes")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "ftkit: cannot ask m: OpenAI sent a response that cannot be read"
    )
