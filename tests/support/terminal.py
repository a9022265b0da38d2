"""Commands of ftkit on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping

TIMEOUT = 180
"""Seconds to wait for more to be shown."""


def run_in_terminal(
    url: str,
    *arguments: str,
    interrupt: bytes = b"",
    answers: dict[bytes, bytes] | None = None,
    columns: int = 100,
) -> tuple[int, bytes]:
    """Run ftkit against a service on a terminal, and return its exit code and what it showed.

    It is interrupted once it has shown `interrupt`, and each of the `answers` is typed once its question is there.
    """
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "OPENAI_API_KEY": "sk-test",
        "FTKIT_BASE_URL": url,
    }
    command = [sys.executable, "-m", "ftkit", *arguments]
    process = subprocess.Popen(
        command, stdin=side, stdout=side, stderr=side, env=environment, start_new_session=True
    )
    os.close(side)
    shown, sent, open_questions = b"", not interrupt, dict(answers or {})
    try:
        while True:
            if not select.select([main], [], [], TIMEOUT)[0]:
                process.kill()
                raise AssertionError(f"nothing more was shown: {shown!r}")
            data = os.read(main, 65536)
            if not data:
                break
            shown += data
            if not sent and interrupt in shown:
                process.send_signal(signal.SIGINT)
                sent = True
            for question in [question for question in open_questions if question in shown]:
                os.write(main, open_questions.pop(question))
    except OSError:
        pass
    code = process.wait()
    os.close(main)
    return code, shown


def capture_terminal(*arguments: str, env: Mapping[str, str] | None = None) -> bytes:
    """What the command writes on a terminal."""
    main, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", **(env or {})}
    command = [sys.executable, "-m", "ftkit", *arguments]
    with subprocess.Popen(
        command, stdin=side, stdout=side, stderr=side, env=environment
    ) as process:
        os.close(side)
        shown = b""
        try:
            while data := os.read(main, 65536):
                shown += data
        except OSError:
            pass
        process.wait()
    os.close(main)
    return shown
