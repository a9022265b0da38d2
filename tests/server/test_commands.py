"""Worker side of the pipe from the server: what a worker is told, and that it ends with the pipe."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

SECONDS = 20.0
"""Maximum duration of a worker."""

READ_REQUESTS = """
import json
from ftkit.server.commands import RequestReader
reader = RequestReader()
reader.start()
print(json.dumps([reader.requests.get(timeout=20) for _ in range(4)]), flush=True)
"""

WAIT = """
import time
from ftkit.server.commands import {reader}
{reader}().start()
time.sleep(20)
"""

START = """
from ftkit.server.commands import end_with_server
end_with_server()
print("runs")
"""


@contextmanager
def worker(code: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program whose input is a pipe, as that of a worker is."""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def send(process: subprocess.Popen[str], *lines: str) -> None:
    assert process.stdin
    process.stdin.writelines(f"{line}\n" for line in lines)
    process.stdin.flush()


def read(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_requests_and_cancellations_are_queued_in_order() -> None:
    with worker(READ_REQUESTS) as process:
        lines = [{"id": "a"}, {"cancel": "a"}, {"cancel": "x"}, {"id": "b"}]
        send(process, *map(json.dumps, lines))
        assert json.loads(read(process)) == lines


@pytest.mark.parametrize(("reader", "code"), [("PipeWatch", 1), ("RequestReader", 0)])
def test_a_worker_ends_when_its_server_closes_the_pipe(reader: str, code: int) -> None:
    with worker(WAIT.format(reader=reader)) as process:
        assert process.stdin
        process.stdin.close()
        assert process.wait(SECONDS) == code


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's prctl")
def test_a_worker_starts_only_while_its_server_holds_the_pipe() -> None:
    with worker(START) as process:
        assert read(process) == "runs"
        assert process.wait(SECONDS) == 0
    done = subprocess.run(
        [sys.executable, "-c", START], input=b"", capture_output=True, timeout=SECONDS, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")
