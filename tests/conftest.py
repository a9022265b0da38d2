"""Isolation from the network, the home folder and real API keys; the fake provider and ftkit as fixtures."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import respx

from support.commands import run_ftkit
from support.examples import chat_lines
from support.fake_provider import FakeProvider, serving
from support.fixture_types import Run, Write
from support.mock_transport import MOCK_URL
from support.property_tests import load_profile

load_profile()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # What a shell starts in the background ignores Ctrl-C, and so would the commands that the tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the harnesses in tests/hostile."""
    group = parser.getgroup("hostile")
    group.addoption("--hostile", type=int, metavar="N", help="number of cases of each harness")
    group.addoption("--hostile-seed", type=int, default=0, metavar="N", help="seed of the cases")
    group.addoption("--hostile-case", type=int, metavar="N", help="run only this case")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts of the harnesses in tests/hostile."""
    for report in terminalreporter.getreports(""):  # setups and teardowns
        for name, counts in report.user_properties:
            if name == "hostile":
                terminalreporter.write_line(json.dumps(counts, ensure_ascii=False))


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home and a working folder of its own, no settings or keys in the environment, and no way to the network."""
    for name in set(os.environ) - {"FTKIT_PURE_PYTHON"}:  # which holds for the whole run
        if (
            name.startswith(("FTKIT_", "AWS_", "AZURE_", "GOOGLE_"))
            or name.endswith("_API_KEY")
            or name in ("NO_COLOR", "FORCE_COLOR")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    # No test uses TLS, and each client would take 25 ms to load the certificates of the system.
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test wanted to connect to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


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
def fake_provider() -> FakeProvider:
    """The state of a service."""
    return FakeProvider()


@pytest.fixture
def provider_url(fake_provider: FakeProvider) -> Iterator[str]:
    """The address of that service, on loopback."""
    with serving(fake_provider) as address:
        yield address


@pytest.fixture
def ftkit(provider_url: str, tmp_path: Path) -> Run:
    """Run ftkit against that service, with a key and a journal of its own."""
    environment = {
        "OPENAI_API_KEY": "sk-test",
        "FTKIT_BASE_URL": provider_url,
        "FTKIT_STATE_DIR": str(tmp_path / "state"),
    }

    def run(
        *arguments: str, input: str | None = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return run_ftkit(*arguments, input=input, env={**environment, **(env or {})})

    return run


@pytest.fixture
def clean_file(write: Write) -> str:
    """The path of a clean file."""
    return str(write(chat_lines(60)))


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    """Routes relative to `MOCK_URL`; a request without a route fails the test, and so does a route without a request."""
    mock_router = respx.MockRouter(assert_all_called=True, base_url=MOCK_URL)
    yield mock_router
    mock_router.assert_all_called()
