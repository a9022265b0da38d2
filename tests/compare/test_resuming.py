"""Resuming a comparison from its recorded answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ftkit.compare.recordings import (
    read_recordings,
)
from support.fake_provider import FakeProvider
from support.fixture_types import Run
from support.models import MINI
from support.recordings import assistant_message, chat_row, recorded_row, write_jsonl


def test_kept_answers_are_never_asked_for_again(
    fake_provider: FakeProvider, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    answers_file = str(tmp_path / "a.jsonl")
    first = ftkit("m", "n", "--prompts", prompts, "--yes", "--limit", "5", "--save-a", answers_file)
    assert first.returncode == 0, first.stderr
    assert len(fake_provider.requests) == 10
    line = json.loads(Path(answers_file).read_text("utf-8").splitlines()[0])
    assert line == {
        "messages": [{"role": "user", "content": "one 0"}],
        "answer": assistant_message("0 one"),
        "model": "m",
        "parameters": {"temperature": 0},
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
        "metadata": {"odd": 0},
        "service": line["service"],
    }
    more = ftkit("m", "n", "--prompts", prompts, "--yes", "--save-a", answers_file)
    assert more.returncode == 0, more.stderr
    assert len(fake_provider.requests) == 10 + 15 + 20
    again = ftkit("m", answers_file, "--prompts", prompts, "--save-a", answers_file)
    assert again.returncode == 0, again.stderr
    assert len(fake_provider.requests) == 45
    assert f"B        {answers_file} (m)" in again.stdout
    assert ftkit(answers_file, answers_file, "--prompts", answers_file).returncode == 0


def test_kept_answers_of_another_model_or_temperature_are_not_taken(
    fake_provider: FakeProvider, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    answers_file = write_jsonl(
        tmp_path / "a.jsonl", recorded_row("one 0", "x", "m", parameters={"temperature": 0})
    )
    for arguments in (["other"], ["m", "--temperature", "1"]):
        done = ftkit(
            arguments[0],
            "n",
            *arguments[1:],
            "--prompts",
            prompts,
            "--yes",
            "--save-a",
            answers_file,
        )
        assert done.returncode == 2
        assert "use another file" in done.stderr
    assert not fake_provider.requests


def test_answers_of_another_model_or_service_are_not_mixed_in(
    fake_provider: FakeProvider, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    answers_file, others = (
        str(tmp_path / "a.jsonl"),
        write_jsonl(tmp_path / "others.jsonl", chat_row("else", "x")),
    )
    assert (
        ftkit(
            "m", "n", "--prompts", prompts, "--yes", "--limit", "2", "--save-a", answers_file
        ).returncode
        == 0
    )
    before = len(fake_provider.requests)
    for arguments in (
        ["m2", "n", "--prompts", others],
        ["m", "n", "--prompts", prompts, "--limit", "2", "--provider", "nebius"],
    ):
        done = ftkit(*arguments, "--yes", "--save-a", answers_file)
        assert done.returncode == 2
        assert f"{answers_file} contains answers of m at openai http" in done.stderr
        assert "use another file" in done.stderr
    assert len(fake_provider.requests) == before


def test_a_model_is_asked_only_what_the_other_side_s_file_answers(
    fake_provider: FakeProvider, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    own = write_jsonl(
        tmp_path / "own.jsonl", recorded_row("one 3", "x"), recorded_row("one 5", "y")
    )
    done = ftkit(own, "n", "--prompts", prompts, "--yes", "--output", "json")
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout)
    assert (output["compared"], len(output["left_out"]), len(fake_provider.requests)) == (2, 18, 2)
    other = write_jsonl(tmp_path / "other.jsonl", recorded_row("never asked", "x"))
    assert (
        "no prompt is answered by both" in ftkit(other, "n", "--prompts", prompts, "--yes").stderr
    )
    assert len(fake_provider.requests) == 2


def test_what_is_written_never_replaces_what_is_read_or_paid_for(
    fake_provider: FakeProvider, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    own, answers_file = (
        write_jsonl(tmp_path / "own.jsonl", recorded_row("one 1", "x")),
        str(tmp_path / "a.jsonl"),
    )
    for arguments, says in [
        (["m", "n", "--html", prompts], "--prompts and --html must be different files"),
        (["m", own, "--html", own], "B and --html must be different files"),
        (
            ["m", "n", "--save-a", answers_file, "--html", answers_file],
            "--save-a and --html must be different files",
        ),
        (
            ["m", "n", "--save-a", answers_file, "--html", f"{answers_file}.part"],
            "--save-a and --html must be different files",
        ),
        (["m", "n", "--save-a", prompts], "--prompts and --save-a must be different files"),
        (["m", "n", "--save-a", f"{answers_file}.gz"], "use a name without .gz"),
        (["m", "n", "--save-a", str(tmp_path / "none" / "a.jsonl")], "cannot write"),
    ]:
        done = ftkit(*arguments, "--prompts", prompts, "--yes")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert says in done.stderr
    assert not fake_provider.requests


def test_a_run_that_broke_off_goes_on_where_it_was(
    fake_provider: FakeProvider, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    answers_file = str(tmp_path / "a.jsonl")
    asked: list[str] = []

    def until_the_key_is_withdrawn(body: dict[str, Any]) -> dict[str, Any]:
        asked.append(body["messages"][-1]["content"])
        fake_provider.key = "withdrawn" if len(asked) == 9 else fake_provider.key
        return {"content": "x"}

    fake_provider.on_chat = until_the_key_is_withdrawn
    done = ftkit(
        "m", "n", "--prompts", prompts, "--yes", "--save-a", answers_file, "--concurrency", "2"
    )
    assert done.returncode == 2
    assert "rejected the API key" in done.stderr
    assert not os.path.exists(answers_file)
    there = {one.messages[0]["content"] for one in read_recordings(f"{answers_file}.part")}
    assert len(there) >= 8
    fake_provider.key, fake_provider.on_chat = (
        "sk-test",
        lambda body: asked.append(body["messages"][-1]["content"]) or {"content": "x"},
    )  # type: ignore[func-returns-value]
    asked.clear()
    done = ftkit(
        "m",
        prompts.replace("prompts", "none"),
        "--prompts",
        prompts,
        "--yes",
        "--save-a",
        answers_file,
    )
    assert done.returncode == 2
    assert not asked
    done = ftkit(
        "m",
        "m",
        "--prompts",
        prompts,
        "--yes",
        "--save-a",
        answers_file,
        "--save-b",
        str(tmp_path / "b.jsonl"),
    )
    assert done.returncode == 0, done.stderr
    assert len(asked) == 20 - len(there) + 20
    assert len(read_recordings(answers_file)) == 20


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_has_kept_what_was_answered(
    fake_provider: FakeProvider,
    provider_url: str,
    prompts: str,
    tmp_path: Path,
    how: signal.Signals,
) -> None:
    answers_file, many = str(tmp_path / "a.jsonl"), threading.Event()

    def slowly(method: str, path: str) -> str:
        time.sleep(0.05)
        many.set() if len(fake_provider.requests) >= 8 else None
        return ""

    fake_provider.faults = slowly
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": provider_url}
    command = [
        sys.executable,
        "-m",
        "ftkit",
        "compare",
        "m",
        "n",
        "--prompts",
        prompts,
        "--yes",
        "--save-a",
        answers_file,
        "--concurrency",
        "2",
    ]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as running_command:
        assert many.wait(30)
        running_command.send_signal(how)
    assert running_command.returncode == (130 if how == signal.SIGINT else -how)
    before = len(fake_provider.requests)
    assert not os.path.exists(answers_file)
    assert len(read_recordings(f"{answers_file}.part")) >= before - 2 - 2
    done = subprocess.run(
        [*command, "--output", "json", "--save-b", f"{answers_file}.b"],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(read_recordings(answers_file)) == 20
    assert len(fake_provider.requests) <= 40 + 4


def test_two_processes_at_once_save_every_answer(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    answers_file = tmp_path / "a.jsonl"
    fake_provider.faults = lambda method, path: "delay"
    processes = []
    for name in "pq":
        rows = (chat_row(f"{name} {number}", "x") for number in range(32))
        prompts = write_jsonl(tmp_path / f"{name}.jsonl", *rows)
        reference = write_jsonl(
            tmp_path / f"{name}-b.jsonl",
            *(recorded_row(f"{name} {number}", "x", "n") for number in range(32)),
        )
        arguments = ["m", reference, "--prompts", prompts, "--save-a", str(answers_file), "--yes"]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "ftkit", "compare", *arguments],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": provider_url},
            )
        )
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert len(fake_provider.requests) == 64
    assert len(read_recordings(str(answers_file))) == 64
    assert not Path(f"{answers_file}.part").exists()


def test_the_same_prompts_in_two_processes_are_paid_for_once(
    fake_provider: FakeProvider, provider_url: str, prompts: str, tmp_path: Path
) -> None:
    answers_file = tmp_path / "a.jsonl"

    def answer_slowly(body: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.1)  # one prompt after the other, while the second process starts
        return assistant_message("x")

    fake_provider.on_chat = answer_slowly
    arguments = ["m", prompts, "--prompts", prompts, "--save-a", str(answers_file), "--yes"]
    arguments[1] = write_jsonl(
        tmp_path / "b.jsonl", *(recorded_row(f"one {number}", "x", "n") for number in range(20))
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "ftkit", "compare", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": provider_url},
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len(fake_provider.requests) == 20
    assert outputs[0][0] == outputs[1][0]


def test_an_answer_that_was_cut_is_reported_and_asked_for_again(
    fake_provider: FakeProvider, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    answers_file = tmp_path / "a.jsonl"
    arguments = ("m", "n", "--prompts", prompts, "--yes", "--save-a", str(answers_file))
    assert ftkit(*arguments).returncode == 0
    lines = answers_file.read_bytes().splitlines(keepends=True)
    answers_file.unlink()
    Path(f"{answers_file}.part").write_bytes(b"".join(lines[:9]) + lines[9][:-9])
    done = ftkit(*arguments)
    assert done.returncode == 0, done.stderr
    assert f"removed an incomplete answer from {answers_file}.part" in done.stderr
    assert len(fake_provider.requests) == 40 + 11 + 20
    assert len(read_recordings(str(answers_file))) == 20
    answers_file.unlink()
    Path(f"{answers_file}.part").write_bytes(b"".join(lines)[:-1])  # only the line feed is missing
    done = ftkit(*arguments)
    assert "incomplete" not in done.stderr
    assert len(fake_provider.requests) == 71 + 20


def test_files_of_the_user_beside_the_answers_are_left_alone(
    fake_provider: FakeProvider, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    Path("a.jsonl.new").write_text("mine", "utf-8")
    Path("a.jsonl.part").write_text("mine", "utf-8")
    arguments = ("m", "n", "--prompts", prompts, "--yes", "--save-a", "a.jsonl")
    refused = ftkit(*arguments)
    assert refused.returncode == 2
    assert "a.jsonl.part is not a file of recorded answers" in refused.stderr
    assert not fake_provider.requests
    assert Path("a.jsonl.part").read_text("utf-8") == "mine"
    Path("a.jsonl.part").unlink()
    assert ftkit(*arguments).returncode == 0
    assert Path("a.jsonl.new").read_text("utf-8") == "mine"


def test_the_automatic_limit_is_sent_and_that_of_kept_answers_stays(
    fake_provider: FakeProvider, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    def ask(*options: str) -> set[int | None]:
        fake_provider.requests.clear()
        done = ftkit(MINI, str(answers), "--prompts", prompts, "--yes", *options)
        assert done.returncode == 0, done.stderr
        assert ("20 answers ended at the limit of 3 tokens" in done.stderr) == ("3" in options)
        return {body.get("max_tokens") for *_, body in fake_provider.requests}

    rows = [recorded_row(f"one {number}", "x", "n") for number in range(20)]
    answers = write_jsonl(tmp_path / "b.jsonl", *rows)
    assert ask() == {512}
    assert ask("--max-tokens", "none") == {None}
    assert ask("--max-tokens", "3") == {3}
    first = recorded_row("one 0", "x", MINI, parameters={"temperature": 0, "max_tokens": 99})
    kept = write_jsonl(tmp_path / "a.jsonl", first)
    assert ask("--save-a", kept) == {99}
