"""The command `ftkit chat`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ftkit.cli import terminal
from support.fake_provider import FakeProvider, error_body
from support.fixture_types import Run
from support.terminal import run_in_terminal


def test_a_talk_goes_on_until_the_end_of_the_input(fake_provider: FakeProvider, ftkit: Run) -> None:
    done = ftkit("chat", "m", "--system", "Be brief.", "--temperature", "0", input="a b\n\nc d\n")
    assert done.stdout == "b a \nd c \n"
    assert [message["role"] for message in fake_provider.requests[-1][2]["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert fake_provider.requests[-1][2]["temperature"] == 0
    requests = [
        json.loads(line)
        for line in ftkit("chat", "m", "--output", "json", input="a b\nc\n").stdout.splitlines()
    ]
    assert requests == [
        {"model": "m", "prompt": "a b", "answer": "b a "},
        {"model": "m", "prompt": "c", "answer": "c "},
    ]


def test_a_talk_on_a_terminal_goes_on_after_an_error_and_shows_no_escapes(
    fake_provider: FakeProvider, provider_url: str
) -> None:
    asked: list[str] = []

    def refuse_the_first(method: str, path: str) -> str:
        asked.append(path)
        fake_provider.refuse["POST /chat/completions"] = (400, error_body("not now"))
        if len(asked) > 1:
            fake_provider.refuse.clear()
        return ""

    fake_provider.faults = refuse_the_first
    typed = {b"> ": b"one\n", b"not now": b"fine a\x1bb\n", b"a\\x1bb": b"\x04"}
    code, shown = run_in_terminal(provider_url, "chat", "m", answers=typed)
    assert (code, len(asked)) == (0, 2)
    assert b"a\\x1bb fine" in shown
    assert b"a\x1bb" not in shown


def test_nobody_who_reads_is_no_failure(fake_provider: FakeProvider, provider_url: str) -> None:
    for number in range(300):
        fake_provider.add_job({"model": f"m{number}"})
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": provider_url}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "ftkit", "jobs", "list", "--all"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_key_that_is_streamed_in_pieces_is_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.hide("sk-verysecret-key")
    writer = terminal.StreamWriter()
    for piece in ("The key is sk-very", "secret", "-key. ", "sk-", "very"):
        writer.write(piece)
    assert capsys.readouterr().out == "The key is (the key). "
    writer.write("", final=True)
    assert capsys.readouterr().out == "sk-very"
