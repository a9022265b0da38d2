"""Hostile providers: every command of the client, with mutated answers to its requests."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import ftkit.cli
from support.commands import run_ftkit
from support.examples import chat_lines
from support.hostile import Cases
from support.hostile_answers import KEY, HostileProvider, Mutation, hostile_provider

MODEL = "gpt-4o-mini-2024-07-18"

COMMANDS = (
    "jobs list",
    "jobs list --all",
    "jobs show JOB",
    "jobs watch JOB",
    "jobs cancel JOB",
    "jobs pause JOB",
    "jobs resume JOB",
    "jobs events JOB",
    "jobs checkpoints JOB",
    "jobs metrics JOB",
    "jobs doctor JOB",
    "files list",
    "files upload data.jsonl",
    "files show FILE",
    "files download FILE copy",
    "files download FILE",
    "files delete FILE --yes",
    "models list",
    "models show ft:m:o::1",
    "models delete ft:m:o::1 --yes",
    "models export ft:m:o::1 exported --provider local",
    "chat m hello",
    "compare m answers.jsonl --prompts prompts.jsonl --yes",
    f"submit data.jsonl --model {MODEL} --yes",
    f"submit data.jsonl --model {MODEL} --yes --watch",
    "migrate JOB --to openai --to-base-url URL --dry-run",
    "migrate JOB --to openai --to-base-url URL --yes",
    "archive save archive",
    "providers",
)

CHEAP = [name for name in COMMANDS if name.split()[0] in ("jobs", "files", "models", "chat")]
"""Commands for real processes, whose delays cannot be changed."""

LINES = ("jobs watch", "chat", "submit")
"""Commands whose JSON output may be several documents, one on each line."""

RAW = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

TOLERANT = ("providers", "files download", "models export")
"""Commands that need no valid JSON: they send no request, or take the body as it is."""

COMPLETE = ("chat", "too_short")
"""A streamed reply is complete with its last event, even if more bytes were announced."""

EVERY_PROCESS = 50
"""One case in so many runs as a process of its own."""


@pytest.fixture(scope="module")
def provider() -> Iterator[tuple[HostileProvider, str]]:
    with hostile_provider() as pair:
        yield pair


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No delays, and limits that are reached soon."""
    for name, value in {
        "ftkit.jobs.watch.MIN_INTERVAL": 0.0,
        "ftkit.jobs.watch.MAX_INTERVAL": 0.0,
        "ftkit.jobs.watch.MAX_OUTAGE": -1.0,
        "ftkit.jobs.submit.LOOKUP_DELAYS": (0.0,),
        "ftkit.jobs.submit.IN_FLIGHT_SECONDS": 0.0,
        "ftkit.jobs.uploads.PROCESSING_DELAYS": (0.0, 0.0),
        "ftkit.client.retry.DELAYS": (),
        "ftkit.client.retry.MAX_DELAY": 0.0,
        "ftkit.client.sdk.MAX_RESPONSE": 8 << 20,
        "ftkit.client.sdk.MAX_ADAPTER": 8 << 20,
        "ftkit.client.payloads.MAX_FILE": 8 << 20,
        "ftkit.client.pagination.MAX_PAGES": 30,
    }.items():
        monkeypatch.setattr(name, value)


def run_here(arguments: list[str], folder: Path) -> tuple[int, bytes, bytes]:
    """Run a command in this process, and return its exit code, output and errors."""
    streams = sys.stdin, sys.stdout, sys.stderr
    paths = folder / "out", folder / "err"
    with (
        open(os.devnull, encoding="utf-8") as sys.stdin,
        open(paths[0], "w", encoding="utf-8") as sys.stdout,
        open(paths[1], "w", encoding="utf-8") as sys.stderr,
    ):
        try:
            code = ftkit.cli.run(arguments)
        finally:
            sys.stdin, sys.stdout, sys.stderr = streams
    return code, paths[0].read_bytes(), paths[1].read_bytes()


def reject_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def check_json(command: str, text: str) -> None:
    """Every document on standard output is valid JSON."""
    documents = text.splitlines() if command.startswith(LINES) and "\n{" in text else [text]
    for document in documents:
        if document.strip():
            json.loads(document, parse_constant=reject_constant)


def choose(random: Random, number: int) -> tuple[str, bool, bool]:
    """Return the command of a case, whether its output is JSON, and whether it is a process."""
    is_process = number % EVERY_PROCESS == EVERY_PROCESS - 1
    command = random.choice(CHEAP if is_process else COMMANDS)
    if command in ("jobs watch JOB", "files upload data.jsonl") and is_process:
        command = "jobs show JOB"
    if command.split()[0] in ("submit", "migrate", "archive", "compare") and random.random() < 0.7:
        command = random.choice(CHEAP)
    is_json = random.random() < 0.5 and command != "files download FILE"
    return command, is_json, is_process


@pytest.mark.usefixtures("patience")
def test_hostile_answers(
    hostile: Cases,
    provider: tuple[HostileProvider, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, url = provider
    data = b"".join(line + b"\n" for line in chat_lines(12))
    prompts = b"".join(
        b'{"messages": [{"role": "user", "content": "q%d"}]}\n' % number for number in range(3)
    )
    answers = prompts.replace(b"}]}", b'}], "answer": {"role": "assistant", "content": "x"}}')
    for name in ("OPENAI_API_KEY", "NEBIUS_API_KEY", "FTKIT_API_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("FTKIT_BASE_URL", url)
    monkeypatch.setenv("FTKIT_TIMEOUT", "0.3")
    monkeypatch.setenv("FTKIT_RETRIES", "0")
    for number, random in hostile:
        folder = tmp_path / f"{number}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("FTKIT_STATE_DIR", str(folder / "state"))
        for name, content in (("data", data), ("prompts", prompts), ("answers", answers)):
            Path(f"{name}.jsonl").write_bytes(content)
        command, is_json, is_process = choose(random, number)
        mutation = Mutation(random)
        server.reset(mutation)
        values: dict[str, Any] = {"JOB": server.job, "FILE": server.file, "URL": url}
        arguments = [values.get(part, part) for part in command.split()]
        arguments += ["--output", "json"] if is_json else []
        if "--dry-run" not in command and "--provider" in command:
            arguments += ["--base-url", url]
        with hostile.case(number, f"{' '.join(arguments)}: {mutation}"):
            if is_process:
                done = run_ftkit(*arguments)
                code, out, err = done.returncode, done.stdout.encode(), done.stderr.encode()
            else:
                code, out, err = run_here(arguments, folder)
            is_download = command == "files download FILE"
            shown = ("" if is_download else out.decode()) + err.decode()
            assert code in (0, 1, 2), (code, shown[-500:])
            assert "Traceback" not in shown, shown
            assert KEY not in shown, shown[-500:]
            assert not RAW.findall(shown), shown[-500:]
            if is_json:
                check_json(command, out.decode())
            is_complete = (command.split()[0], mutation.kind) == COMPLETE
            if mutation.is_failure and not command.startswith(TOLERANT) and not is_complete:
                assert code != 0, (code, shown[-500:])
            if code == 2:
                assert err.decode().strip(), "exit code 2 without a message"
        hostile.count_outcome(f"{mutation.kind}: {code}")
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(folder)
        if number % 500 == 0:
            gc.collect()
