"""No test touches the network, the user's home, or a key in the environment."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from commands import run_ftkit
from service import Service, running

settings.register_profile(
    "ftkit",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ftkit")

ROOT = Path(__file__).parent.parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # What a shell starts in the background ignores Ctrl-C, and so would the commands that the tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home and a working folder of its own, no settings or keys in the environment, and no way to the network."""
    for name in list(os.environ):
        if (
            name.startswith("FTKIT_")
            or name.endswith("_API_KEY")
            or name in ("NO_COLOR", "FORCE_COLOR")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test wanted to connect to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def uncovered() -> dict[str, str]:
    """The environment for a process that is to run out of disk: measuring its coverage writes a file, too."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def example(number: int, **more: Any) -> dict[str, Any]:
    """A clean chat example, different for each number."""
    messages = [
        {"role": "user", "content": f"What follows {number}?"},
        {"role": "assistant", "content": f"{number + 1} follows."},
    ]
    return {"messages": messages, **more}


def lines(count: int, at: dict[int, Any] | None = None) -> list[bytes]:
    """Clean lines, with others instead at some places (from 1): bytes as they are, anything else as JSON."""
    made: list[Any] = [example(number) for number in range(count)]
    for place, other in (at or {}).items():
        made[place - 1] = other
    return [
        line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()
        for line in made
    ]


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of lines (each ended by LF) or of bytes, and return its path."""

    def make(content: bytes | Iterable[bytes], name: str = "data.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes(
            content if isinstance(content, bytes) else b"".join(line + b"\n" for line in content)
        )
        return path

    return make


@pytest.fixture
def fake() -> Service:
    """The state of a service."""
    return Service()


@pytest.fixture
def url(fake: Service) -> Iterator[str]:
    """The address of that service, on loopback."""
    with running(fake) as address:
        yield address


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ftkit(url: str, tmp_path: Path) -> Run:
    """Run ftkit against that service, with a key and a journal of its own."""
    environment = {
        "OPENAI_API_KEY": "sk-test",
        "FTKIT_BASE_URL": url,
        "FTKIT_STATE_DIR": str(tmp_path / "state"),
    }

    def run(
        *arguments: str, input: str | None = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return run_ftkit(*arguments, input=input, env={**environment, **(env or {})})

    return run


@pytest.fixture
def data(write: Write) -> str:
    """The path of a clean file."""
    return str(write(lines(60)))
