"""The command `ftkit compare`, asking two models."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from support.fake_provider import FakeProvider, random_faults, serving
from support.fixture_types import Run
from support.models import MINI
from support.recordings import TUNED, chat_row, recorded_row, tool_call_message, write_jsonl


def test_two_models_are_asked_and_compared(
    fake_provider: FakeProvider, ftkit: Run, prompts: str
) -> None:
    fake_provider.on_chat = lambda body: {
        "content": " ".join(
            body["messages"][-1]["content"].split()[:: -1 if body["model"] == TUNED else 1]
        )
    }
    done = ftkit(
        TUNED,
        MINI,
        "--prompts",
        prompts,
        "--yes",
        "--output",
        "json",
        "--max-tokens",
        "9",
        "--group-by",
        "metadata.odd",
    )
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout)
    exact = output["measures"]["exact"]
    assert [exact[side]["mean"] for side in ("a", "b", "difference", "between")] == [1, 0, 1, 0]
    assert output["measures"]["tokens"]["a"]["n"] == 20
    assert [group["value"] for group in output["groups"]] == ["0", "1"]
    assert len(fake_provider.requests) == 40
    assert all(
        body["temperature"] == 0 and body["max_tokens"] == 9 and "weight" not in body["messages"][0]
        for *_, body in fake_provider.requests
    )
    assert f"  A  {TUNED} at OpenAI: 20 requests, about" in done.stderr
    assert "output tokens, about $" in " ".join(done.stderr.split())
    assert all(len(line) <= 80 for line in done.stderr.splitlines())


def test_nothing_is_asked_without_consent(
    fake_provider: FakeProvider, ftkit: Run, prompts: str
) -> None:
    done = ftkit(TUNED, "some-model", "--prompts", prompts)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert "some-model at OpenAI: 20 requests, cost unknown" in done.stderr
    assert not fake_provider.requests


@pytest.mark.parametrize(("said_to_it", "code", "requests"), [(b"n\n", 2, 0), (b"y\n", 0, 40)])
def test_on_a_terminal_it_asks_and_shows_how_far_it_is(
    fake_provider: FakeProvider,
    provider_url: str,
    prompts: str,
    said_to_it: bytes,
    code: int,
    requests: int,
) -> None:
    main, side = pty.openpty()
    environment = {
        **os.environ,
        "OPENAI_API_KEY": "sk-test",
        "FTKIT_BASE_URL": provider_url,
        "TERM": "xterm-256color",
        "COLUMNS": "100",
    }
    command = [sys.executable, "-m", "ftkit", "compare", "m", "n", "--prompts", prompts]
    with subprocess.Popen(
        command, stdin=side, stdout=subprocess.PIPE, stderr=side, env=environment
    ) as process:
        os.close(side)
        os.write(main, said_to_it)
        out, _ = process.communicate()
    shown = os.read(main, 65536)
    os.close(main)
    assert process.returncode == code
    assert len(fake_provider.requests) == requests
    assert b"Send 40 requests?" in shown
    assert (b"asking m" in shown) == (code == 0)
    assert (b"nothing was sent" in shown) == (code == 2)
    assert (b"exact match" in out) == (code == 0)


def test_tools_and_temperature_are_sent_as_asked(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    path = write_jsonl(
        tmp_path / "p.jsonl",
        {
            "messages": [*chat_row("a")["messages"], tool_call_message(("f", '{"x": 1}'))],
            "tools": tools,
        },
    )
    fake_provider.on_chat = lambda body: tool_call_message(("f", '{"x":1.0}'))
    done = ftkit(
        "m",
        "n",
        "--prompts",
        path,
        "--yes",
        "--temperature",
        "none",
        "--output",
        "json",
        "--system",
        "be brief",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measures"]["tool_arguments"]["a"] == {
        "n": 1,
        "mean": 1,
        "low": None,
        "high": None,
    }
    for *_, body in fake_provider.requests:
        assert body["tools"] == tools
        assert "temperature" not in body
        assert body["messages"][0] == {"role": "system", "content": "be brief"}


def test_b_may_live_at_another_service(
    fake_provider: FakeProvider, ftkit: Run, prompts: str
) -> None:
    other = FakeProvider()
    with serving(other) as address:
        done = ftkit(
            "m",
            "m",
            "--prompts",
            prompts,
            "--yes",
            "--provider-b",
            "nebius",
            "--base-url-b",
            address,
            "--limit",
            "3",
        )
    assert done.returncode == 0, done.stderr
    assert "m at Nebius Token Factory: 3 requests" in done.stderr
    assert (len(fake_provider.requests), len(other.requests)) == (3, 3)


def test_faults_on_the_way_change_no_answer(
    fake_provider: FakeProvider, ftkit: Run, prompts: str
) -> None:
    fake_provider.faults = random_faults(3, 0.25)
    done = ftkit(
        "m",
        "n",
        "--prompts",
        prompts,
        "--yes",
        "--output",
        "json",
        "--limit",
        "12",
        "--concurrency",
        "12",
    )
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout)
    assert output["compared"] == 12
    assert output["measures"]["exact"]["between"]["mean"] == 1


def test_at_most_so_many_are_asked_at_once(
    fake_provider: FakeProvider, ftkit: Run, prompts: str
) -> None:
    now, most, lock = 0, 0, threading.Lock()

    def slow(method: str, path: str) -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return ""

    fake_provider.faults = slow
    assert ftkit("m", "n", "--prompts", prompts, "--yes", "--concurrency", "3").returncode == 0
    assert most == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["m", "n", "--prompts", "none.jsonl"],
            "cannot read none.jsonl: no such file or directory",
        ),
        (["none.jsonl", "n", "--prompts", "PROMPTS"], "no such file: none.jsonl"),
        (["PROMPTS", "PROMPTS", "--prompts", "PROMPTS"], "missing required field `answer`"),
        (
            ["ANSWERS", "n", "--prompts", "PROMPTS", "--save-a", "x.jsonl"],
            "`--save-a` applies to a model",
        ),
        (["ANSWERS", "ANSWERS", "--prompts", "PROMPTS"], "no prompt is answered by both A and B"),
        (
            ["m", "n", "--prompts", "PROMPTS", "--save-a", "x", "--save-b", "./x"],
            "--save-a and --save-b must be different files",
        ),
        (
            ["m", "n", "--prompts", "PROMPTS", "--temperature", "3"],
            "'3' is not a number from 0 to 2, or none",
        ),
        (["m", "n", "--prompts", "PROMPTS", "--provider-b", "opena"], "did you mean 'openai'?"),
        (
            ["OWN", "OWN", "--prompts", "PROMPTS", "--max-tokens", "3"],
            "--max-tokens applies to models, but A and B are recorded answers",
        ),
        (
            ["OWN", "OWN", "--prompts", "PROMPTS", "--provider-b", "openai"],
            "--provider-b applies to models, but A and B are recorded answers",
        ),
        (
            ["OWN", "OWN", "--prompts", "PROMPTS", "--html", "none/page.html"],
            "cannot write none/page.html",
        ),
        (
            ["OWN", "OWN", "--prompts", "PROMPTS", "--group-by", "metadata.x"],
            "all prompts have the same value '(none)' at 'metadata.x'",
        ),
    ],
)
def test_a_mistake_is_one_clear_line(
    ftkit: Run, prompts: str, tmp_path: Path, arguments: list[str], says: str
) -> None:
    files = {
        "PROMPTS": prompts,
        "ANSWERS": write_jsonl(tmp_path / "answers.jsonl", recorded_row("other", "x")),
        "OWN": write_jsonl(tmp_path / "own.jsonl", recorded_row("one 1", "x")),
    }
    done = ftkit(*(files.get(argument, argument) for argument in arguments))
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_sacrebleu_one_line_says_what_to_install(prompts: str, tmp_path: Path) -> None:
    own = write_jsonl(tmp_path / "own.jsonl", recorded_row("one 1", "x"))
    other = write_jsonl(tmp_path / "other.jsonl", recorded_row("one 1", "y"))
    code = f"import sys; sys.modules['sacrebleu'] = None; from ftkit.cli import run; sys.exit(run({['compare', own, other, '--prompts', prompts]!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr
        == "ftkit: comparing needs sacrebleu; install it with: pip install '.[compare]'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--html", "nowhere/page.html"], "cannot write"),
        (["--html", "."], "cannot write"),
        (["--group-by", "no.such"], "the same value"),
    ],
)
def test_what_cannot_be_shown_is_told_before_anything_is_asked(
    fake_provider: FakeProvider, ftkit: Run, prompts: str, arguments: list[str], says: str
) -> None:
    result = ftkit("one", "two", "--prompts", prompts, "--yes", *arguments)
    assert result.returncode == 2
    assert says in result.stderr
    assert not fake_provider.requests
