"""Local service in the background: start and stop."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ftkit._local import RUN_MODULE, Running, find_running
from ftkit._private import make_private_folder, open_private
from ftkit._text import last_line
from ftkit.errors import FtkitError
from ftkit.server.folder import LOCK, SERVICE_LOG

TIMEOUT = 60.0
"""Seconds to wait until a service has started or stopped."""

POLL_SECONDS = 0.05
"""Seconds between polls of a service that is starting or stopping."""


def find_or_start(folder: Path, notify: Callable[[str], None]) -> Running:
    """Return the service of a data folder, after starting it in the background if none runs.

    Args:
        folder: Data folder of the service.
        notify: Receives a message if a service was started.

    Raises:
        FtkitError: The service did not start.
    """
    running = find_running(folder)
    if running:
        return running
    make_private_folder(folder)
    log = folder / SERVICE_LOG
    command = [*RUN_MODULE, "ftkit", "serve", "--data-dir", str(folder), "--any-port"]
    with open_private(log, "ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        running = find_running(folder)
        if running:
            notify(f"Started the local service at {running.url}. Stop it with: ftkit serve stop")
            return running
        if process.poll() is not None:
            break
        time.sleep(POLL_SECONDS)
    reason = last_line(log).removeprefix("ftkit: ")
    details = f" ({reason})" if reason else ""
    raise FtkitError(f"the local service did not start{details}; see {log}")


def stop(folder: Path) -> Running | None:
    """Stop the service of a data folder, and wait until it no longer uses the folder.

    Its jobs continue when it is started again.

    Returns:
        The service that was stopped, or None if none was running.

    Raises:
        FtkitError: The service did not stop.
    """
    running = find_running(folder)
    if running is None:
        return None
    with suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)
    try:
        with FileLock(folder / LOCK, timeout=TIMEOUT):  # which the service holds to its end
            return running
    except Timeout as error:
        raise FtkitError(f"the local service (process {running.pid}) did not stop") from error
