"""Starts and stops the local service in the background."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ftkit._local import RUN_MODULE, Running, find_running
from ftkit._text import last_line
from ftkit.errors import FtkitError

PATIENCE = 60.0
"""Seconds to wait for a service to start or to end."""


def find_or_start(folder: Path, say: Callable[[str], None]) -> Running:
    """The service that serves the folder, started in the background if there is none; raises `FtkitError` if it does not start."""
    found = find_running(folder)
    if found:
        return found
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = folder / "service.log"
    command = [*RUN_MODULE, "ftkit", "serve", "--data-dir", str(folder), "--any-port"]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = find_running(folder)
        if found:
            say(f"started a service on this machine, {found.url}; `ftkit serve stop` ends it")
            return found
        if process.poll() is not None:
            break
        time.sleep(0.05)
    reason = last_line(log).removeprefix("ftkit: ")
    details = f" ({reason})" if reason else ""
    raise FtkitError(f"the service on this machine did not start{details}; see {log}")


def stop(folder: Path) -> Running | None:
    """End the service that serves the folder; returns which it was. Its jobs go on when one is started again."""
    found = find_running(folder)
    if found is None:
        return None
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while find_running(folder):
        if time.monotonic() > deadline:
            raise FtkitError(f"the service (process {found.pid}) does not end")
        time.sleep(0.05)
    return found
